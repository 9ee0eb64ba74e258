"""Real handshakes on loopback; what fails says why."""

import asyncio
from contextlib import suppress

import grpc
import pytest
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.errors import Unavailable
from servicekit.server import running
from tests.authority import DAY, EARLY, EXPIRED
from tests.servicekit.echo import DESCRIPTOR, echo
from tests.servicekit.tls.secured import HERE, any_server, ask, calling, serving


async def refused(fails, target, certificates, **options):
    error = await fails(ask(target, certificates, **options))
    assert isinstance(error, Unavailable)
    assert error.reason == "TLS_FAILED"
    return error.message


@pytest.fixture
def logged(capfd):
    """Returns what gRPC says on the server's side of the handshakes that it refused."""

    def lines():
        said = capfd.readouterr().err.splitlines()
        return next(line for line in said if "Handshake failed with error" in line)

    return lines


async def test_a_server_with_a_certificate_is_called_by_who_knows_its_authority(mounted, authority):
    files = mounted("server", authority.issue(HERE))
    async with running(echo(), settings=serving(files)) as server:
        assert await ask(server.target, calling(files)) == "heard"


async def test_a_client_shows_its_certificate_where_it_is_asked_for(mounted, authority):
    files = mounted("server", authority.issue(HERE))
    own = mounted("client", authority.issue("gateway"))
    async with running(echo(), settings=serving(files, asks=True)) as server:
        assert await ask(server.target, calling(own, shows=True)) == "heard"


async def test_a_service_is_verified_by_its_name_where_its_address_is_called(mounted, authority):
    files = mounted("server", authority.issue("captioner", "captioner.variegate.svc"))
    async with running(echo(), settings=serving(files)) as server:
        own = calling(files)
        assert await ask(f"ipv4:{server.target}", own, server_name="captioner") == "heard"


async def test_an_authority_that_is_not_known_is_named(mounted, authority, stranger, fails):
    own = calling(mounted("client", authority.issue("gateway")))
    async with any_server(stranger.issue(HERE)) as target:
        message = await refused(fails, target, own)
    assert "signed by CN=a stranger, which is not in --tls-ca" in message


@pytest.mark.parametrize(
    ("days", "words"), [(EXPIRED, "expired on 20"), (EARLY, "is not valid before 20")]
)
async def test_a_server_whose_certificate_is_not_valid_now_is_told_apart(
    mounted, authority, fails, days, words
):
    own = calling(mounted("client", authority.issue("gateway")))
    async with any_server(authority.issue(HERE, days=days)) as target:
        message = await refused(fails, target, own)
    assert words in message and target in message


async def test_a_certificate_of_another_name_is_told_with_both_names(mounted, authority, fails):
    files = mounted("server", authority.issue("prompter", "10.0.0.1"))
    async with running(echo(), settings=serving(files)) as server:
        message = await refused(fails, server.target, calling(files))
        assert "is for prompter, 10.0.0.1, and not for 127.0.0.1" in message
        message = await refused(fails, server.target, calling(files), server_name="captioner")
        assert "and not for captioner" in message


async def test_a_client_without_a_certificate_is_told_to_show_one(
    mounted, authority, fails, logged
):
    files = mounted("server", authority.issue(HERE))
    async with running(echo(), settings=serving(files, asks=True)) as server:
        message = await refused(fails, server.target, calling(files))
    assert "a client that showed no certificate" in message
    assert "set --tls-certificate and --tls-key" in message
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in logged()


async def test_a_client_of_another_authority_is_told_so(
    mounted, authority, stranger, fails, logged
):
    files = mounted("server", authority.issue(HERE))
    own = mounted("client", stranger.issue("gateway"))
    async with running(echo(), settings=serving(files, asks=True)) as server:
        message = await refused(fails, server.target, calling(own, shows=True))
    assert f"{own.certificate}), which CN=a stranger signed" in message
    assert "its SERVER_TLS_CA must have that authority" in message
    assert "unable to get local issuer certificate" in logged()


async def test_a_client_whose_certificate_expired_meanwhile_is_told_so(
    mounted, authority, fails, logged
):
    files = mounted("server", authority.issue(HERE))
    issued = authority.issue("gateway", days=EXPIRED)
    own = mounted("client", issued)
    started = calling(own, shows=True, now=lambda: issued.ends - DAY)
    async with running(echo(), settings=serving(files, asks=True)) as server:
        message = await refused(fails, server.target, started)
    assert f"--tls-certificate is {own.certificate}, whose certificate expired on" in message
    assert "certificate has expired" in logged()


async def test_a_server_without_tls_is_told_apart_from_one_that_is_away(
    mounted, authority, fails, server
):
    own = calling(mounted("client", authority.issue("gateway")))
    message = await refused(fails, server.target, own)
    assert "speaks no TLS, and --tls-ca is set" in message
    await server.stop(0)
    error = await fails(ask(server.target, own))
    assert (type(error), error.reason) == (Unavailable, "UNAVAILABLE")


@pytest.mark.parametrize("asks", [False, True])
async def test_a_client_without_tls_is_told_to_speak_it(mounted, authority, fails, asks):
    files = mounted("server", authority.issue(HERE))
    async with running(echo(), settings=serving(files, asks=asks)) as server:
        message = await refused(fails, server.target, None)
    assert "speaks TLS, and was called without" in message and "--tls-ca" in message


@pytest.mark.parametrize(
    "kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream", "written"]
)
async def test_calls_of_every_kind_say_it(mounted, authority, stranger, fails, kind):
    own = calling(mounted("client", authority.issue("gateway")))
    async with (
        any_server(stranger.issue(HERE)) as target,
        open_channel(target, DESCRIPTOR, certificates=own) as channel,
    ):
        if kind == "written":
            call = channel.stream_stream("/any/Call")(timeout=20)
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(b"")
        else:
            request = iter([b""]) if kind.startswith("stream") else b""
            call = getattr(channel, kind)("/any/Call")(request, timeout=20)
        error = await fails(call)
    assert (type(error), error.reason) == (Unavailable, "TLS_FAILED")
    assert "signed by CN=a stranger" in error.message


async def test_streams_that_nothing_is_wrong_with_are_left_alone(mounted, authority):
    files = mounted("server", authority.issue(HERE))
    async with (
        running(echo(), settings=serving(files)) as server,
        open_channel(server.target, DESCRIPTOR, certificates=calling(files)) as channel,
    ):
        asked = pb.CaptionImageRequest(image_uri="store:a")
        call = rpc.CaptionerServiceStub(channel).StreamCaptions(timeout=20)
        for name in "ab":
            await call.write(pb.StreamCaptionsRequest(item_id=name, request=asked))
            assert (await call.read()).item_id == name
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_an_error_of_a_handler_is_no_error_of_tls(mounted, authority, fails):
    files = mounted("server", authority.issue(HERE))
    async with (
        running(echo(), settings=serving(files)) as server,
        open_channel(server.target, DESCRIPTOR, certificates=calling(files)) as channel,
    ):
        stub = rpc.CaptionerServiceStub(channel)
        request = pb.CaptionImageRequest(image_uri="store:missing")
        assert (await fails(stub.CaptionImage(request, timeout=5))).code is (
            grpc.StatusCode.NOT_FOUND
        )
