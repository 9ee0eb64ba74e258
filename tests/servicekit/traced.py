"""A service as a process that hands each call on to another: python -m tests.servicekit.traced."""

import asyncio
from dataclasses import dataclass

import grpc
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.errors import Internal
from servicekit.server import Service, run
from servicekit.settings import setting
from servicekit.statuses import from_rpc_error
from tests.servicekit.echo import DESCRIPTOR, NAME


@dataclass(frozen=True)
class Settings:
    next: str = setting("", "Where calls go on to; answered here if empty.")


class Chain(rpc.CaptionerServiceServicer):
    def __init__(self, target):
        self._target = target

    async def CaptionImage(self, request, context):
        if not self._target:
            if request.image_uri == "store:bug":
                raise Internal("broken")
            return pb.CaptionImageResponse()
        async with open_channel(self._target, DESCRIPTOR) as channel:
            try:
                return await rpc.CaptionerServiceStub(channel).CaptionImage(request, timeout=10)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

    async def StreamCaptions(self, requests, context):
        async with open_channel(self._target, DESCRIPTOR) as channel:
            async for answer in rpc.CaptionerServiceStub(channel).StreamCaptions(requests):
                yield answer


class Last(Chain):
    async def StreamCaptions(self, requests, context):
        async for request in requests:
            yield pb.StreamCaptionsResponse(item_id=request.item_id)


def create(settings, store):
    servicer = Chain(settings.next) if settings.next else Last("")
    return Service(
        name="captioner",
        full_names=(NAME,),
        register=lambda server: rpc.add_CaptionerServiceServicer_to_server(servicer, server),
        load=lambda: asyncio.sleep(0),
        close=lambda: asyncio.sleep(0),
    )


if __name__ == "__main__":
    run(create, Settings, "captioner")
