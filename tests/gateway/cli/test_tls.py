"""Commands that talk to a gateway with TLS."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from google.longrunning import operations_pb2_grpc

from servicekit.server import start
from tests.authority import Authority, Mounted
from tests.gateway.cli.conftest import serving
from tests.gateway.cli.small_system import Gateway
from tests.servicekit.echo import echo
from tests.servicekit.tls.secured import serving as server_settings


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def secured(authority):
    """A gateway that shows a certificate."""
    issued = authority.issue("127.0.0.1")
    with serving(Gateway(), issued) as found:
        yield found


@pytest.fixture
def ca(tmp_path, authority):
    return Mounted(tmp_path / "files", None, authority.certificate).ca


def test_a_command_talks_tls_once_it_knows_the_authority(variegate, secured, ca, monkeypatch):
    told = variegate("methods", "--gateway", secured.target, "--tls-ca", ca)
    assert told.code == 0, told.err
    monkeypatch.setenv("VARIEGATE_TLS_CA", str(ca))
    assert variegate("methods", "--gateway", secured.target).code == 0


def test_without_it_the_command_says_what_to_give(variegate, secured):
    told = variegate("methods", "--gateway", secured.target)
    assert told.code == 4
    assert "speaks TLS" in told.err and "--tls-ca" in told.err


@contextmanager
def behind(settings):
    """Serves, in a thread, the operations of a service behind the gateway; yields its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    operations = operations_pb2_grpc.OperationsServicer()

    def register(server):
        operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)

    server = wait(start(replace(echo(), register=register), settings=settings))
    try:
        yield server.target
    finally:
        wait(server.stop(0))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def test_a_trainer_that_answers_the_gateway_alone_says_so(variegate, secured, authority, tmp_path):
    files = Mounted(tmp_path / "trainer", authority.issue("127.0.0.1"), authority.certificate)
    own = Mounted(tmp_path / "own", authority.issue("alice"), authority.certificate)
    options = ("--tls-ca", own.ca, "--tls-certificate", own.certificate, "--tls-key", own.key)
    with behind(server_settings(files, asks=True, tls_peers=("gateway",))) as trainer:
        told = variegate(
            "status", "operations/trainer-a", "--gateway", secured.target, "--trainer", trainer,
            *options,
        )  # fmt: skip
    assert told.code == 3
    said = " ".join(told.err.split())
    assert "answers gateway (SERVER_TLS_PEERS)" in said and "is for alice" in said


def test_options_of_tls_need_a_gateway_to_talk_to(variegate, ca):
    told = variegate("methods", "--tls-ca", ca)
    assert told.code == 2
    assert "--tls-ca is for a running system elsewhere" in told.err and "--gateway" in told.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tls-certificate", "own.pem"), "--tls-certificate is set and --tls-ca is not"),
        (("--tls-ca", "ca.pem", "--tls-key", "own.key"), "--tls-key is set and --tls-certificate"),
        (("--tls-ca", "nothing.pem"), "--tls-ca is nothing.pem, which cannot be read"),
    ],
)
def test_files_that_do_not_suffice_are_told_before_anything_is_sent(variegate, options, words):
    told = variegate("methods", "--gateway", "127.0.0.1:1", *options)
    assert told.code == 2
    assert words in " ".join(told.err.split())
