"""Commands that talk to a gateway with TLS."""

import pytest

from tests.authority import Authority, Mounted
from tests.gateway.cli.conftest import serving
from tests.gateway.cli.small_system import Gateway


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
