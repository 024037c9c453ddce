// npm socket.io: an event to everyone, WebSocket only. Its adapter encodes an event once, and the frame too.
// usage: node socket.io.mjs PORT
import { createServer } from "node:http";
import { Server } from "socket.io";

const port = Number(process.argv[2]);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, httpCompression: false, serveClient: false });

io.on("connection", (socket) => {
  socket.on("m", (text) => io.emit("m", text));
  socket.on("echo", (text) => socket.emit("echo", text));
});

http.listen({ port, host: "127.0.0.1", backlog: 16384 }, () => console.log("listening", port));
