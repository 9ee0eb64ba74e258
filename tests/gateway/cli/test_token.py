"""`variegate token`, and the tokens that commands send."""

import asyncio

import pytest

from gateway.auth.tokens import TokenFile
from gateway.cli.failures import CliError
from gateway.cli.token_source import token_source
from tests.command_line import CommandLine
from tests.gateway.auth.callers import open_gateway


async def test_the_line_that_is_printed_lets_the_holder_of_the_token_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variegate = CommandLine(tmp_path)
    make = ("token", "alice", "--scope", "read", "--owner", "team", "--expires", "2999-12-31")
    made = (await asyncio.to_thread(variegate, *make, "--json")).json()
    (tmp_path / "tokens").write_text(f"{made['line']}\n")
    principal = await TokenFile(tmp_path / "tokens").principal(made["token"])
    assert (principal.name, principal.owner, principal.scope.name) == ("alice", "team", "READ")
    settings = {"auth_tokens": str(tmp_path / "tokens")}
    async with open_gateway(tmp_path / "state", **settings) as gateway:
        command = ("status", "--gateway", gateway.target)
        refused = await asyncio.to_thread(variegate, *command)
        assert refused.code == 3
        assert "VARIEGATE_TOKEN" in refused.err and "The call has no token" in refused.err
        monkeypatch.setenv("VARIEGATE_TOKEN", made["token"])
        assert (await asyncio.to_thread(variegate, *command)).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alice", "--scope", "write"], "There is no scope 'write'."),
        (["alice smith"], "has a space or a #"),
        (["alice", "--owner", "a#b"], "has a space or a #"),
        (["alice", "--expires", "soon"], "--expires soon is no date."),
        (["alice", "--expires", "2020-01-01"], "is over"),
    ],
)
def test_a_token_that_could_not_count_is_not_made(variegate, arguments, words):
    answer = variegate("token", *arguments)
    assert answer.code == 2 and words in answer.err and not answer.out


def test_a_token_in_a_file_may_be_renewed_while_a_command_waits(tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    token = token_source({"VARIEGATE_TOKEN_FILE": str(file)}, "127.0.0.1:1")
    assert token() == "first"
    file.write_text("second\n")
    assert token() == "second"
    assert token_source({}, "127.0.0.1:1") is None


@pytest.mark.parametrize(
    "gateway", ["127.0.0.2:1", "localhost:1", "[::1]:1", "ipv4:127.0.0.1:1", "dns:///localhost:1"]
)
def test_a_token_may_travel_on_this_machine_unencrypted(gateway):
    assert token_source({"VARIEGATE_TOKEN": "a"}, gateway)() == "a"


@pytest.mark.parametrize(
    ("environ", "gateway", "words"),
    [
        ({"VARIEGATE_TOKEN": "a", "VARIEGATE_TOKEN_FILE": "b"}, "localhost:1", "are both set"),
        ({"VARIEGATE_TOKEN_FILE": "/nowhere"}, "localhost:1", "/nowhere cannot be read"),
        *(
            ({"VARIEGATE_TOKEN": "a"}, target, "unencrypted")
            for target in (
                "gateway.example.com:443",
                "10.0.0.1:1",
                "127.example.com:1",
                "ipv4:10.0.0.1:1",
                "localhost.example.com:1",
                "dns://10.0.0.1/localhost:1",
                "[2001:db8::1]:1",
                "ipv4:127.0.0.1:1,10.0.0.1:1",
            )
        ),
    ],
)
def test_a_token_that_cannot_be_sent_safely_is_refused(environ, gateway, words):
    with pytest.raises(CliError, match=words):
        token_source(environ, gateway)
