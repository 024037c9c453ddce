#!/usr/bin/env python3
"""PyPI's python-socketio: python_socketio.py PROGRAM MODE ADDRESS, where MODE is polling, websocket or upgrade.

Protocol 5, Engine.IO 4. Prints what it sees, one JSON line each. A line on standard input makes it go on where it waits for the test.
"""

import json
import os
import queue
import sys
import threading

import requests
import socketio

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
ROW_9 = ["my_response", "input-change"]
# Seconds that anything may take that must happen.
PATIENCE = 30


def report(step, **seen):
    print(json.dumps({"step": step, **seen}, ensure_ascii=False), flush=True)


class Client:
    """A client in a namespace, which keeps what it hears of these events, in order."""

    def __init__(self, namespace, events, auth=None, **options):
        self.namespace = namespace
        self.heard = queue.Queue()
        self.gone = queue.Queue()
        self.socket = socketio.Client(**options)
        for event in events:
            self.socket.on(event, self.hears(event), namespace=namespace)
        self.socket.on("disconnect", self.gone.put, namespace=namespace)
        self.socket.connect(ORIGIN, namespaces=[namespace], transports=TRANSPORTS[MODE], auth=auth)

    def hears(self, event):
        return lambda *arguments: self.heard.put({"event": event, "args": list(arguments)})

    def take(self, count):
        """The next so many events. Each has a thread of its own in this library, so that their order is not the order on the wire."""
        return [self.heard.get(timeout=PATIENCE) for _ in range(count)]

    def emit(self, event, *arguments):
        self.socket.emit(event, arguments, namespace=self.namespace)

    def ask(self, event, *arguments):
        """What the acknowledgement of an event said."""
        answers = queue.Queue()
        self.socket.emit(event, arguments, namespace=self.namespace, callback=lambda *answer: answers.put(list(answer)))
        return answers.get(timeout=PATIENCE)

    def transport(self):
        return self.socket.transport()

    def leave(self):
        self.socket.disconnect()
        return self.gone.get(timeout=PATIENCE)


def post(change, origin="http://localhost:8080"):
    headers = {"Origin": origin, "Content-Type": "application/json"}
    answer = requests.post(f"{ORIGIN}/input-change", data=json.dumps(change), headers=headers, timeout=PATIENCE)
    return {"status": answer.status_code, "text": answer.text}


def table():
    """Row 9, as its page behaves."""
    one = Client("/test", ROW_9)
    report("greeting", heard=one.take(16))
    report("transport", name=one.transport())
    one.emit("my_event", {"data": "I'm connected!"})
    report("acknowledged", args=one.ask("my_event", {"data": "I'm connected!"}))
    two = Client("/test", ROW_9)
    report("second", heard=two.take(16))
    for change in [{"index": 0, "value": "小红", "forms": "name"}, {"index": 2, "value": "", "forms": "gender"}]:
        report("posted", change=change, **post(change), heard=[one.take(1), two.take(1)])
    late = Client("/test", ROW_9)
    report("late", heard=late.take(16))
    report("left", reason=one.leave())
    post({"index": 0, "value": "still there", "forms": "name"})
    report("still there", heard=[two.take(1), late.take(1)])


def messages():
    """Texts, binary, acknowledgements, namespaces, as the conformance configuration answers them."""
    one = Client("/", ["auth", "message-back"], auth={"token": "123"})
    report("greeting", heard=one.take(1))
    report("transport", name=one.transport())
    for number in range(200):
        one.emit("message", number)
    numbers = [event["args"][0] for event in one.take(200)]
    report("all there", same=sorted(numbers) == list(range(200)))
    rows = [[], [1, "2", {"3": [True]}], ["小明", None, -1.5], [b"\x00\x01\xff"], [b"", "between", b"\x80"],
            [{"deep": [{"bytes": bytes(range(256))}], "text": "小花"}], [bytes(100_000)], ["x" * 100_000]]
    same = []
    for row in rows:
        one.emit("message", *row)
        same += [one.take(1)[0]["args"] == row, one.ask("message-with-ack", *row) == row]
    report("same", same=same)
    custom = Client("/custom", ["auth"], auth={"token": "abc"})
    report("custom", heard=custom.take(1))
    said = []
    unknown = socketio.Client(reconnection=False)
    unknown.on("connect_error", said.append, namespace="/random")
    try:
        unknown.connect(ORIGIN, namespaces=["/random"], transports=TRANSPORTS[MODE])
    except socketio.exceptions.ConnectionError as error:
        report("unknown", said=said, error=str(error))
    # The heartbeat is 300 ms and may be late by 200 ms.
    threading.Event().wait(1.5)
    report("alive", connected=[client.socket.connected for client in (one, custom)], args=one.ask("message-with-ack", "alive"))


def restart():
    """The server ends and comes back at the same address."""
    one = Client("/test", ROW_9, reconnection_delay=0.1, reconnection_delay_max=0.3)
    one.take(16)
    for _ in range(2):
        report("connected", transport=one.transport())
        report("gone", reason=one.gone.get(timeout=PATIENCE))
        sys.stdin.readline()
        report("back", heard=one.take(16), args=one.ask("my_event", {}))
    post({"index": 0, "value": "news", "forms": "name"})
    report("news", heard=one.take(1))


PROGRAM, MODE, ADDRESS = sys.argv[1:]
ORIGIN = f"http://{ADDRESS}"
{"table": table, "messages": messages, "restart": restart}[PROGRAM]()
sys.stdout.flush()
# The library's threads of clients that are still connected would keep the process.
os._exit(0)
