"""socketify: uWebSockets behind Python. Its topics are uWebSockets' own: a publication is one call from Python, however
many listen. usage: server.py PORT"""

import sys

from socketify import App, AppListenOptions, CompressOptions

PORT = int(sys.argv[1])


def joined(socket):
    socket.subscribe("bench")


def published(socket, text, opcode):
    # In this package the socket's publish is the app's: it reaches the sender too.
    socket.publish("bench", text, opcode)


def echoed(socket, text, opcode):
    socket.send(text, opcode)


app = App()
app.ws(
    "/bench",
    {
        "compression": CompressOptions.DISABLED,
        "max_backpressure": 16 * 1024 * 1024,
        "open": joined,
        "message": published,
    },
)
app.ws("/echo", {"compression": CompressOptions.DISABLED, "message": echoed})
app.listen(AppListenOptions(port=PORT, host="127.0.0.1"), lambda _: print("listening", PORT, flush=True))
app.run()
