#!/usr/bin/env python3
"""Rows 5 and 6 by PyPI's `websockets`: rows_5_6.py direct|group ADDRESS. Prints what it sees, one JSON line each."""

import asyncio
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import websockets

# A message that nobody else may hear of is followed by one of these for everybody: what is heard before it was misdirected.
MARK = '{"message":"mark","from_user":"test","to_user":%s}'


def report(step, **seen):
    print(json.dumps({"step": step, **seen}, ensure_ascii=False), flush=True)


def page(address):
    with urllib.request.urlopen(f"http://{address}/my_app", timeout=30) as answer:
        text = answer.read().decode()
        report("page", status=answer.status, type=answer.headers["Content-Type"], html=text.lower().startswith("<!doctype html"))


def connect(address, name=None):
    path = "/my_ws" if name is None else f"/my_ws/{urllib.parse.quote(name, safe='')}"
    return websockets.connect(f"ws://{address}{path}", origin=f"http://{address}", max_size=None)


async def status(address, path):
    """How a handshake is answered."""
    try:
        async with websockets.connect(f"ws://{address}{path}"):
            return 101
    except websockets.InvalidStatus as error:
        return error.response.status_code


async def direct(address):
    page(address)
    sockets = {}
    users = ["bob", "小明", "小明", "Zoë /?#%", "alice"]
    for number, user in enumerate(users):
        sockets[f"{user} {number}"] = await connect(address, user)
    bob = sockets["bob 0"]

    async def play(sender, text):
        """Sends a text, then a mark to everybody: who heard what before the mark."""
        await sender.send(text)
        heard = {}
        for user in dict.fromkeys(users):
            await sender.send(MARK % json.dumps(user))
        for name, socket in sockets.items():
            heard[name] = []
            while True:
                message = await socket.recv()
                if isinstance(message, str) and '"mark"' in message:
                    break
                heard[name].append(message)
        return {name: messages for name, messages in heard.items() if messages}

    rows = [
        # Spaces, order, escapes and fields of their own: the text itself is forwarded.
        (0, '{"message": "你好", "from_user": "bob", "to_user": "小明"}'),
        (0, ' {"to_user":"\\u5c0f\\u660e" ,"x":[1,{"to_user":"alice"}],\t"message":"\\n🏃", "from_user":"nobody"}\r\n'),
        (1, '{"message":"to one with a name that must be escaped","from_user":"小明","to_user":"Zoë /?#%"}'),
        (4, '{"message":"to myself","from_user":"alice","to_user":"alice"}'),
        (2, '{"message":"' + "小" * 20_000 + '","from_user":"小明","to_user":"bob"}'),
        (0, '{"message": {"not": "a text"}, "to_user": "alice"}'),
        (0, '{"to_user": "alice"}'),
    ]
    names = list(sockets)
    for number, text in rows:
        heard = await play(sockets[names[number]], text)
        same = all(messages == [text] for messages in heard.values())
        report("forwarded", by=names[number], to=sorted(heard), same=same)

    good = {"message": "x", "from_user": "bob"}
    bad = [
        "not JSON", "", "{", "[]", '"alice"', json.dumps(good), json.dumps({**good, "to_user": "nobody"}),
        json.dumps({**good, "to_user": 7}), json.dumps({**good, "to_user": None}), json.dumps({**good, "to_user": ""}),
        json.dumps({**good, "to_user": "x" * 65}), json.dumps({**good, "to_user": "a\nb"}),
        json.dumps({**good, "to_user": "alice", "message": "x" * 70_000}), "[" * 10_000,
        '{"to_user":"alice","x":' + "[" * 10_000 + "]" * 10_000 + "}",
    ]
    for text in bad:
        heard = await play(bob, text)
        report("refused", sent=text[:40], heard={name: [json.loads(text) for text in texts] for name, texts in heard.items()})
    report("statuses", statuses=[await status(address, f"/my_ws/{name}") for name in ["x" * 64, "x" * 65, "%00", "a%0Ab", "%FF"]])

    # One of two connections of a user goes: the other still gets all. Then that one goes, too.
    to_xiao_ming = '{"message":"still?","to_user":"小明"}'
    await sockets.pop("小明 1").close()
    heard = await play(bob, to_xiao_ming)
    report("one is left", to=sorted(heard), same=all(messages == [to_xiao_ming] for messages in heard.values()))
    await sockets.pop("小明 2").close()
    users[:] = [user for user in users if user != "小明"]
    # The close was answered; that the user is gone may become known a moment later.
    for _ in range(100):
        heard = await play(bob, to_xiao_ming)
        if heard:
            break
        await asyncio.sleep(0.05)
    report("none is left", heard={name: [json.loads(text) for text in texts] for name, texts in heard.items()})
    again = await connect(address, "小明")
    await again.send('{"message":"back","to_user":"bob"}')
    report("back", same=await bob.recv() == '{"message":"back","to_user":"bob"}')
    await bob.send(to_xiao_ming)
    report("reached", same=await again.recv() == to_xiao_ming)


async def group(address):
    page(address)
    sockets = [await connect(address) for _ in range(4)]

    async def next_but_refusals(socket, refusals):
        while True:
            message = await socket.recv()
            if isinstance(message, bytes) or not message.startswith('{"error"'):
                return message
            refusals.append(json.loads(message))

    texts = [
        "大家好", "", " ", "0", "null", '{"message": "x", "to_user": "bob"}', '{"type":"message","text":"x"}', "a\x00b",
        "\u2028🏃\r\n",
        "小" * 20_000, b"\x00\xff bytes", b"",
    ]
    for number, text in enumerate(texts):
        await sockets[number % 4].send(text)
        others = [socket for index, socket in enumerate(sockets) if index != number % 4]
        heard = [await socket.recv() for socket in others]
        # The sender gets nothing: what it hears next is another's message.
        report("sent", same=[message == text for message in heard])

    # All at once: each hears the others' messages in one order for all, each sender's in the order in which they were sent.
    async def say(number):
        for count in range(50):
            await sockets[number].send(f"{number} {count}")

    async def listen(socket):
        return [await socket.recv() for _ in range(150)]

    heard = await asyncio.gather(*map(listen, sockets), *map(say, range(4)))
    report("at once", heard=heard[:4])

    refusals = []
    await sockets[0].send("x" * 70_000)
    await sockets[0].send("after")
    heard = [await next_but_refusals(socket, refusals) for socket in sockets[1:]]
    await sockets[1].send("to the one who was refused")
    heard.append(await next_but_refusals(sockets[0], refusals))
    report("too long", heard=heard, refusals=refusals)

    # One that goes, and one that is cut off, stop nobody.
    await sockets.pop().close()
    sockets.pop().transport.abort()
    await sockets[0].send("to the last")
    report("the last", heard=await sockets[1].recv())


programs = {"direct": direct, "group": group}
asyncio.run(asyncio.wait_for(programs[sys.argv[1]](sys.argv[2]), 50))
