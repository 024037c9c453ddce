#!/usr/bin/env python3
"""Python's `websockets`: python_websockets.py ADDRESS CHANNEL ECHO_ADDRESS. Prints what it sees, one JSON line each."""

import asyncio
import json
import sys

import websockets


def report(step, **seen):
    print(json.dumps({"step": step, **seen}, ensure_ascii=False), flush=True)


async def main(address, channel, echo_address):
    report("library", name="websockets", version=websockets.__version__)

    # The page of bare ids: two clients, one votes, both see it.
    async with websockets.connect(f"ws://{address}/message") as one, websockets.connect(f"ws://{address}/message") as two:
        await one.send("1")
        report("bare", heard=[json.loads(await one.recv()), json.loads(await two.recv())])

    # Our own protocol: a snapshot, a vote with an id, its answer and its publication; then back with a position.
    async with websockets.connect(f"ws://{address}/c/{channel}") as socket:
        snapshot = json.loads(await socket.recv())
        report("snapshot", heard=snapshot)
        await socket.send(json.dumps({"choice": "2", "id": 7}))
        heard = []
        while {"ok", "tally"} - {message["type"] for message in heard}:
            heard.append(json.loads(await socket.recv()))
        report("vote", heard=heard)
        pong = await socket.ping()
        report("ping", seconds=await pong)
    async with websockets.connect(f"ws://{address}/c/{channel}?since={snapshot['at']}") as socket:
        heard = []
        while "tally" not in {message["type"] for message in heard}:
            heard.append(json.loads(await socket.recv()))
        report("resume", heard=heard)

    # Text and binary come back with their type; compression is offered by the library and must do no harm.
    async with websockets.connect(f"ws://{echo_address}/ws") as socket:
        heard = []
        for message in ["小明", b"\x00\xff", "x" * 200_000]:
            await socket.send(message)
            answer = await socket.recv()
            while answer == "*heartbeat from serve":
                answer = await socket.recv()
            heard.append(answer == message)
        report("echo", same=heard)
    report("closed", code=socket.close_code)


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
