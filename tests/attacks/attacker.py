"""One attacking process: `attacker.py NAME ADDRESS SECONDS COUNT INDEX`. It attacks for that long, lets everything go, and
prints what it saw as one line of JSON. INDEX gives it a source address of its own."""

import json
import os
import struct
import sys
import time

import sockets
from sockets import BINARY, PING, PONG, TEXT, Crowd, Http, WebSocket, frame, get, handshake, post, reset

KIB = 1 << 10
MIB = 1 << 20


class Order:
    def __init__(self, address, seconds, count, index):
        self.address, self.seconds, self.count, self.index = sockets.address_of(address), seconds, count, index
        self.source = f"127.0.0.{2 + index}"
        self.begin = time.monotonic()
        self.until = self.begin + seconds

    def crowd(self, first=b"", **options):
        return Crowd(self.address, self.count, first, self.source, **options)

    def over(self):
        return time.monotonic() >= self.until

    def hold(self, crowd, each=None):
        """Turns until the time is over; what the crowd saw."""
        while not self.over():
            crowd.turn()
            if each:
                each()
        figures = crowd.figures()
        if crowd.last_closed is not None:
            figures["last closed after s"] = round(crowd.last_closed - self.begin, 1)
        crowd.end()
        return figures


def idle(order):
    """Connections that say nothing."""
    return order.hold(order.crowd())


def idle_websockets(order):
    """WebSockets that only listen."""
    return order.hold(order.crowd(handshake("/c/attack/poll")))


def handshakes(order):
    """Connect, become a WebSocket, leave with a reset, again."""
    crowd = order.crowd(handshake("/c/attack/poll"), again=True)
    crowd.heard = lambda member, _: crowd.drop(member)
    return order.hold(crowd)


def connects(order):
    """Connect, leave, again."""
    crowd = order.crowd(again=True)

    def each():
        for member in [member for member in crowd.members.values() if member.connected]:
            crowd.drop(member)

    return order.hold(crowd, each)


def streaming(order, path, bytes_, reads=True):
    """WebSockets that send the same bytes as fast as they can."""
    crowd = order.crowd(handshake(path), reads=reads)
    crowd.more = lambda member: bytes_
    return order.hold(crowd)


def pings(order):
    """Pings as fast as they can, pongs read."""
    return streaming(order, "/c/attack/poll", frame(PING, b"") * 10_000)


def pings_unread(order):
    """Pings of 125 bytes as fast as they can, pongs not read."""
    return streaming(order, "/c/attack/poll", frame(PING, b"x" * 125) * 500, reads=False)


def fragments(order):
    """Messages of 1000 fragments of one byte, to be echoed."""
    middle = frame(0, b"x", fin=False) * 998
    return streaming(order, "/c/attack/echo", (frame(TEXT, b"x", fin=False) + middle + frame(0, b"x")) * 8)


def echoes_unread(order):
    """Messages of 64 KiB to be echoed, echoes not read."""
    return streaming(order, "/c/attack/echo", frame(BINARY, bytes(64 * KIB)), reads=False)


def votes(order):
    """Votes from one connection, as fast as it can, answers read."""
    return streaming(order, "/c/attack/poll", frame(TEXT, b'{"choice":"1"}') * 3000)


def votes_unread(order):
    """The same, answers not read."""
    return streaming(order, "/c/attack/poll", frame(TEXT, b'{"choice":"1"}') * 3000, reads=False)


def wrong_votes(order):
    """Empty messages from one connection, each of which is refused with a message of 80 bytes."""
    return streaming(order, "/c/attack/poll", frame(TEXT, b"") * 10_000)


def large_unread(order):
    """Listeners that stop reading in the middle of a message, while messages of 256 KiB are published."""
    crowd = order.crowd(handshake("/c/attack/large"), reads=False, receive_bytes=4 * KIB)
    publisher = Http(order.address, order.source)
    published = 0
    while not order.over():
        crowd.turn()
        if crowd.opened >= order.count and order.index == 0:
            status, _ = publisher.ask(post("/c/attack/large", b"x" * (256 * KIB)))
            published += status == 200
            time.sleep(0.05)
    figures = crowd.figures() | {"published": published}
    crowd.end()
    return figures


def polls(order):
    """Parked polls, half of them sessions; in the end one vote answers all."""
    _, body = Http(order.address).ask(get("/c/attack/polls"))
    at = json.loads(body)["at"]
    requests = [get("/poll"), get(f"/c/attack/polls?wait=60&since={at}")]
    crowd = order.crowd(requests[order.index % 2])
    first_half = order.begin + order.seconds * 0.6
    while time.monotonic() < first_half:
        crowd.turn()
    early = dict(crowd.statuses)
    figures = {"answered early": early}
    if order.index == 0:
        status, _ = Http(order.address).ask(post("/c/attack/polls", b"1"))
        figures["vote"] = status
    voted = time.monotonic()
    while not order.over():
        crowd.turn()
        if sum(crowd.statuses.values()) >= crowd.opened and "all answered after s" not in figures:
            figures["all answered after s"] = round(time.monotonic() - voted, 2)
    figures |= crowd.figures()
    crowd.end()
    return figures


def again_and_again(order, bytes_, **options):
    """Send, read the answer, leave with a reset, again."""
    crowd = order.crowd(bytes_, again=True, **options)

    def heard(member, _):
        if len(member.first) >= 12 and not member.first.startswith(b"HTTP/1.1 101"):
            crowd.drop(member)

    crowd.heard = heard
    return order.hold(crowd)


def header_lines(order):
    """Heads of 1000 lines."""
    lines = "".join(f"X-{number}: v\r\n" for number in range(1000))
    return again_and_again(order, f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())


def announced(order):
    """Frames that announce 2^62 bytes, 1 GiB, and a byte too many."""
    lengths = [1 << 62, 1 << 30, MIB + 1]
    frames = [struct.pack("!BBQ", 0x82, 0xFF, length) + b"\0\0\0\0" for length in lengths]
    bytes_ = handshake("/c/attack/echo") + frames[order.index % 3] + bytes(16 * KIB)
    crowd = order.crowd(bytes_, again=True)

    def heard(member, read):
        # 1009, and the end.
        if b"\x03\xf1" in read:
            crowd.drop(member)

    crowd.heard = heard
    return order.hold(crowd)


def tiny_chunks(order):
    """Bodies of 100 KB in chunks of one byte."""
    body = b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    head = b"POST /c/attack/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    crowd = order.crowd(head + body)
    crowd.more = lambda member: head + body
    return order.hold(crowd)


def pipelined_unread(order):
    """Requests without end, answers not read."""
    crowd = order.crowd(reads=False, receive_bytes=4 * KIB)
    requests = get("/c/attack/poll") * 1000
    crowd.more = lambda member: requests
    return order.hold(crowd)


def pipelined(order):
    """The same, answers read."""
    crowd = order.crowd()
    requests = get("/c/attack/poll") * 200
    crowd.more = lambda member: requests
    return order.hold(crowd)


def half_messages(order):
    """Messages of 1 MiB of which the last byte does not come."""
    almost = frame(BINARY, bytes(MIB))[:-1]
    crowd = order.crowd(handshake("/c/attack/echo") + almost)
    return order.hold(crowd)


def half_bodies(order):
    """Bodies of 1 MiB of which the last byte does not come."""
    almost = post("/c/attack/echo", bytes(MIB))[:-1]
    return order.hold(order.crowd(almost))


def fill(order, path, bytes_, count):
    publisher = Http(order.address, order.source, timeout=30)
    for _ in range(count):
        status, body = publisher.ask(post(path, bytes_))
        assert status == 200, (status, body)
    publisher.close()


def snapshots_unread(order):
    """GETs of a full history (4 messages of 1,000,000 bytes, which JSON writes as six times as many), answers not read."""
    fill(order, "/c/attack/full", b"\x01" * 1_000_000, 4)
    crowd = order.crowd(get("/c/attack/full"), reads=False, receive_bytes=4 * KIB)
    return order.hold(crowd)


def replays_unread(order):
    """WebSockets that ask for all of it again, and do not read."""
    fill(order, "/c/attack/full", b"\x01" * 1_000_000, 4)
    _, body = Http(order.address).ask(get("/c/attack/full?wait=0"))
    epoch = json.loads(body)["at"].split("-")[0]
    revision = int(json.loads(body)["at"].split("-")[1]) - 4
    crowd = order.crowd(handshake(f"/c/attack/full?since={epoch}-{revision}"), reads=False, receive_bytes=4 * KIB)
    return order.hold(crowd)


def snapshots(order):
    """A small message and a GET of a full history, again and again: each is written anew."""
    fill(order, "/c/attack/full", b"x" * 10_000, 400)
    figures = {"published": 0}
    http = Http(order.address, order.source, timeout=30)
    while not order.over():
        http.ask(post("/c/attack/full", b"x"))
        http.ask(get("/c/attack/full"))
        figures["published"] += 1
    return figures


def replays(order):
    """WebSockets that ask for all of a history, leave at the first byte, and come again."""
    fill(order, "/c/attack/full", b"x" * 10_000, 400)
    _, body = Http(order.address).ask(get("/c/attack/full"))
    epoch, revision = json.loads(body)["at"].split("-")
    first = handshake(f"/c/attack/full?since={epoch}-{int(revision) - 400}")
    crowd = order.crowd(first, again=True)
    crowd.heard = lambda member, _: crowd.drop(member)
    return order.hold(crowd)


def comings(order):
    """Listeners that stay, and one that comes and goes: each time everybody is told how many listen."""
    crowd = order.crowd(handshake("/c/attack/poll"))
    visits = 0
    while not order.over():
        crowd.turn(0.02)
        if order.index == 0 and crowd.opened >= order.count:
            visitor = WebSocket(order.address, "/c/attack/poll")
            reset(visitor.sock)
            visits += 1
    figures = crowd.figures() | {"visits": visits}
    crowd.end()
    return figures


def channels(order):
    """Full histories in many channels of a pattern."""
    http = Http(order.address, order.source, timeout=30)
    statuses = {}
    for number in range(order.count):
        if order.over():
            break
        for _ in range(4):
            status, _ = http.ask(post(f"/c/feed/{os.getpid()}-{number}", b"x" * 1_000_000))
            statuses[status] = statuses.get(status, 0) + 1
    while not order.over():
        time.sleep(0.1)
    return {"statuses": statuses}


def names(order):
    """Names of channels without end, each asked for once."""
    crowd = order.crowd()
    number = 0

    def more(member):
        nonlocal number
        number += 200
        return b"".join(get(f"/c/feed/{os.getpid()}-{each}") for each in range(number - 200, number))

    crowd.more = more
    figures = order.hold(crowd)
    return figures | {"names": number}


def spin(order):
    """No attack: a process that needs a processor. What others notice of this, the machine is to blame for."""
    while not order.over():
        for _ in range(100_000):
            pass
    return {}


ATTACKS = {
    act.__name__: act
    for act in (
        idle, idle_websockets, handshakes, connects, pings, pings_unread, fragments, echoes_unread, votes, votes_unread,
        wrong_votes, large_unread, polls, header_lines, announced, tiny_chunks, pipelined, pipelined_unread, half_messages,
        half_bodies, snapshots_unread, replays_unread, snapshots, replays, comings, channels, names, spin,
    )
}  # fmt: skip


def main():
    name, address, seconds, count, index = sys.argv[1:]
    order = Order(address, float(seconds), int(count), int(index))
    print(json.dumps(ATTACKS[name](order)), flush=True)


if __name__ == "__main__":
    main()
