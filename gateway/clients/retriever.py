"""The retriever: an index of a pool, searches, and verdicts on images."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from google.longrunning import operations_pb2_grpc
from numpy.typing import NDArray
from variegate.retriever.v1 import retriever_pb2 as pb
from variegate.retriever.v1 import retriever_pb2_grpc as rpc

from gateway.clients.channel import LazyChannel
from gateway.clients.operations import finish
from gateway.clients.patience import Patience, patiently
from gateway.clients.replicas import Replicas
from gateway.clients.verdicts import Candidate, Verdict, to_verdict
from gateway.digests import digest
from gateway.settings import GatewaySettings
from servicekit.together import together

CANDIDATES_PER_CALL, HITS_PER_SEARCH = 256, 10_000
_AESTHETIC = "aesthetic"
_NAMED_SHARDS = 3
EMBEDDINGS_PER_CALL = 256

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class PoolIndex:
    """A searchable pool. `digest` covers vectors and metadata."""

    name: str
    digest: str
    encoder: str
    image_count: int
    # Whether the pool knows how beautiful its images are.
    has_aesthetic: bool = False
    # Which shards and files could not be used, for people; "" if all could.
    left_out: str = ""


@dataclass(frozen=True)
class Hit:
    """An image that a search found."""

    image_uri: str
    sha256: str
    similarity: float
    caption: str


@dataclass(frozen=True)
class PoolImage:
    """An image of a pool."""

    image_uri: str
    sha256: str


class Retriever:
    """Calls of the retriever."""

    def __init__(self, settings: GatewaySettings) -> None:
        service = pb.DESCRIPTOR.services_by_name["RetrieverService"]
        self._channel = LazyChannel(settings.retriever, service)
        self._settings = settings
        self.screeners = Replicas(settings.retriever, service, rpc.RetrieverServiceStub, _one_call)

    @cached_property
    def _stub(self) -> rpc.RetrieverServiceStub:
        return rpc.RetrieverServiceStub(self._channel.open())

    @cached_property
    def _operations(self) -> operations_pb2_grpc.OperationsStub:
        return operations_pb2_grpc.OperationsStub(self._channel.open())

    async def index(self, pool_uri: str, look: Callable[[int, int], None]) -> PoolIndex:
        """Returns the index of a pool, built if it is not there; `look` gets done and total.

        It is the one of the encoder that serves now: one of an older encoder is in nobody's way.
        """
        encoder = await self.encoder()
        index_id = f"pool-{digest(pool_uri, encoder)}"
        request = pb.CreateIndexRequest(index_id=index_id, pool_uri=pool_uri)
        patience = self._settings.patience_seconds
        progress, index = pb.CreateIndexMetadata(), pb.Index()

        def on_progress(state: object) -> None:
            state.metadata.Unpack(progress)  # type: ignore[attr-defined]
            look(progress.done_count, progress.total_count)

        done = await finish(
            self._operations,
            lambda: self._stub.CreateIndex(request, timeout=60),
            service="retriever",
            patience_seconds=patience,
            look=on_progress,
        )
        done.response.Unpack(index)
        number = pb.Column(name=_AESTHETIC, kind=pb.Column.KIND_NUMBER)
        return PoolIndex(
            index.name,
            index.digest,
            index.encoder,
            index.image_count,
            number in index.columns,
            _left_out(index),
        )

    async def encoder(self) -> str:
        """Returns the id of the CLIP model, which covers its weights."""
        return str((await self.models()).encoder)

    async def models(self) -> pb.Models:
        """Returns the ids of the encoder and of the safety classifier."""
        request, timeout = pb.GetModelsRequest(), self._settings.call_seconds
        return await patiently(
            lambda: self._stub.GetModels(request, timeout=timeout),
            self._settings.patience_seconds,
            "retriever",
        )

    async def search(
        self, index: str, text: str, count: int, *, least_aesthetic: float | None = None
    ) -> list[Hit]:
        """Returns the `count` nearest images of a text, at most HITS_PER_SEARCH, best first.

        `least_aesthetic` is for pools that have aesthetic scores.
        """
        request = pb.SearchImagesRequest(
            index=index, queries=[pb.Query(text=text)], hit_count=count
        )
        if least_aesthetic is not None:
            request.filters.add(column=_AESTHETIC, between=pb.NumberRange(least=least_aesthetic))
        timeout = self._settings.call_seconds
        answer = await patiently(
            lambda: self._stub.SearchImages(request, timeout=timeout),
            self._settings.patience_seconds,
            "retriever",
        )
        # Thousands of hits are some ten milliseconds of work: not for the event loop.
        return await asyncio.to_thread(_hits, answer.results[0])

    async def sample(
        self,
        index: str,
        count: int,
        labels: Sequence[str] | range,
        *,
        seed: int = 0,
        skip: int = 0,
    ) -> list[PoolImage]:
        """Returns `count` images of some classes, after `skip` others of the draw with that seed.

        `labels` are at most 1000 names of classes, or a range of their numbers.
        """
        request = pb.SampleImagesRequest(index=index, image_count=count, skip_count=skip, seed=seed)
        if isinstance(labels, range):
            ends = pb.NumberRange(least=labels[0], most=labels[-1])
            request.filters.add(column="label", between=ends)
        else:
            request.filters.add(column="class_name", one_of=pb.TextSet(texts=labels))
        timeout = self._settings.call_seconds
        answer = await patiently(
            lambda: self._stub.SampleImages(request, timeout=timeout),
            self._settings.patience_seconds,
            "retriever",
        )
        return [PoolImage(image.image_uri, image.sha256) for image in answer.images]

    async def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Returns CLIP's unit vectors [n, d] of texts, in order."""
        vectors, _ = await self.embed_prompts(texts)
        return vectors

    async def embed_prompts(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        """Returns CLIP's unit vectors [n, d] of texts, and how many were longer than it reads."""
        cut = 0

        async def call(part: Sequence[str]) -> pb.EmbedTextsResponse:
            nonlocal cut
            request, timeout = pb.EmbedTextsRequest(texts=part), self._settings.call_seconds
            answer = await patiently(
                lambda: self._stub.EmbedTexts(request, timeout=timeout),
                self._settings.patience_seconds,
                "retriever",
            )
            cut += len(answer.cut_texts)
            return answer

        return await self._embed(texts, call), cut

    async def embed_images(self, image_uris: Sequence[str]) -> Vectors:
        """Returns CLIP's unit vectors [n, d] of images, in order."""

        def call(part: Sequence[str]) -> Awaitable[pb.EmbedImagesResponse]:
            request = pb.EmbedImagesRequest(image_uris=part)
            timeout = self._settings.call_seconds
            return self.screeners.call(
                1,
                lambda stub: stub.EmbedImages(request, timeout=timeout),
                Patience(self._settings.patience_seconds, "retriever"),
            )

        return await self._embed(image_uris, call)

    async def _embed(
        self, inputs: Sequence[str], call: Callable[[Sequence[str]], Awaitable[Any]]
    ) -> Vectors:
        vectors: list[Vectors] = []
        for first in range(0, len(inputs), EMBEDDINGS_PER_CALL):
            part = inputs[first : first + EMBEDDINGS_PER_CALL]
            answer = await call(part)
            vectors += [np.frombuffer(one.data, "<f4") for one in answer.embeddings]
        return np.array(vectors, np.float32)

    async def screen(
        self,
        candidates: Sequence[Candidate],
        *,
        protected_manifest_uri: str,
        max_unsafe_score: float | None = None,
        job: str = "",
        started: Callable[[], None] = lambda: None,
    ) -> list[Verdict]:
        """Judges at most CANDIDATES_PER_CALL images, in order. None leaves safety unchecked.

        All replicas that are idle share them, so that no job waits at its end for one of many.
        Calls go to the replica with the fewest of them, and wait while all have enough; `started`
        is called when one is under way.
        """

        def call(part: Sequence[Candidate]) -> Coroutine[Any, Any, pb.ScreenImagesResponse]:
            request = _screening(part, protected_manifest_uri, max_unsafe_score)
            return self.screeners.call(
                1,
                lambda stub: stub.ScreenImages(request, timeout=self._settings.call_seconds),
                Patience(self._settings.patience_seconds, "retriever"),
                job=job,
                started=started,
            )

        size = -(-len(candidates) // max(1, self.screeners.idle_count()))
        firsts = range(0, len(candidates), size or 1)
        answers = await together(call(candidates[first : first + size]) for first in firsts)
        return [to_verdict(verdict) for answer in answers for verdict in answer.verdicts]

    async def close(self) -> None:
        await self.screeners.close()
        await self._channel.close()


def _screening(
    candidates: Sequence[Candidate], protected_manifest_uri: str, max_unsafe_score: float | None
) -> pb.ScreenImagesRequest:
    request = pb.ScreenImagesRequest(protected_manifest_uri=protected_manifest_uri)
    for candidate in candidates:
        request.candidates.add(image_uri=candidate.image_uri, text=candidate.text)
    if max_unsafe_score is not None:
        request.policy.max_unsafe_score = max_unsafe_score
    return request


def _hits(found: pb.HitList) -> list[Hit]:
    return [Hit(hit.image_uri, hit.sha256, hit.similarity, hit.caption) for hit in found.hits]


async def _one_call(stub: rpc.RetrieverServiceStub) -> int:
    """A retriever screens a call at a time as fast as several: its processors are shared."""
    return 1


def _left_out(index: pb.Index) -> str:
    parts = []
    if broken := index.broken_shards:
        named = "; ".join(shard.message for shard in broken[:_NAMED_SHARDS])
        rest = f"; and {len(broken) - _NAMED_SHARDS} more" if len(broken) > _NAMED_SHARDS else ""
        parts.append(f"of the pool these shards were left out: {named}{rest}")
    if files := index.left_out:
        counts = "; ".join(f"{one.file_count} {one.reason} ({one.example})" for one in files)
        parts.append(f"of the pool's files and labels were not used: {counts}")
    return ". ".join(parts)
