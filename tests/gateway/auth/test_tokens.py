"""Tokens of a file: known, unknown, expired, changed; and how many calls they allow."""

import asyncio
import os

import grpc
import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.auth import tokens as tokens_module
from gateway.auth.allowance import Allowances
from gateway.auth.opening import open_admission
from gateway.auth.tokens import TokenFile
from gateway.settings import GatewaySettings
from gateway.wiring import create_service
from servicekit.errors import Exhausted, Unauthenticated
from servicekit.settings import SettingsError
from servicekit.storage import MemoryStore
from servicekit.tokens import hash_of, new_token
from tests.gateway.auth.callers import Tokens, open_gateway

_LIST = pb.ListMethodsRequest()


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens")


async def test_calls_without_a_token_that_counts_are_refused_with_the_reason(
    tmp_path, tokens, fails
):
    good = tokens.add("alice", "read")
    old = tokens.add("bob", "read", "expires=2020-02-03")
    async with open_gateway(tmp_path / "state", auth_tokens=str(tokens.path)) as gateway:
        assert (await gateway.caller(good).stub.ListMethods(_LIST, timeout=5)).methods
        cases = {
            new_token(): ("TOKEN_UNKNOWN", "not known"),
            old: ("TOKEN_EXPIRED", "the token of bob expired on 2020-02-03"),
            "eyJhbGciOiJub25lIn0.e30.": ("TOKEN_UNKNOWN", "of this kind do not count"),
            "": ("TOKEN_UNKNOWN", ""),
        }
        for token, (reason, words) in cases.items():
            error = await fails(gateway.caller(token).stub.ListMethods(_LIST, timeout=5))
            assert error.code is grpc.StatusCode.UNAUTHENTICATED
            assert error.reason == reason and words in error.message
        stub = gateway.unknown.stub
        assert (await fails(stub.ListMethods(_LIST, timeout=5))).reason == "NO_TOKEN"
        twice = [("authorization", f"Bearer {good}")] * 2
        error = await fails(stub.ListMethods(_LIST, timeout=5, metadata=twice))
        assert error.reason == "TOKEN_MALFORMED"


async def test_who_is_not_known_learns_nothing_of_a_request(tmp_path, tokens, fails):
    async with open_gateway(tmp_path / "state", auth_tokens=str(tokens.path)) as gateway:
        bad = pb.GetDatasetRequest(name="no name at all")
        error = await fails(gateway.unknown.stub.GetDataset(bad, timeout=5))
        assert error.code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_changed_file_counts_and_a_damaged_one_does_not(tokens, monkeypatch, caplog):
    monkeypatch.setattr(tokens_module, "_LOOK_SECONDS", 0.0)
    first = tokens.add("alice", "read")
    known = TokenFile(tokens.path)
    second = tokens.add("bob", "admin")
    assert (await known.principal(second)).name == "bob"
    tokens.path.write_text("nonsense\n")
    os.utime(tokens.path, (1, 1))
    assert (await known.principal(first)).name == "alice"
    assert "line 1" in caplog.text and "still count" in caplog.text
    tokens.path.unlink()
    assert (await known.principal(first)).name == "alice"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alice read", "fewer than three words"),
        ("alice write sha256:" + "0" * 64, "'write' is no scope; use read, create, admin"),
        ("alice read " + "0" * 64, "the third word is no hash"),
        ("alice read sha256:" + "x" * 64, "non-hexadecimal"),
        ("alice read sha256:" + "0" * 64 + " until=2030", "'until=2030' is neither"),
        ("alice read sha256:" + "0" * 64 + " expires=soon", "Invalid isoformat"),
    ],
)
def test_a_line_that_is_wrong_keeps_the_gateway_from_starting(tmp_path, line, words):
    path = tmp_path / "tokens"
    path.write_text(f"\n{line}\n")
    with pytest.raises(
        SettingsError, match=r"GATEWAY_AUTH_TOKENS: line 2 of .*variegate token"
    ) as e:
        TokenFile(path)
    assert words in str(e.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"auth_tokens": "/nowhere"}, "/nowhere cannot be read"),
        ({"auth_issuer": "https://id"}, "GATEWAY_AUTH_AUDIENCE is not"),
        ({"auth_audience": "variegate"}, "GATEWAY_AUTH_ISSUER is not"),
        ({"auth_keys": "https://id/keys"}, "GATEWAY_AUTH_ISSUER is not"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, settings, words):
    url = f"sqlite:///{tmp_path}/gateway.sqlite"
    with pytest.raises(SettingsError, match=words):
        create_service(GatewaySettings(database_url=url, **settings), MemoryStore())


def test_who_calls_too_often_hears_when_to_try_again():
    now = [0.0]
    allowances = Allowances(2.0, 10, lambda: now[0])
    for _ in range(2):
        with allowances.call("alice"):
            pass
    with pytest.raises(Exhausted, match="alice calls more than 2 times a second") as caught:
        allowances.call("alice").__enter__()
    assert caught.value.retry_after == 0.5
    with allowances.call("bob"):
        pass
    now[0] += 0.5
    with allowances.call("alice"):
        pass


async def test_no_more_calls_than_allowed_are_answered_at_a_time(tmp_path, tokens, fails):
    token = tokens.add("alice", "create")
    settings = {"auth_tokens": str(tokens.path), "auth_calls_in_flight": 1}
    async with open_gateway(tmp_path / "state", tmp_path, **settings) as gateway:
        caller = gateway.caller(token)
        calls = [caller.stub.ListMethods(_LIST, timeout=5) for _ in range(30)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in ended if isinstance(one, grpc.aio.AioRpcError)]
        assert len(refused) < 30
        for one in refused:
            assert one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_token_is_of_256_random_bits_and_only_its_hash_is_kept(tokens):
    token = tokens.add("alice", "read")
    assert len(token) >= 40 and token not in tokens.path.read_text()
    assert hash_of(token) in tokens.path.read_text()
    with pytest.raises(Unauthenticated):
        await TokenFile(tokens.path).principal(hash_of(token))


def test_services_that_anyone_could_call_instead_are_warned_of(tokens, tmp_path, caplog):
    tokens.add("alice", "read")
    away = {"auth_tokens": str(tokens.path), "trainer": "dns:///trainer:50056"}
    open_admission(GatewaySettings(auth_tokens=str(tokens.path)))
    open_admission(GatewaySettings(**away, tls_certificate=str(tmp_path / "tls.crt")))
    assert not caplog.records
    open_admission(GatewaySettings(**away))
    assert "whoever reaches dns:///trainer:50056 needs none" in caplog.text
    assert "SERVER_TLS_PEERS" in caplog.text
