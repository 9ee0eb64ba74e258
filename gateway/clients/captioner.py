"""The captioner: captions of many images."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from gateway.clients.answers import Answers, ask_for_all
from gateway.clients.channel import LazyChannel
from gateway.clients.patience import Patience, patiently
from gateway.clients.replicas import Replicas
from gateway.settings import GatewaySettings
from servicekit.errors import ServiceError
from servicekit.statuses import from_status
from servicekit.tls.certificates import Certificates
from servicekit.together import together

IMAGES_PER_CALL = 64


@dataclass(frozen=True)
class CaptionRequest:
    """An image to caption; the caption starts with `prefix`."""

    image_uri: str
    prefix: str

    def to_pb(self) -> pb.CaptionImageRequest:
        return pb.CaptionImageRequest(image_uri=self.image_uri, prefix=self.prefix)


@dataclass(frozen=True)
class Caption:
    """A caption and the model that wrote it."""

    text: str
    model: str


class Captioner:
    """Calls of the captioner. Captions are asked for as fast as its replicas write them."""

    def __init__(self, settings: GatewaySettings, certificates: Certificates | None) -> None:
        service = pb.DESCRIPTOR.services_by_name["CaptionerService"]
        self._channel = LazyChannel(settings.captioner, certificates, service)
        self._settings = settings
        self.replicas = Replicas(
            settings.captioner, service, rpc.CaptionerServiceStub, self._capacity, certificates
        )

    @cached_property
    def _stub(self) -> rpc.CaptionerServiceStub:
        return rpc.CaptionerServiceStub(self._channel.open())

    async def model(self) -> str:
        """Returns the model's id, and what of its settings decides over captions."""
        request, timeout = pb.GetModelRequest(), self._settings.call_seconds
        answer = await patiently(
            lambda: self._stub.GetModel(request, timeout=timeout),
            self._settings.patience_seconds,
            "captioner",
        )
        return f"{answer.id} {answer.engine}".strip()

    async def caption(
        self, wanted: Mapping[str, CaptionRequest]
    ) -> dict[str, Caption | ServiceError]:
        """Captions many images by id, in calls of as many as a replica works on at once.

        Each call goes to the replica with the most room; what passes is tried again, there or at
        another; what does not is returned.
        """
        size = await self.replicas.largest_call(IMAGES_PER_CALL, self._patience())
        keys = list(wanted)
        packs = [keys[first : first + size] for first in range(0, len(keys), size)]
        answers = await together(self._call(pack, wanted) for pack in packs)
        return {key: found for answer in answers for key, found in answer.items()}

    async def _call(
        self, keys: Sequence[str], wanted: Mapping[str, CaptionRequest]
    ) -> dict[str, Caption | ServiceError]:
        async def requests(missing: Sequence[str]) -> AsyncIterator[pb.StreamCaptionsRequest]:
            for key in missing:
                yield pb.StreamCaptionsRequest(item_id=key, request=wanted[key].to_pb())

        async def ask(stub: rpc.CaptionerServiceStub, missing: Sequence[str]) -> Answers[Caption]:
            timeout = self._settings.call_seconds
            async for answer in stub.StreamCaptions(requests(missing), timeout=timeout):
                yield answer.item_id, _caption(answer)

        return await ask_for_all(self.replicas, keys, ask, self._patience())

    def _patience(self) -> Patience:
        return Patience(self._settings.patience_seconds, "captioner")

    async def _capacity(self, stub: rpc.CaptionerServiceStub) -> int:
        timeout = self._settings.call_seconds
        answer = await stub.GetModel(pb.GetModelRequest(), timeout=timeout)
        return answer.capacity or IMAGES_PER_CALL

    async def close(self) -> None:
        await self.replicas.close()
        await self._channel.close()


def _caption(answer: pb.StreamCaptionsResponse) -> Caption | ServiceError:
    if answer.HasField("caption"):
        return Caption(answer.caption.text, answer.caption.model)
    return from_status(answer.error)
