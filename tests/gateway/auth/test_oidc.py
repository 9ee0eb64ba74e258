"""JWTs of an issuer: signature, issuer, audience, times, scopes, and keys that change."""

import json
import time

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.auth.keys import Keys, KeySource
from gateway.auth.oidc import Issuer, OidcTokens
from gateway.auth.principals import Principal, Scope
from servicekit.errors import PermissionDenied, Unauthenticated, Unavailable
from tests.gateway.auth.callers import open_gateway
from tests.gateway.auth.issuer import running_issuer


@pytest.fixture
def issuer():
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def tokens(issuer, clock):
    source = KeySource(issuer.url, stale_seconds=3600.0)
    return OidcTokens(Issuer(issuer.url, "variegate"), Keys(source, lambda: clock[0]))


async def test_a_good_token_says_who_calls_and_what_they_may(issuer, tokens):
    assert await tokens.principal(issuer.token()) == Principal("alice", "alice", Scope.CREATE)
    both = issuer.token(scope=["variegate.read", "variegate.admin"])
    assert (await tokens.principal(both)).scope is Scope.ADMIN


async def test_what_is_made_belongs_to_the_claim_that_the_settings_name(issuer, clock):
    settings = Issuer(issuer.url, "variegate", owner_claim="team")
    tokens = OidcTokens(settings, Keys(KeySource(issuer.url)))
    assert (await tokens.principal(issuer.token(team="vision"))).owner == "vision"
    with pytest.raises(PermissionDenied, match="no text in the claim 'team'"):
        await tokens.principal(issuer.token())


def _cases(issuer):
    now = int(time.time())
    other = ec.generate_private_key(ec.SECP256R1())
    good = issuer.token()
    head, body, signature = good.split(".")
    return {
        "TOKEN_EXPIRED": issuer.token(exp=now - 61),
        "TOKEN_NOT_YET_VALID": issuer.token(nbf=now + 120),
        "TOKEN_OF_ANOTHER_ISSUER": issuer.token(iss="https://other"),
        "TOKEN_FOR_ANOTHER_AUDIENCE": issuer.token(aud="mail"),
        "TOKEN_INCOMPLETE": issuer.token(exp=None),
        "TOKEN_FORGED": issuer.token(key=other),
        "KEY_UNKNOWN": issuer.token(headers={"kid": "k9"}),
        "TOKEN_MALFORMED": "not.a.jwt",
    }, {
        "changed body": f"{head}.{body[:-4]}AAAA.{signature}",
        "no signature": jwt.encode({"sub": "root"}, None, algorithm="none"),
        "a shared secret": jwt.encode({"sub": "root"}, "x" * 32, headers={"kid": "k1"}),
        "one part": "eyJ",
    }


async def test_a_token_that_does_not_count_is_refused_with_what_is_wrong(issuer, tokens):
    named, others = _cases(issuer)
    for reason, token in named.items():
        with pytest.raises(Unauthenticated) as caught:
            await tokens.principal(token)
        assert caught.value.reason == reason
    for name, token in others.items():
        with pytest.raises(Unauthenticated):
            await tokens.principal(token)
            raise AssertionError(name)


async def test_clocks_may_differ_by_a_minute(issuer, tokens):
    now = int(time.time())
    for times in ({"exp": now - 30, "nbf": now - 300}, {"nbf": now + 30, "iat": now + 30}):
        assert (await tokens.principal(issuer.token(**times))).name == "alice"


async def test_a_token_without_a_scope_of_ours_may_do_nothing(issuer, tokens):
    for scope in ("openid read", ["admin", 7, None, {}], None, 7):
        with pytest.raises(PermissionDenied, match=r"variegate\.read"):
            await tokens.principal(issuer.token(scope=scope))


async def test_a_new_key_is_fetched_when_it_is_needed_and_an_old_one_counts_no_more(
    issuer, tokens, clock
):
    old = issuer.token()
    await tokens.principal(old)
    issuer.rotate("k2")
    clock[0] += 11
    await tokens.principal(issuer.token())
    with pytest.raises(Unauthenticated, match="k1"):
        await tokens.principal(old)


async def test_unknown_keys_do_not_make_the_gateway_ask_again_and_again(issuer, tokens):
    await tokens.principal(issuer.token())
    asked = issuer.asked
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await tokens.principal(issuer.token(headers={"kid": f"x{number}"}))
    assert issuer.asked == asked


async def test_the_last_good_keys_count_for_their_time_while_the_issuer_is_down(
    issuer, tokens, clock
):
    token = issuer.token(exp=int(time.time()) + 10_000)
    await tokens.principal(token)
    issuer.is_down = True
    clock[0] += 3500
    await tokens.principal(token)
    clock[0] += 200
    with pytest.raises(Unavailable, match="cannot be fetched") as caught:
        await tokens.principal(token)
    assert caught.value.retry_after > 0
    issuer.is_down = False
    clock[0] += 11
    await tokens.principal(token)


async def test_keys_are_not_read_from_a_file_whatever_the_issuer_says(
    issuer, tokens, tmp_path, caplog
):
    file = tmp_path / "keys"
    file.write_text(json.dumps(issuer.document("/keys")))
    issuer.keys_url = file.as_uri()
    with pytest.raises(Unavailable, match="cannot be fetched"):
        await tokens.principal(issuer.token())
    assert f"names '{file.as_uri()}' for its keys" in caplog.text


async def test_a_gateway_takes_the_tokens_of_its_issuer(tmp_path, issuer, fails):
    settings = {"auth_issuer": issuer.url, "auth_audience": "variegate"}
    async with open_gateway(tmp_path / "state", **settings) as gateway:
        stub = gateway.caller(issuer.token()).stub
        assert (await stub.ListMethods(pb.ListMethodsRequest(), timeout=5)).methods
        bad = gateway.caller(issuer.token(aud="mail")).stub
        error = await fails(bad.ListMethods(pb.ListMethodsRequest(), timeout=5))
        assert error.code is grpc.StatusCode.UNAUTHENTICATED
        assert "for another audience than variegate" in error.message
