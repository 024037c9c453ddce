"""The honest client: votes and sees the answer, asks with GET on a kept and on a new connection, and publishes to twenty
listeners. Prints one line of JSON for each phase; a line on stdin names the next phase."""

import json
import select
import sys
import time

from sockets import PING, PONG, Http, WebSocket, address_of, frame, get, post

LISTENERS = 20
# One of each in this time, if all goes well.
PACE = 0.04
PATIENCE = 10.0


class Honest:
    def __init__(self, address):
        self.address = address
        self.number = 0
        self.open()

    def open(self):
        self.http = Http(self.address, timeout=PATIENCE)
        self.voter = WebSocket(self.address, "/c/poll/lunch", timeout=PATIENCE)
        self.listeners = [WebSocket(self.address, "/c/news", timeout=PATIENCE) for _ in range(LISTENERS)]
        self.poll = select.poll()
        for listener in self.listeners:
            self.poll.register(listener.sock, select.POLLIN)
        self.by_number = {listener.sock.fileno(): listener for listener in self.listeners}

    def vote(self):
        self.number += 1
        self.voter.send(b'{"choice":"1","id":%d}' % self.number)
        answer = b'{"type":"ok","id":%d,' % self.number
        while not self.voter.receive().startswith(answer):
            pass

    def get(self):
        status, _ = self.http.ask(get("/c/poll/lunch"))
        assert status == 200, status

    def new(self):
        http = Http(self.address, timeout=PATIENCE)
        try:
            status, _ = http.ask(get("/c/poll/lunch"))
            assert status == 200, status
        finally:
            http.close()

    def broadcast(self):
        self.number += 1
        text = b"news %d" % self.number
        status, _ = self.http.ask(post("/c/news", text))
        assert status == 200, status
        waiting = set(self.by_number)
        until = time.monotonic() + PATIENCE
        while waiting:
            ready = self.poll.poll(max(0.0, until - time.monotonic()) * 1000)
            if not ready:
                raise TimeoutError("a listener did not get it")
            for number, _ in ready:
                listener = self.by_number[number]
                listener.fill()
                while (found := listener.take()) is not None:
                    if found[0] == PING:
                        listener.sock.sendall(frame(PONG, found[1]))
                    if text in found[1]:
                        waiting.discard(number)


def main():
    honest = Honest(address_of(sys.argv[1]))
    acts = {"vote": honest.vote, "GET": honest.get, "new": honest.new, "broadcast": honest.broadcast}
    phase, samples, failed = "", {name: [] for name in acts}, []
    stdin = select.poll()
    stdin.register(sys.stdin, select.POLLIN)
    while True:
        begin = time.monotonic()
        for name, act in acts.items():
            before = time.monotonic()
            try:
                act()
            except (OSError, AssertionError) as error:
                failed.append(f"{name}: {error!r}")
                try:
                    honest.open()
                except OSError as again:
                    failed.append(f"open: {again!r}")
                    time.sleep(0.2)
            samples[name].append(time.monotonic() - before)
        rest = PACE - (time.monotonic() - begin)
        if stdin.poll(max(rest, 0) * 1000):
            line = sys.stdin.readline().strip()
            print(json.dumps({"phase": phase, "samples": samples, "failed": failed}), flush=True)
            if not line:
                return
            phase, samples, failed = line, {name: [] for name in acts}, []
            rest = PACE - (time.monotonic() - begin)
            time.sleep(max(rest, 0))


if __name__ == "__main__":
    main()
