"""The captioner: one stream of many images."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import grpc
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from gateway.clients.channel import LazyChannel
from gateway.clients.faults import is_lasting, is_passing
from gateway.clients.patience import Patience, patiently
from gateway.settings import GatewaySettings
from servicekit.errors import ServiceError, from_rpc_error, from_status


@dataclass(frozen=True)
class CaptionWish:
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
    """Calls of the captioner."""

    def __init__(self, settings: GatewaySettings) -> None:
        service = pb.DESCRIPTOR.services_by_name["CaptionerService"]
        self._channel = LazyChannel(settings.captioner, service)
        self._settings = settings

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

    async def caption(self, wishes: Mapping[str, CaptionWish]) -> dict[str, Caption | ServiceError]:
        """Captions many images by id. What passes is tried again; what does not is returned."""
        results: dict[str, Caption | ServiceError] = {}
        patience = Patience(self._settings.patience_seconds, "captioner")
        while missing := {key: wish for key, wish in wishes.items() if key not in results}:
            found, trouble = await self._stream(missing)
            if found:
                patience.succeeded()
            results.update(found)
            if trouble is not None:
                await patience.wait_after(trouble)
        return results

    async def _stream(
        self, wishes: Mapping[str, CaptionWish]
    ) -> tuple[dict[str, Caption | ServiceError], ServiceError | None]:
        """Returns what was answered for good, and a passing error if there was one."""

        async def requests() -> AsyncIterator[pb.StreamCaptionsRequest]:
            for key, wish in wishes.items():
                yield pb.StreamCaptionsRequest(item_id=key, request=wish.to_pb())

        found: dict[str, Caption | ServiceError] = {}
        trouble: ServiceError | None = None
        try:
            timeout = self._settings.call_seconds
            async for answer in self._stub.StreamCaptions(requests(), timeout=timeout):
                if answer.HasField("caption"):
                    found[answer.item_id] = Caption(answer.caption.text, answer.caption.model)
                elif is_passing(error := from_status(answer.error)):
                    trouble = error
                elif is_lasting(error):  # Other items would fail alike.
                    raise error
                else:
                    found[answer.item_id] = error
        except grpc.aio.AioRpcError as error:
            trouble = from_rpc_error(error)
        return found, trouble

    async def close(self) -> None:
        await self._channel.close()
