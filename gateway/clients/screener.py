"""What screens and embeds images: the retriever, or many with its models, which share the work."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
from variegate.retriever.v1 import retriever_pb2 as pb
from variegate.retriever.v1 import retriever_pb2_grpc as rpc

from gateway.clients.patience import Patience
from gateway.clients.replicas import Replicas
from gateway.clients.retriever import EMBEDDINGS_PER_CALL, Vectors, vectors_of
from gateway.clients.verdicts import Candidate, Verdict, to_verdict
from gateway.settings import GatewaySettings
from servicekit.errors import Precondition
from servicekit.tls.certificates import Certificates
from servicekit.together import together

CANDIDATES_PER_CALL = 256


class Screener:
    """Calls of the retrievers that judge and embed images."""

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["RetrieverService"]
        target = settings.screener or settings.retriever
        self._is_apart = target != settings.retriever
        self._name = "screener" if self._is_apart else "retriever"
        self._seconds, self._patience_seconds = settings.call_seconds, settings.patience_seconds
        self.replicas = Replicas(target, service, rpc.RetrieverServiceStub, _one_call, certificates)

    async def check(self, retriever: pb.Models) -> None:
        """Raises Precondition if any screener has other models than the retriever.

        Its vectors and scores are compared with the retriever's. A screener that joins later is
        asked when the next piece of work begins.
        """
        if not self._is_apart:
            return
        answers = await self.replicas.call_each(
            lambda stub: stub.GetModels(pb.GetModelsRequest(), timeout=self._seconds),
            self._patience(),
        )
        for found in answers:
            if found != retriever:
                raise Precondition(
                    f"the retriever has the models {_described(retriever)}, and a screener has "
                    f"{_described(found)}; start all with the same, or leave GATEWAY_SCREENER "
                    "empty",
                    subject="GATEWAY_SCREENER",
                    reason="SCREENER_DIFFERS",
                )

    async def embed_images(self, image_uris: Sequence[str]) -> Vectors:
        """Returns CLIP's unit vectors [n, d] of images, in order."""
        vectors: list[Vectors] = []
        for first in range(0, len(image_uris), EMBEDDINGS_PER_CALL):
            vectors += await self._embed(image_uris[first : first + EMBEDDINGS_PER_CALL])
        return np.array(vectors, np.float32)

    async def _embed(self, image_uris: Sequence[str]) -> list[Vectors]:
        request = pb.EmbedImagesRequest(image_uris=image_uris)
        answer = await self.replicas.call(
            1, lambda stub: stub.EmbedImages(request, timeout=self._seconds), self._patience()
        )
        return vectors_of(answer.embeddings)

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

        All replicas share them, so that no job waits at its end for one of many. Calls go to the
        replica with the fewest of them, and wait while all have enough; `started` is called when
        one is under way.
        """

        def call(part: Sequence[Candidate]) -> Coroutine[Any, Any, pb.ScreenImagesResponse]:
            request = _screening(part, protected_manifest_uri, max_unsafe_score)
            return self.replicas.call(
                1,
                lambda stub: stub.ScreenImages(request, timeout=self._seconds),
                self._patience(),
                job=job,
                started=started,
            )

        size = -(-len(candidates) // self.replicas.ready_count())
        firsts = range(0, len(candidates), size or 1)
        answers = await together(call(candidates[first : first + size]) for first in firsts)
        return [to_verdict(verdict) for answer in answers for verdict in answer.verdicts]

    async def close(self) -> None:
        await self.replicas.close()

    def _patience(self) -> Patience:
        return Patience(self._patience_seconds, self._name)


def _described(models: pb.Models) -> str:
    return f"{models.encoder!r} and {models.safety!r} on {models.engine!r}"


def _screening(
    candidates: Sequence[Candidate], protected_manifest_uri: str, max_unsafe_score: float | None
) -> pb.ScreenImagesRequest:
    request = pb.ScreenImagesRequest(protected_manifest_uri=protected_manifest_uri)
    for candidate in candidates:
        request.candidates.add(image_uri=candidate.image_uri, text=candidate.text)
    if max_unsafe_score is not None:
        request.policy.max_unsafe_score = max_unsafe_score
    return request


async def _one_call(stub: rpc.RetrieverServiceStub) -> int:
    """A retriever screens a call at a time as fast as several: its processors are shared."""
    return 1
