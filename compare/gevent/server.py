"""gevent-websocket: a greenlet for each connection, and a loop of sends. usage: server.py PORT"""

import resource
import sys

from geventwebsocket import WebSocketError, WebSocketServer

PORT = int(sys.argv[1])
clients = set()


def application(environ, start_response):
    socket = environ.get("wsgi.websocket")
    if socket is None:
        start_response("400 Bad Request", [("Content-Length", "0")])
        return []
    try:
        if environ["PATH_INFO"] == "/echo":
            while (text := socket.receive()) is not None:
                socket.send(text)
        else:
            clients.add(socket)
            while (text := socket.receive()) is not None:
                publish(text)
    except WebSocketError:
        pass
    finally:
        clients.discard(socket)
    return []


def publish(text):
    for client in list(clients):
        try:
            client.send(text)
        except WebSocketError:
            clients.discard(client)


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
server = WebSocketServer(("127.0.0.1", PORT), application, backlog=16384, log=None)
server.start()
print("listening", PORT, flush=True)
server.serve_forever()
