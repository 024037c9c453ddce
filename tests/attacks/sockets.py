"""Sockets for attackers and for the honest client: nothing but the standard library, so that nothing slows them or judges
the server kindly."""

import errno
import select
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
# How many connects one process has under way at a time.
CONNECTING_MAX = 256


def address_of(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def handshake(path):
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path, body, content_type="text/plain"):
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def frame(opcode, payload, fin=True):
    """A client's frame. The mask is zero, which is as valid as any."""
    first = (0x80 if fin else 0) | opcode
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload


def connect(address, source=None, timeout=10.0, receive_bytes=None):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    bind(sock, source)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def bind(sock, source):
    if source:
        # The port is chosen by connect, so that each destination has all of them.
        sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        sock.bind((source, 0))


def reset(sock):
    """Closes with a reset, so that no port is left in TIME_WAIT."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


class Http:
    """A blocking connection that is kept alive."""

    def __init__(self, address, source=None, timeout=10.0):
        self.sock = connect(address, source, timeout)
        self.buffer = b""

    def ask(self, request):
        self.sock.sendall(request)
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            self.more()
            rest = self.buffer[len(head) + 4 :]
        self.buffer = rest[length:]
        return int(head[9:12]), rest[:length]

    def more(self):
        read = self.sock.recv(1 << 20)
        if not read:
            raise ConnectionError("the server closed")
        self.buffer += read

    def close(self):
        self.sock.close()


class WebSocket:
    """A blocking WebSocket."""

    def __init__(self, address, path, source=None, timeout=10.0, receive_bytes=None):
        self.sock = connect(address, source, timeout, receive_bytes)
        self.sock.sendall(handshake(path))
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.split(b"\r\n")[0].decode())

    def fill(self):
        read = self.sock.recv(1 << 18)
        if not read:
            raise ConnectionError("the server closed")
        self.buffer += read

    def take(self):
        """A frame that is here, or None."""
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 0x7F, 2
        if length == 126:
            length, at = (struct.unpack("!H", buffer[2:4])[0], 4) if len(buffer) >= 4 else (1 << 60, 4)
        elif length == 127:
            length, at = (struct.unpack("!Q", buffer[2:10])[0], 10) if len(buffer) >= 10 else (1 << 60, 10)
        if len(buffer) < at + length:
            return None
        self.buffer = buffer[at + length :]
        return buffer[0] & 0x0F, buffer[at : at + length]

    def receive(self):
        """The next text or binary message. Pings are answered."""
        while True:
            found = self.take()
            if found is None:
                self.fill()
            elif found[0] == PING:
                self.sock.sendall(frame(PONG, found[1]))
            elif found[0] in (TEXT, BINARY):
                return found[1]
            elif found[0] == CLOSE:
                code = struct.unpack("!H", found[1][:2])[0] if len(found[1]) >= 2 else 1005
                raise ConnectionError(f"close {code}")

    def send(self, text):
        self.sock.sendall(frame(TEXT, text))


class Member:
    """One connection of a crowd."""

    __slots__ = ("sock", "connected", "unsent", "received", "first", "data")

    def __init__(self, sock, first):
        self.sock, self.connected, self.unsent, self.received, self.first, self.data = sock, False, first, 0, b"", None


class Crowd:
    """Many connections of one process, on epoll: each sends `first`, and more if `more(member)` gives it."""

    def __init__(self, address, count, first=b"", source=None, reads=True, receive_bytes=None, again=False):
        self.address, self.count, self.first, self.source = address, count, first, source
        self.reads, self.receive_bytes, self.again = reads, receive_bytes, again
        self.epoll = select.epoll()
        self.members = {}
        self.connecting = 0
        self.begun = 0
        self.opened = 0
        self.closed = 0
        self.failed = 0
        self.sent = 0
        self.received = 0
        self.last_closed = None
        self.statuses = {}
        self.more = None
        self.heard = None

    def grow(self):
        first = self.first
        while self.connecting < CONNECTING_MAX and self.begun < self.count:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            if self.receive_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_bytes)
            bind(sock, self.source)
            error = sock.connect_ex(self.address)
            if error not in (0, errno.EINPROGRESS):
                sock.close()
                self.failed += 1
                return
            self.begun += 1
            self.connecting += 1
            self.members[sock.fileno()] = Member(sock, first)
            self.epoll.register(sock.fileno(), select.EPOLLIN * self.reads | select.EPOLLOUT | select.EPOLLRDHUP)

    def turn(self, timeout=0.05):
        self.grow()
        for number, events in self.epoll.poll(timeout, 512):
            member = self.members.get(number)
            if member is None:
                continue
            try:
                if events & select.EPOLLOUT:
                    self.write(member)
                if events & select.EPOLLIN and self.reads:
                    self.read(member)
                elif events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                self.gone(number, member)

    def write(self, member):
        if not member.connected:
            error = member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "connect")
            member.connected = True
            self.connecting -= 1
            self.opened += 1
        while True:
            if not member.unsent and self.more:
                member.unsent = self.more(member) or b""
            if not member.unsent:
                break
            sent = member.sock.send(member.unsent)
            self.sent += sent
            if sent < len(member.unsent):
                member.unsent = memoryview(member.unsent)[sent:]
                return
            member.unsent = b""
            if self.more:
                return
        self.epoll.modify(member.sock.fileno(), select.EPOLLIN * self.reads | select.EPOLLRDHUP)

    def wake(self, member):
        """It has something to send again."""
        self.epoll.modify(member.sock.fileno(), select.EPOLLIN * self.reads | select.EPOLLOUT | select.EPOLLRDHUP)

    def read(self, member):
        read = member.sock.recv(1 << 16)
        if not read:
            raise ConnectionError
        self.received += len(read)
        member.received += len(read)
        if len(member.first) < 12:
            member.first += read[:12]
            if len(member.first) >= 12:
                status = member.first[9:12].decode("latin1")
                self.statuses[status] = self.statuses.get(status, 0) + 1
        if self.heard:
            self.heard(member, read)

    def gone(self, number, member):
        self.members.pop(number, None)
        if member.connected:
            self.closed += 1
            self.last_closed = time.monotonic()
        else:
            self.connecting -= 1
            self.failed += 1
        self.drop(member)

    def drop(self, member):
        self.members.pop(member.sock.fileno(), None)
        reset(member.sock)
        if self.again:
            self.begun -= 1

    def end(self):
        for member in list(self.members.values()):
            reset(member.sock)
        self.members.clear()
        self.epoll.close()

    def figures(self):
        return {
            "opened": self.opened,
            "closed by the server": self.closed,
            "failed": self.failed,
            "sent": self.sent,
            "received": self.received,
            "statuses": self.statuses,
        }
