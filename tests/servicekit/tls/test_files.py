"""Files that cannot be used are told at the start, by setting, file and reason."""

import logging

import pytest

from servicekit.server import running
from servicekit.server_settings import ServerSettings
from servicekit.settings import SettingsError
from servicekit.tls.files import client_files
from tests.authority import CLIENTS_ALONE, DAY, EARLY, EXPIRED, SERVERS_ALONE, Authority, Issued
from tests.servicekit.echo import echo
from tests.servicekit.tls.secured import HERE, calling, serving


def own_chain_another_key(authority):
    return Issued(authority.issue(HERE).certificate, authority.issue(HERE).key)


FAULTS = {
    "expired": (lambda a: a.issue(HERE, days=EXPIRED), "CERTIFICATE", "expired on 20"),
    "not yet valid": (lambda a: a.issue(HERE, days=EARLY), "CERTIFICATE", "clock right"),
    "of clients": (lambda a: a.issue(HERE, use=CLIENTS_ALONE), "CERTIFICATE", "serverAuth"),
    "of another key": (own_chain_another_key, "KEY", "key of another certificate"),
    "encrypted": (lambda a: a.issue(HERE, passphrase=b"x"), "KEY", "with a passphrase"),
    "no certificate": (lambda a: Issued(b"hello", b""), "CERTIFICATE", "no certificate in PEM"),
    "no key": (
        lambda a: Issued(a.issue(HERE).certificate, b"hello"), "KEY", "no private key in PEM",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(mounted, authority, fault):
    make, part, words = FAULTS[fault]
    files = mounted("server", make(authority))
    with pytest.raises(SettingsError) as caught:
        serving(files).certificates()
    path = files.certificate if part == "CERTIFICATE" else files.key
    assert f"SERVER_TLS_{part} is {path}" in str(caught.value)
    assert words in str(caught.value)


async def test_a_server_does_not_start_with_it(mounted, authority):
    files = mounted("server", authority.issue(HERE, days=EXPIRED))
    with pytest.raises(SettingsError, match="expired"):
        async with running(echo(), settings=serving(files)):
            pass


def test_a_file_that_is_not_there_is_named(mounted, authority):
    files = mounted("server", authority.issue(HERE))
    files.key.unlink()
    with pytest.raises(SettingsError, match=r"tls\.key, which cannot be read: No such file"):
        serving(files).certificates()


def test_a_certificate_and_its_key_are_set_together():
    for settings in (ServerSettings(tls_certificate="a"), ServerSettings(tls_key="a")):
        with pytest.raises(SettingsError, match=r"SERVER_TLS_.* is set and SERVER_TLS_.* is not"):
            settings.certificates()
    with pytest.raises(SettingsError, match="a server needs its own as well"):
        ServerSettings(tls_ca="a").certificates()
    with pytest.raises(SettingsError, match="GATEWAY_TLS_CERTIFICATE is set and GATEWAY_TLS_CA"):
        client_files("a", "b", "", "GATEWAY_TLS_")


def test_authorities_that_cannot_be_used_are_refused(mounted, authority):
    for ca, words in ((b"", "no certificate"), (Authority(days=EXPIRED).certificate, "expired")):
        files = mounted(words, authority.issue(HERE), ca)
        with pytest.raises(SettingsError, match=f"--tls-ca is .*{words}"):
            calling(files)


def test_a_client_needs_a_certificate_for_clients(mounted, authority):
    files = mounted("client", authority.issue("gateway", use=SERVERS_ALONE))
    with pytest.raises(SettingsError, match=r"--tls-certificate is .*clientAuth"):
        calling(files, shows=True)


@pytest.mark.parametrize(
    ("left", "words"), [(8 * DAY, ""), (2 * DAY, "expires soon"), (-DAY, "has expired")]
)
def test_a_certificate_that_ends_soon_is_warned_of(mounted, authority, caplog, left, words):
    issued = authority.issue("gateway", days=(-60, 30))
    times = [issued.ends - 9 * DAY, issued.ends - left]  # Loaded, then looked at.
    found = calling(mounted("client", issued), shows=True, now=lambda: times.pop(0))
    with caplog.at_level(logging.WARNING):
        found.warn()
    assert [words in record.getMessage() for record in caplog.records] == [True] * bool(words)


async def test_when_a_certificate_ends_is_a_metric(mounted, authority):
    issued = authority.issue(HERE)
    files = mounted("server", issued)
    async with running(echo(), settings=serving(files)) as server:
        name = "variegate_captioner_certificate_expiry_timestamp_seconds"
        found = server.metrics.registry.get_sample_value(name, {"use": "server"})
    assert found == issued.ends.timestamp()
