"""Certificates that change while servers and channels are in use."""

import asyncio
import logging
import ssl

import grpc
from cryptography import x509
from variegate.captioner.v1 import captioner_pb2 as pb
from variegate.captioner.v1 import captioner_pb2_grpc as rpc

from servicekit.channels import open_channel
from servicekit.server import running
from tests.authority import EXPIRED, Issued
from tests.servicekit.echo import DESCRIPTOR, echo
from tests.servicekit.tls.secured import HERE, ask, calling, serving


async def shown_by(server):
    """The serial number of the certificate that a new connection meets."""
    text = await asyncio.to_thread(ssl.get_server_certificate, (HERE, server.port))
    return x509.load_pem_x509_certificate(text.encode()).serial_number


class Talk:
    """A stream of captions that is asked for one by one."""

    def __init__(self, stub):
        self._questions: asyncio.Queue[str] = asyncio.Queue()
        self._call = stub.StreamCaptions(self._requests(), timeout=60)

    async def _requests(self):
        while item := await self._questions.get():
            request = pb.CaptionImageRequest(image_uri="store:a")
            yield pb.StreamCaptionsRequest(item_id=item, request=request)

    async def ask(self, item):
        self._questions.put_nowait(item)
        return (await self._call.read()).item_id

    async def code(self):
        return await asyncio.wait_for(self._call.code(), 5)

    async def end(self):
        self._questions.put_nowait("")
        assert await self._call.read() is grpc.aio.EOF


async def test_a_server_shows_new_certificates_and_calls_in_flight_go_on(mounted, authority):
    old, new = authority.issue(HERE), authority.issue(HERE)
    files = mounted("server", old)
    async with (
        running(echo(), settings=serving(files)) as server,
        open_channel(server.target, DESCRIPTOR, certificates=calling(files)) as channel,
    ):
        talk = Talk(rpc.CaptionerServiceStub(channel))
        assert await talk.ask("one") == "one"
        assert await shown_by(server) == old.serial
        files.put(new, authority.certificate)
        assert await shown_by(server) == new.serial
        assert await talk.ask("two") == "two"
        await talk.end()


async def test_what_does_not_hold_together_is_not_taken_and_said(mounted, authority, caplog):
    old, new = authority.issue(HERE), authority.issue(HERE)
    expired = authority.issue(HERE, days=EXPIRED)
    files = mounted("server", old)
    async with running(echo(), settings=serving(files)) as server:
        half = Issued(new.certificate, old.key)
        for bad, words in ((half, "key of another certificate"), (expired, "expired")):
            files.put(bad, authority.certificate)
            with caplog.at_level(logging.WARNING):
                assert await shown_by(server) == old.serial
            assert await ask(server.target, calling(files)) == "heard"
            assert len(caplog.records) == 1, "it is said once"
            assert words in caplog.text and "stay in use" in caplog.text
            caplog.clear()
        files.put(new, authority.certificate)
        assert await shown_by(server) == new.serial


async def test_both_sides_move_to_another_authority_and_calls_in_flight_go_on(
    mounted, authority, stranger
):
    """As when the authority itself is replaced: each side first believes both."""
    both = authority.certificate + stranger.certificate
    theirs = mounted("server", authority.issue(HERE))
    ours = mounted("client", authority.issue("gateway"))
    async with (
        running(echo(), settings=serving(theirs, asks=True)) as server,
        open_channel(server.target, DESCRIPTOR, certificates=calling(ours, shows=True)) as channel,
    ):
        stub = rpc.CaptionerServiceStub(channel)
        request = pb.CaptionImageRequest(image_uri="store:a", prefix="heard")
        talks = []
        for issuer, ca in ((authority, both), (stranger, both), (stranger, stranger.certificate)):
            talks.append(Talk(stub))
            assert await talks[-1].ask("begun") == "begun"
            theirs.put(issuer.issue(HERE), ca)
            ours.put(issuer.issue("gateway"), ca)
            assert (await stub.CaptionImage(request, timeout=20)).caption.text == "heard"
        for talk in talks:
            assert await talk.ask("later") == "later"
            await talk.end()
        # Nobody is believed any longer who shows what the first authority signed.
        old = mounted("old", authority.issue("gateway"), stranger.certificate)
        with_old = ask(server.target, calling(old, shows=True))
        assert (await asyncio.gather(with_old, return_exceptions=True))[0].code() is (
            grpc.StatusCode.UNAVAILABLE
        )


async def test_who_waits_for_a_channel_hears_of_new_certificates(mounted, authority):
    files = mounted("client", authority.issue("gateway"))
    own = calling(files)
    async with open_channel("127.0.0.1:1", certificates=own, server_name="nobody") as channel:
        state = channel.get_state()
        assert state is grpc.ChannelConnectivity.IDLE
        waiting = asyncio.create_task(channel.wait_for_state_change(state))
        await asyncio.sleep(0)
        files.put(authority.issue("gateway"), authority.certificate)
        channel.get_state()
        await asyncio.wait_for(waiting, 5)


async def test_closing_a_channel_ends_calls_of_earlier_certificates(mounted, authority):
    files = mounted("server", authority.issue(HERE))
    async with running(echo(), settings=serving(files)) as server:
        channel = open_channel(server.target, DESCRIPTOR, certificates=calling(files))
        talk = Talk(rpc.CaptionerServiceStub(channel))
        assert await talk.ask("one") == "one"
        files.put(authority.issue(HERE), authority.certificate)
        await channel.channel_ready()
        assert await talk.ask("two") == "two"
        await channel.close()
        assert await talk.code() is grpc.StatusCode.CANCELLED
