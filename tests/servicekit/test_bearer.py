"""A token travels on this machine, or over TLS."""

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.server import running
from tests.authority import Authority, Mounted
from tests.servicekit.echo import echo
from tests.servicekit.tls.secured import HERE, calling, serving


def address():
    """Returns an address of this machine on a network, "" if it is on none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # Sends nothing: the machine says by which way it would.
        return probe.getsockname()[0]
    return ""


class Heard:
    """Lets everyone in, and keeps the tokens."""

    def __init__(self):
        self.tokens = []

    @asynccontextmanager
    async def admit(self, method, context):
        self.tokens += [v for k, v in context.invocation_metadata() if k == "authorization"]
        yield


async def call(channel):
    request = pb.CaptionImageRequest(image_uri="store:a", prefix="heard")
    return await rpc.CaptionerServiceStub(channel).CaptionImage(request, timeout=20)


async def test_a_token_is_sent_to_another_machine_over_tls_alone(tmp_path):
    place = address()
    if not place or place.startswith("127."):
        pytest.skip("this machine is on no network")
    authority, heard = Authority(), Heard()
    files = Mounted(tmp_path / "server", authority.issue(place), authority.certificate)
    service = replace(echo(), admission=heard.admit)
    async with running(service, f"{place}:0", settings=serving(files)) as server:
        with pytest.raises(ValueError, match=f"travel to {server.target} unencrypted"):
            open_channel(server.target, token=lambda: "secret")
        assert heard.tokens == []
        certificates = calling(files)
        async with open_channel(
            server.target, token=lambda: "secret", certificates=certificates
        ) as channel:
            await call(channel)
    assert heard.tokens == ["Bearer secret"]


async def test_a_token_for_this_machine_goes_to_no_proxy(monkeypatch):
    met = asyncio.Event()

    async def proxy(reader, writer):
        met.set()
        writer.close()

    heard = Heard()
    listener = await asyncio.start_server(proxy, HERE, 0)
    port = listener.sockets[0].getsockname()[1]
    for name in ("http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://{HERE}:{port}")
    async with (
        listener,
        running(replace(echo(), admission=heard.admit)) as server,
        open_channel(server.target, token=lambda: "secret") as channel,
    ):
        await call(channel)
    assert heard.tokens == ["Bearer secret"] and not met.is_set()
