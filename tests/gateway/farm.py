"""Fake generators and screeners for benchmarks.replicas, each on a loopback address of its own.

Run as `python -m tests.gateway.farm PORT GENERATOR_SECONDS... -- SCREENER_SECONDS...`. They
work on CAPACITY images at once, each for the seconds given (a screener on one), and keep nothing.
When the standard input ends they print how many images each generator made, and end.
"""

import asyncio
import json
import sys

import grpc
from variegate.generator.v1 import generator_pb2_grpc
from variegate.retriever.v1 import retriever_pb2_grpc

from tests.gateway import many
from tests.gateway.doubles import Trouble

CAPACITY = 8


class Generator(many.Generator):
    def __init__(self, seconds):
        super().__init__(None, Trouble(capacity=CAPACITY))
        self.seconds, self.room, self.made = seconds, asyncio.Semaphore(CAPACITY), 0

    async def GenerateImages(self, request, context):
        for work in [asyncio.create_task(self._work(item)) for item in request.items]:
            await work
        async for answer in super().GenerateImages(request, context):
            yield answer

    async def _work(self, item):
        async with self.room:
            await asyncio.sleep(self.seconds)
            self.made += 1


class Retriever(many.Retriever):
    def __init__(self, seconds):
        super().__init__(None, Trouble())
        self.seconds, self.turn = seconds, asyncio.Lock()

    async def ScreenImages(self, request, context):
        async with self.turn:
            await asyncio.sleep(self.seconds * len(request.candidates))
        return await super().ScreenImages(request, context)


async def main(port, generators, screeners):
    servers, made = [], [Generator(seconds) for seconds in generators]
    for number in range(max(len(generators), len(screeners))):
        server = grpc.aio.server()
        if number < len(made):
            generator_pb2_grpc.add_GeneratorServiceServicer_to_server(made[number], server)
        if number < len(screeners):
            screener = Retriever(screeners[number])
            retriever_pb2_grpc.add_RetrieverServiceServicer_to_server(screener, server)
        server.add_insecure_port(f"127.0.0.{2 + number}:{port}")
        await server.start()
        servers.append(server)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps([one.made for one in made]), flush=True)
    for server in servers:
        await server.stop(0)


if __name__ == "__main__":
    place, *rest = sys.argv[1:]
    split = rest.index("--")
    numbers = [[float(one) for one in part] for part in (rest[:split], rest[split + 1 :])]
    asyncio.run(main(int(place), *numbers))
