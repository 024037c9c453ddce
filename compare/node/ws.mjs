// npm ws: a loop of sends. usage: node ws.mjs PORT
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const port = Number(process.argv[2]);
const http = createServer((request, response) => response.writeHead(404).end());
const server = new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: false });
const clients = new Set();

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/echo") {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    return;
  }
  clients.add(socket);
  socket.on("close", () => clients.delete(socket));
  socket.on("message", (data, binary) => {
    for (const client of clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary });
    }
  });
});

http.listen({ port, host: "127.0.0.1", backlog: 16384 }, () => console.log("listening", port));
