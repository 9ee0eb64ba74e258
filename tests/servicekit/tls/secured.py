"""Servers and clients with certificates."""

from contextlib import asynccontextmanager

import grpc
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.server_settings import ServerSettings
from servicekit.tls.certificates import Certificates
from servicekit.tls.files import client_files
from tests.servicekit.echo import Echo

HERE = "127.0.0.1"


def serving(files, *, asks=False, **others):
    """The settings of a server with these files; it `asks` clients for theirs."""
    paths = {"tls_certificate": str(files.certificate), "tls_key": str(files.key)}
    return ServerSettings(**paths, tls_ca=str(files.ca) if asks else "", **others)


def calling(files, *, shows=False, **others):
    """What a client believes, and `shows`."""
    own = (str(files.certificate), str(files.key)) if shows else ("", "")
    return Certificates(client_files(*own, str(files.ca), "--tls-"), "client", **others)


async def ask(target, certificates, **options):
    """Makes one call over a channel of its own."""
    async with open_channel(target, certificates=certificates, **options) as channel:
        stub = rpc.CaptionerServiceStub(channel)
        request = pb.CaptionImageRequest(image_uri="store:a", prefix="heard")
        return (await stub.CaptionImage(request, timeout=20)).caption.text


@asynccontextmanager
async def any_server(issued):
    """A server that shows whatever certificate it is given, also one that ours would refuse."""
    server = grpc.aio.server()
    rpc.add_CaptionerServiceServicer_to_server(Echo(), server)
    credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)])
    port = server.add_secure_port(f"{HERE}:0", credentials)
    await server.start()
    try:
        yield f"{HERE}:{port}"
    finally:
        await server.stop(0)
