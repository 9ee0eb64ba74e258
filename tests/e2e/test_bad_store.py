"""A store that cannot be used is told at the start, by all who use it and the command line: one
sentence with the remedy, an exit code, and no trace."""

import os
import subprocess
import sys

import pytest
from command_line import ROOT
from tests_ports import free_port

from embedded.system import SERVICES
from tests.seaweed import CREDENTIALS, Seaweed
from tests.service_process import ServiceProcess

NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
USERS = [service for service in SERVICES if service != "prompter"]
FORMS = "use file:///FOLDER or s3://BUCKET?endpoint=HOST:PORT"


def starting(service, **environ):
    """Runs a service until it gives up; returns its exit code and what it said, log aside."""
    done = subprocess.run(
        [sys.executable, "-m", service],
        env={**os.environ, "SERVER_HOST": "127.0.0.1", "SERVER_PORT": "0", **environ},
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in said if not line.startswith("{")]


@pytest.mark.parametrize("service", USERS)
def test_a_service_tells_a_bad_store_in_one_sentence(service):
    code, said = starting(service, SERVER_STORE="ftp://photos")
    assert (code, said) == (
        2,
        [f"the {service} cannot start: 'ftp://photos' is not a store; {FORMS}"],
    )


@pytest.mark.parametrize(
    ("environ", "code", "remedy"),
    [
        ({"SERVER_STORE": "file:///proc/no/folder"}, 2, "use another, as file:///FOLDER"),
        ({"SERVER_STORE": "s3://pets?endpoint=http://h"}, 2, "write HOST:PORT"),
        (
            {"SERVER_STORE": "s3://pets?endpoint=h:1", **CREDENTIALS, "AWS_ACCESS_KEY_ID": ""},
            2,
            "AWS_ACCESS_KEY_ID is not set; set both or neither",
        ),
        (
            {"SERVER_STORE": f"s3://pets?endpoint=127.0.0.1:{free_port()}&secure=false"},
            4,
            "check that its server runs, and the endpoint in the store's URL",
        ),
        (
            {"SERVER_PORT": "http"},
            2,
            "SERVER_PORT has the value 'http', which is not a whole number",
        ),
    ],
    ids=["folder", "endpoint", "credentials", "server", "setting"],
)
def test_each_fault_has_its_sentence_and_exit_code(tmp_path, environ, code, remedy):
    answer, said = starting("captioner", **{"SERVER_STORE": f"file://{tmp_path}", **environ})
    assert (answer, len(said)) == (code, 1), said
    assert said[0].startswith("the captioner cannot start: ") and remedy in said[0]


def test_the_prompter_needs_no_store(tmp_path):
    store, target = "s3://away?endpoint=h:1", f"127.0.0.1:{free_port()}"
    prompter = ServiceProcess.start("prompter", target, tmp_path / "log", SERVER_STORE=store)
    try:
        prompter.wait()
    finally:
        assert prompter.end() == 0


def test_variegate_up_tells_a_bad_store(variegate, monkeypatch):
    monkeypatch.setenv("VARIEGATE_STORE", "ftp://photos")
    finished = variegate("up", "--port-base", str(free_port()))
    assert finished.code == 2
    assert f"'ftp://photos' is not a store; {FORMS}" in finished.err
    assert "Traceback" not in finished.err


@pytest.fixture(scope="module")
def weed(tmp_path_factory):
    server = Seaweed(tmp_path_factory.mktemp("weed"))
    server.start()
    yield server
    server.kill()


@pytest.mark.servers
@pytest.mark.parametrize("service", USERS)
def test_a_service_tells_a_missing_bucket_at_its_start(weed, service):
    url = weed.url.replace("s3://variegate", "s3://elsewhere")
    code, [said] = starting(service, SERVER_STORE=url, **CREDENTIALS)
    assert code == 3
    assert "the bucket elsewhere does not exist; create it, or correct its name" in said


@pytest.mark.servers
def test_variegate_up_tells_a_missing_bucket_at_its_start(weed, variegate, monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    url = weed.url.replace("s3://variegate", "s3://elsewhere")
    finished = variegate("up", "--store", url, "--port-base", str(free_port()), timeout=60)
    assert finished.code == 3
    assert "bucket elsewhere does not exist; create it" in finished.err


@pytest.mark.servers
def test_a_service_without_credentials_is_told_which_to_set(weed):
    code, [said] = starting("retriever", SERVER_STORE=weed.url, **NO_CREDENTIALS)
    assert code == 3
    assert "name the user with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said
