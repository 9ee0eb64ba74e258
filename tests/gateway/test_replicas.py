"""Calls follow replicas: real gRPC servers on addresses of their own, behind one name."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
import pytest
from variegate.generator.v1 import generator_pb2 as pb
from variegate.generator.v1 import generator_pb2_grpc as rpc

from gateway.clients import replicas as module
from gateway.clients.addresses import addresses_of
from gateway.clients.patience import Patience
from gateway.clients.replicas import Replicas
from servicekit.errors import Exhausted, InvalidArgument, Unavailable
from tests.gateway.behind_a_name import BehindAName
from tests.name_server import NameServer

SERVICE = pb.DESCRIPTOR.services_by_name["GeneratorService"]
CAPACITY = 8


@dataclass
class Fake(rpc.GeneratorServiceServicer):
    """Works on `CAPACITY` images at once, each for `seconds`."""

    seconds: float = 0.01
    calls: int = 0
    open: int = 0
    most_open: int = 0
    exhausted: int = 0  # So many calls are refused first.
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CAPACITY))

    async def GenerateImages(self, request, context):
        if self.exhausted:
            self.exhausted -= 1
            raise Exhausted("full", reason="QUEUE_FULL", retry_after=0.1)
        self.calls += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            for work in asyncio.as_completed([self._make(item) for item in request.items]):
                yield pb.GenerateImagesResponse(item_id=await work)
        finally:
            self.open -= 1

    async def _make(self, item):
        async with self.room:
            await asyncio.sleep(self.seconds)
        return item.item_id


class Farm(BehindAName):
    """Fakes behind one name, and a client."""

    def __init__(self, stack: AsyncExitStack) -> None:
        super().__init__(stack)
        self.fakes: dict[str, Fake] = {}
        self.replicas = Replicas(
            self.target, SERVICE, rpc.GeneratorServiceStub, self._capacity, None
        )
        stack.push_async_callback(self.replicas.close)
        self.asked, self.silent = 0, 0  # The first `silent` do not say what they work on.

    async def _capacity(self, stub):
        self.asked += 1
        if self.asked <= self.silent:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, None, None, "it loads")
        return CAPACITY

    async def add_fake(self, fake: Fake) -> str:
        address = await self.add(
            lambda server: rpc.add_GeneratorServiceServicer_to_server(fake, server),
            SERVICE.full_name,
        )
        self.fakes[address] = fake
        return address

    async def make(self, name: str, count: int = CAPACITY) -> list[str]:
        """Makes `count` images and returns the ids that were answered."""
        items = [pb.Item(item_id=f"{name}-{number}") for number in range(count)]
        found: list[str] = []

        async def attempt(stub):
            call = stub.GenerateImages(pb.GenerateImagesRequest(model="m", items=items), timeout=30)
            found[:] = [answer.item_id async for answer in call]

        await self.replicas.call(count, attempt, Patience(20, "generator"))
        return found

    async def make_many(self, count: int) -> None:
        found = await asyncio.gather(*(self.make(str(number)) for number in range(count)))
        assert [len(one) for one in found] == [CAPACITY] * count

    def calls(self) -> list[int]:
        return [fake.calls for fake in self.fakes.values()]


@pytest.fixture
async def farm(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_UP_SECONDS", 0.2)
    async with AsyncExitStack() as stack:
        yield Farm(stack)


async def test_equal_replicas_get_equally_many_calls_and_no_more_than_twice_what_they_work_on(farm):
    for _ in range(4):
        await farm.add_fake(Fake())
    await farm.make_many(200)
    assert sum(farm.calls()) == 200
    assert max(farm.calls()) - min(farm.calls()) <= 10
    assert {fake.most_open for fake in farm.fakes.values()} == {2}


async def test_a_slow_replica_gets_what_it_can_make_and_holds_up_nobody(farm):
    slow = await farm.add_fake(Fake(seconds=0.08))
    for _ in range(2):
        await farm.add_fake(Fake(seconds=0.01))
    await farm.make_many(200)
    others = [fake.calls for address, fake in farm.fakes.items() if address != slow]
    assert farm.fakes[slow].calls < min(others) / 3
    assert max(others) - min(others) < 20


async def test_a_replica_that_appears_gets_its_share(farm):
    await farm.add_fake(Fake(seconds=0.02))
    work = asyncio.create_task(farm.make_many(200))
    await asyncio.sleep(0.3)
    await farm.add_fake(Fake(seconds=0.02))
    await work
    first, second = farm.calls()
    assert second > first / 2


async def test_work_that_finds_no_replica_waits_for_the_first(farm):
    work = asyncio.create_task(farm.make_many(10))
    await asyncio.sleep(0.5)
    assert not work.done()
    await farm.add_fake(Fake())
    await work


async def test_a_replica_that_dies_costs_no_image(farm):
    victim, _ = await farm.add_fake(Fake(seconds=0.02)), await farm.add_fake(Fake(seconds=0.02))
    work = asyncio.create_task(farm.make_many(80))
    while not farm.fakes[victim].open:
        await asyncio.sleep(0.01)
    await farm.stop(victim, 0)
    await work
    assert farm.calls()[1] > farm.calls()[0], "the other one made what was left"


async def test_a_replica_that_drains_finishes_what_it_has_and_gets_no_more(farm):
    leaving, _ = await farm.add_fake(Fake(seconds=0.05)), await farm.add_fake(Fake(seconds=0.05))
    work = asyncio.create_task(farm.make_many(60))
    while not farm.fakes[leaving].open:
        await asyncio.sleep(0.01)
    await farm.stop(leaving, 10)
    made = farm.fakes[leaving].calls
    await work
    assert farm.fakes[leaving].calls == made and sum(farm.calls()) == 60, "nothing was made twice"


async def test_an_address_that_is_taken_out_of_the_name_gets_no_more_calls(farm):
    gone, stays = await farm.add_fake(Fake()), await farm.add_fake(Fake())
    await farm.make_many(20)
    farm.names.addresses.remove(gone)
    await asyncio.sleep(0.6)
    before = farm.fakes[gone].calls
    await farm.make_many(20)
    assert farm.fakes[gone].calls == before and farm.fakes[stays].calls >= 20


async def test_a_replica_that_is_full_rests_and_another_one_is_asked_at_once(farm):
    await farm.add_fake(Fake(exhausted=1))
    await farm.add_fake(Fake())
    await farm.make_many(2)
    assert sum(farm.calls()) == 2


async def test_a_replica_that_did_not_say_what_it_works_on_is_asked_again(farm):
    farm.silent = 1
    await farm.add_fake(Fake(seconds=0.02))
    await farm.make_many(60)
    assert farm.asked == 2 and farm.fakes["127.0.0.2"].most_open == 2


async def test_what_is_refused_for_good_is_raised_at_once_and_spares_no_replica(farm):
    await farm.add_fake(Fake())
    await farm.make_many(1)

    async def attempt(stub):
        raise InvalidArgument("no such size", field="size", reason="BAD_SIZE")

    with pytest.raises(Exception, match="no such size"):
        await farm.replicas.call(1, attempt, Patience(20, "generator"))
    [replica] = farm.replicas._replicas.values()
    assert replica.rests_until == 0


async def test_a_name_without_an_address_is_said_when_patience_is_over():
    async with AsyncExitStack() as stack:
        names = stack.enter_context(NameServer())
        target = names.target(1, "nobody.elsewhere")
        client = Replicas(target, SERVICE, rpc.GeneratorServiceStub, lambda stub: None, None)
        stack.push_async_callback(client.close)
        with pytest.raises(Unavailable, match=r"nobody\.elsewhere has no address"):
            await client.call(1, lambda stub: None, Patience(0.1, "generator"))


async def test_targets_name_the_addresses_that_gRPC_would_connect_to():
    assert await addresses_of("127.0.0.1:80") == ["ipv4:127.0.0.1:80"]
    assert await addresses_of("localhost:80") == ["ipv4:127.0.0.1:80"]
    assert await addresses_of("dns:///127.0.0.7:80") == ["ipv4:127.0.0.7:80"]
    assert await addresses_of("[::1]:80") == ["ipv6:[::1]:80"]
    for one in ("unix:/tmp/x", "unix:///tmp/x", "ipv4:127.0.0.1:80"):
        assert await addresses_of(one) == [one]
    with pytest.raises(Unavailable, match="has no address"):
        await addresses_of(f"dns:///{'x' * 70}.test:80")
    with NameServer("127.0.0.3", "127.0.0.2") as names:
        both = ["ipv4:127.0.0.2:81", "ipv4:127.0.0.3:81"]
        assert await addresses_of(names.target(81)) == both
