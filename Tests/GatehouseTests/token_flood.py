"""Clients with tokens that nobody has issued, each showing a fresh one as soon as the last is refused.

    token_flood.py PORT CONNECTIONS ADDRESSES    from 127.0.0.1, or from so many addresses of 127.1.0.0/16; until SIGTERM.
                                                 Prints "begun" once each has sent, and at the end what they were answered
"""
import asyncio
import collections
import json
import random
import signal
import sys

port, connections, addresses = map(int, sys.argv[1:])
seen = collections.Counter()


def address(number):
    if addresses == 0:
        return "127.0.0.1"
    number = number % addresses + 1
    return "127.1.%d.%d" % (number >> 8, number & 255)


async def client(number, ended, begun):
    reader = None
    while not ended.is_set():
        try:
            if reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address(number), 0))
            token = b"junk-%d" % random.getrandbits(64)
            writer.write(b"GET /x HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
            begun.add(number)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            seen[head[9:12].decode()] += 1
        except (OSError, asyncio.IncompleteReadError):
            reader = None
            await asyncio.sleep(0.05)


async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    begun = set()
    tasks = [asyncio.create_task(client(number, ended, begun)) for number in range(connections)]
    while len(begun) < connections:
        await asyncio.sleep(0.01)
    print("begun", flush=True)
    await ended.wait()
    for task in tasks:
        task.cancel()
    print(json.dumps(seen), flush=True)


asyncio.run(main())
