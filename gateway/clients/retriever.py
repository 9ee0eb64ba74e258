"""The retriever: an index of a pool, searches, and embeddings of texts."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from google.longrunning import operations_pb2_grpc
from numpy.typing import NDArray
from variegate.retriever.v1 import retriever_pb2 as pb
from variegate.retriever.v1 import retriever_pb2_grpc as rpc

from gateway.clients.channel import LazyChannel
from gateway.clients.operations import finish
from gateway.clients.patience import patiently
from gateway.digests import digest
from gateway.settings import GatewaySettings
from servicekit.tls.certificates import Certificates

HITS_PER_SEARCH = 10_000
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

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["RetrieverService"]
        self._channel = LazyChannel(settings.retriever, certificates, service)
        self._settings = settings

    @cached_property
    def _stub(self) -> rpc.RetrieverServiceStub:
        return rpc.RetrieverServiceStub(self._channel.open())

    @cached_property
    def _operations(self) -> operations_pb2_grpc.OperationsStub:
        return operations_pb2_grpc.OperationsStub(self._channel.open())

    async def index(self, pool_uri: str, look: Callable[[int, int], None]) -> PoolIndex:
        """Returns the index of a pool, built if it is not there; `look` gets done and total.

        The id covers the encoder that serves now, so an index of an older one is left alone.
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
        vectors: list[Vectors] = []
        cut, timeout = 0, self._settings.call_seconds
        for first in range(0, len(texts), EMBEDDINGS_PER_CALL):
            request = pb.EmbedTextsRequest(texts=texts[first : first + EMBEDDINGS_PER_CALL])
            answer = await patiently(
                partial(self._stub.EmbedTexts, request, timeout=timeout),
                self._settings.patience_seconds,
                "retriever",
            )
            vectors += vectors_of(answer.embeddings)
            cut += len(answer.cut_texts)
        return np.array(vectors, np.float32), cut

    async def close(self) -> None:
        await self._channel.close()


def vectors_of(embeddings: Iterable[pb.Embedding]) -> list[Vectors]:
    """Returns the vectors [d] of an answer's embeddings."""
    return [np.frombuffer(one.data, "<f4") for one in embeddings]


def _hits(found: pb.HitList) -> list[Hit]:
    return [Hit(hit.image_uri, hit.sha256, hit.similarity, hit.caption) for hit in found.hits]


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
