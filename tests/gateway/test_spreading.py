"""Captions, prompts and verdicts come from all replicas that there are: real servers of the
services' doubles, on addresses of their own behind one name. None answers before each of the three
was asked, so what does not spread does not end."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from variegate.captioner.v1 import captioner_pb2, captioner_pb2_grpc
from variegate.prompter.v1 import prompter_pb2_grpc
from variegate.retriever.v1 import retriever_pb2, retriever_pb2_grpc

from gateway.clients import Clients
from gateway.clients import replicas as module
from gateway.clients.patience import Patience
from gateway.clients.screener import Screener
from gateway.clients.verdicts import Candidate
from gateway.settings import GatewaySettings
from servicekit.errors import Precondition
from tests.gateway import many
from tests.gateway.behind_a_name import BehindAName
from tests.gateway.doubles import Captioner, Prompter, Trouble
from tests.gateway.pictures import write_folder
from tests.gateway.system import open_system

CAPACITY, PER_CLASS = 4, 12
CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")


class Meeting:
    """Who was asked; over when all three were."""

    def __init__(self):
        self.begin()

    def begin(self):
        self.asked, self.is_over = set(), asyncio.Event()

    async def attend(self, one):
        self.asked.add(one)
        if len(self.asked) == 3:
            self.is_over.set()
        await self.is_over.wait()


class SlowCaptioner(Captioner):
    """Works on `CAPACITY` images at once."""

    def __init__(self, meeting):
        super().__init__(None, Trouble())
        self.meeting, self.longest = meeting, 0

    async def GetModel(self, request, context):
        model = await super().GetModel(request, context)
        return captioner_pb2.Model(id=model.id, engine=model.engine, capacity=CAPACITY)

    async def StreamCaptions(self, requests, context):
        wanted = [one async for one in requests]
        self.longest = max(self.longest, len(wanted))
        await self.meeting.attend(self)
        for one in wanted:
            answer = await self.CaptionImage(one.request, context)
            yield captioner_pb2.StreamCaptionsResponse(item_id=one.item_id, caption=answer.caption)


class SlowPrompter(Prompter):
    def __init__(self, meeting):
        super().__init__(None, Trouble())
        self.meeting = meeting

    async def WritePrompts(self, request, context):
        await self.meeting.attend(self)
        async for answer in super().WritePrompts(request, context):
            yield answer


class SlowRetriever(many.Retriever):
    def __init__(self, meeting):
        super().__init__(None, Trouble())
        self.meeting, self.counts = meeting, []

    async def ScreenImages(self, request, context):
        self.counts.append(len(request.candidates))
        await self.meeting.attend(self)
        return await super().ScreenImages(request, context)


@pytest.fixture
async def place(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_UP_SECONDS", 0.2)
    async with AsyncExitStack() as stack:
        yield BehindAName(stack)


async def start_three(place, kind, add_to):
    meeting = Meeting()
    made = [kind(meeting) for _ in range(3)]
    for one in made:
        await place.add(lambda server, one=one: add_to(one, server))
    return made


@pytest.fixture
async def captioners(place):
    return await start_three(
        place, SlowCaptioner, captioner_pb2_grpc.add_CaptionerServiceServicer_to_server
    )


@pytest.fixture
async def prompters(place):
    return await start_three(
        place, SlowPrompter, prompter_pb2_grpc.add_PrompterServiceServicer_to_server
    )


@pytest.fixture
async def screeners(place):
    return await start_three(
        place, SlowRetriever, retriever_pb2_grpc.add_RetrieverServiceServicer_to_server
    )


async def augment(tmp_path, target, service, method, meanwhile=None):
    """Makes an augmentation of eight classes with `service` behind `target`."""
    folder = write_folder(tmp_path / "photos", classes=CLASSES, count=PER_CLASS)
    async with open_system(tmp_path / "state", tmp_path, **{service: target}) as system:
        await system.import_folder(folder)
        operation = await system.start(method=method, images_per_class=1)
        if meanwhile is not None:
            await meanwhile()
        done = await system.finish(operation)
    assert done.result.accepted_count == len(CLASSES)


async def test_captions_come_from_all_captioners_in_calls_of_what_each_works_on(
    place, captioners, tmp_path
):
    await augment(tmp_path, place.target, "captioner", "mvc")
    assert sum(one.trouble.captioned for one in captioners) == PER_CLASS * len(CLASSES)
    assert {one.longest for one in captioners} == {CAPACITY}


async def test_a_captioner_that_appears_is_given_images(place, captioners, tmp_path):
    place.names.addresses.remove("127.0.0.4")

    async def add_one():
        while len(captioners[0].meeting.asked) < 2:
            await asyncio.sleep(0.01)
        place.names.addresses.append("127.0.0.4")

    await augment(tmp_path, place.target, "captioner", "mvc", add_one)


async def test_a_captioner_that_dies_costs_no_caption(place, captioners, tmp_path):
    async def kill_one():
        await captioners[0].meeting.is_over.wait()
        await place.stop("127.0.0.2", 0)

    await augment(tmp_path, place.target, "captioner", "mvc", kill_one)
    assert sum(one.trouble.captioned for one in captioners) >= PER_CLASS * len(CLASSES)


async def test_the_prompts_of_many_classes_come_from_all_prompters(place, prompters, tmp_path):
    await augment(tmp_path, place.target, "prompter", "simple")
    assert sum(len(one.requests) for one in prompters) == len(CLASSES)


async def test_the_images_of_a_shard_are_screened_by_all_also_by_those_at_work(place, screeners):
    client = Screener(GatewaySettings(screener=place.target), None)
    candidates = [Candidate(f"store:generated/{number}.png", "a dog") for number in range(8)]

    async def screen(some):
        return await client.screen(some, protected_manifest_uri="")

    try:
        while client.replicas.ready_count() < 3:  # They are known from the first call on.
            screeners[0].meeting.is_over.set()
            await screen(candidates[:1])
        for one in screeners:
            one.counts.clear()
        screeners[0].meeting.begin()
        verdicts, others = await asyncio.gather(screen(candidates), screen(candidates))
        assert sorted(sum(one.counts) for one in screeners) in ([4, 6, 6], [5, 5, 6])
        alone = [await screen([one]) for one in candidates]
    finally:
        await client.close()
    assert verdicts == others and [[one] for one in verdicts] == alone
    assert len({one.pixel_sha256 for one in verdicts}) == len(candidates)


async def test_a_screener_with_other_models_than_the_retriever_is_refused(place, screeners):
    clients = Clients.of(
        GatewaySettings(retriever=f"127.0.0.2:{place.port}", screener=f"127.0.0.3:{place.port}")
    )
    try:
        await clients.screener.check(await clients.retriever.models())
        screeners[0].encoder = "another-clip"
        with pytest.raises(Precondition, match=r"'another-clip'.*'double-clip'.*GATEWAY_SCREENER"):
            await clients.screener.check(await clients.retriever.models())
    finally:
        await clients.close()


async def test_one_screener_of_many_with_other_models_is_found(place, screeners):
    client = Screener(GatewaySettings(retriever="127.0.0.1:1", screener=place.target), None)
    try:
        models = await client.replicas.call(1, models_of, Patience(10, "screener"))
        await client.check(models)
        for odd in screeners:
            odd.encoder = "another-clip"
            with pytest.raises(Precondition, match="a screener has 'another-clip'"):
                await client.check(models)
            odd.encoder = models.encoder
    finally:
        await client.close()


def models_of(stub):
    return stub.GetModels(retriever_pb2.GetModelsRequest(), timeout=10)
