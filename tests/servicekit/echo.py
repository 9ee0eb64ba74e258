"""A small service on a real server, whose proto the captioner lends."""

import asyncio

from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.errors import InvalidArgument, NotFound
from servicekit.server import Service

NAME = "variegate.captioner.v1.CaptionerService"
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["CaptionerService"]


class Echo(rpc.CaptionerServiceServicer):
    """Answers with the prefix; some URIs make it fail."""

    async def CaptionImage(self, request, context):
        if request.image_uri == "store:missing":
            raise NotFound("no such image", resource=request.image_uri)
        if request.image_uri == "store:bug":
            raise RuntimeError("secret detail")
        if request.image_uri.startswith("missing"):
            raise InvalidArgument(f"{request.image_uri!r} is no URI", field="image_uri")
        if request.image_uri == "store:slow":
            await asyncio.sleep(30)
        return pb.CaptionImageResponse(caption=pb.Caption(text=request.prefix))

    async def StreamCaptions(self, requests, context):
        async for request in requests:
            if request.item_id == "bad":
                raise NotFound("no such image", resource="store:bad")
            yield pb.StreamCaptionsResponse(item_id=request.item_id)


def echo(load=lambda: asyncio.sleep(0)):
    return Service(
        name="captioner",
        full_names=(NAME,),
        register=lambda server: rpc.add_CaptionerServiceServicer_to_server(Echo(), server),
        load=load,
        close=lambda: asyncio.sleep(0),
    )
