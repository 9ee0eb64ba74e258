"""The parts of the command line that need no server."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import inputs, outputs
from gateway.cli.checks import all_checks
from gateway.cli.execute import settle
from gateway.cli.failures import CliError
from gateway.cli.options import Common
from gateway.cli.progress import LiveView, PlainView, ProgressLine, _bars, clock
from gateway.cli.running import published, running_in
from servicekit.errors import Precondition


@given(st.text(max_size=80), st.text())
def test_ids_always_fit_the_api(name, content):
    assert re.fullmatch("[a-z][a-z0-9_-]{0,63}", inputs.named_digest(name, content))


@given(st.text(), st.text())
def test_ids_differ_with_their_content(one, two):
    same = inputs.named_digest("x", one) == inputs.named_digest("x", two)
    assert same == (one == two)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75.2, "1:15"), (3700, "1:01:40")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_what_is_waited_for_is_said_once_and_so_is_its_end(capsys):
    view = PlainView()
    for waiting in ("", "the generator: the store is full", "the generator: the store is full", ""):
        view.show(ProgressLine("generate", 1, 4, waiting=waiting))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "generate, 1/4", "waiting for the generator: the store is full", "it goes on"
    ]  # fmt: skip


def test_plain_progress_is_a_line_per_stage_and_every_failure_once(capsys):
    view = PlainView()
    for done in range(5):
        failures = (("item1", "it was black"),)
        view.show(ProgressLine("generate", done, 4, 2.0, "images", 1, "mvc, seed 0", failures))
    view.show(ProgressLine("filter", 1, 4))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "failed: item1: it was black",
        "mvc, seed 0: generate, 0/4 images, 2.0 images/s, 0:02 left, 1 failed",
        "filter, 1/4",
    ]


def test_live_progress_survives_text_that_looks_like_markup():
    bars = _bars()
    bars.console.file = io.StringIO()
    with bars:
        view = LiveView(bars)
        view.show(
            ProgressLine("generate", 1, 4, 2.0, "images", 1, "dog [/x]", (("i", "bad [/red]"),))
        )
        view.show(ProgressLine("filter", 0, 0))
    assert "bad [/red]" in bars.console.file.getvalue()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("the store is full", "The store is full."),
        ("store:a/b has no rows", "store:a/b has no rows."),
    ],
)
def test_a_message_becomes_a_sentence_and_a_uri_in_front_stays_one(capsys, message, said):
    def work():
        raise Precondition(message, subject="x")

    with pytest.raises(typer.Exit) as caught:
        settle(Common(), work)
    assert caught.value.exit_code == 3
    assert said in capsys.readouterr().err


def test_a_foreign_folder_is_never_deleted(tmp_path):
    (tmp_path / "holiday.jpg").write_text("mine")
    with pytest.raises(CliError, match="variegate did not make it"):
        outputs.claim(outputs.OutputFolder(tmp_path, "run", {}), resume=False, overwrite=True)
    assert (tmp_path / "holiday.jpg").read_text() == "mine"


def test_checking_an_output_changes_nothing(tmp_path):
    outputs.check(tmp_path / "out", "run", resume=False, overwrite=False)
    assert not (tmp_path / "out").exists()


def test_overwrite_replaces_an_output_of_another_run(tmp_path):
    out = tmp_path / "out"
    outputs.claim(outputs.OutputFolder(out, "one", {}), resume=False, overwrite=False)
    (out / "old.png").write_text("old")
    outputs.claim(outputs.OutputFolder(out, "two", {}), resume=False, overwrite=True)
    assert not (out / "old.png").exists()
    assert json.loads((out / outputs.MARKER).read_text())["run"] == "two"


def test_a_running_system_is_found_while_it_lives_and_forgotten_when_killed(tmp_path):
    code = (
        "import fcntl, os, sys, time, pathlib\n"
        "from gateway.cli.running import published\n"
        "state = pathlib.Path(sys.argv[1])\n"
        "lock = (state / 'lock').open('a+')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "lock.write(str(os.getpid())); lock.flush()\n"
        "with published(state, {'gateway': '127.0.0.1:1'}, is_shared=False):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"up\n"
        found = running_in(tmp_path)
        assert (found.pid, found.targets) == (process.pid, {"gateway": "127.0.0.1:1"})
        assert not found.is_shared and found.command.startswith("variegate ")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert running_in(tmp_path) is None


def test_a_published_system_whose_lock_is_not_held_does_not_run(tmp_path):
    with published(tmp_path, {"gateway": "127.0.0.1:1"}, is_shared=True):
        (tmp_path / "lock").write_text(str(os.getpid()))
        assert running_in(tmp_path) is None


def test_every_failed_check_of_doctor_has_a_remedy(tmp_path):
    checks = list(all_checks(Common(state=tmp_path / "state"), 50050))
    assert {"python", "protobuf code", "disk space"} <= {check.name for check in checks}
    assert all(check.remedy for check in checks if not check.passed)
    assert not (tmp_path / "state").exists()


def test_doctor_tells_that_a_port_is_taken(tmp_path, unused_port):
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", unused_port))
        holder.listen()
        found = {check.name: check for check in all_checks(Common(state=tmp_path), unused_port - 2)}
    assert str(unused_port) in found["ports"].detail


def test_up_names_the_port_that_is_taken(variegate, unused_port):
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", unused_port))
        holder.listen()
        answer = variegate("up", "--port-base", unused_port - 3)
    assert answer.code == 3
    assert f"Port {unused_port} of 127.0.0.1 is in use" in answer.err


def test_ctrl_c_ends_with_130_and_says_that_work_is_kept(gateway, photos, tmp_path):
    gateway.stay_running = True
    command = [sys.executable, "-m", "gateway.cli.main", "import", str(photos)]
    # A background job of a shell has Ctrl-C ignored, and hands that on.
    with subprocess.Popen(
        [*command, "--gateway", gateway.target],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while not gateway.requests:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Interrupted" in err and b"Traceback" not in err


def test_a_full_disk_is_a_sentence_and_not_a_trace(capsys):
    import errno

    import typer

    from gateway.cli.execute import settle
    from gateway.cli.options import Common

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/cat.png")

    with pytest.raises(typer.Exit) as end:
        settle(Common(), full)
    err = capsys.readouterr().err
    assert end.value.exit_code == 1
    assert "No space left on device: /data/cat.png." in err
    assert "run the same command again" in err and "Traceback" not in err


def test_a_run_is_the_same_however_its_folder_is_written(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    ways = [photos.name, f"./{photos.name}", f"{photos}/", photos.as_uri()]
    ids = {inputs.run_id("mvc", {"source": way, "seed": 1}) for way in ways}
    assert len(ids) == 1
    assert len({inputs.dataset_id(way, None) for way in ways}) == 1
    assert inputs.run_id("mvc", {"source": ways[0], "seed": 2}) not in ids


def test_a_folder_of_the_same_command_with_other_models_is_not_gone_on_with(tmp_path):
    place = outputs.OutputFolder(tmp_path / "out", "one", {"CLIP": "a", "captioner": "b"})
    outputs.claim(place, resume=False, overwrite=False)
    outputs.claim(place, resume=True, overwrite=False)
    other = outputs.OutputFolder(tmp_path / "out", "one", {"CLIP": "a", "captioner": "c"})
    with pytest.raises(CliError, match="with other models: another captioner"):
        outputs.claim(other, resume=True, overwrite=False)
    outputs.claim(other, resume=False, overwrite=True)


def test_doctor_checks_what_is_set_and_not_what_is_shipped(tmp_path, monkeypatch):
    for part in ("clip", "captioner", "diffusion/mine"):
        (tmp_path / "models" / part).mkdir(parents=True)
    (tmp_path / "models" / "diffusion" / "mine" / "model_index.json").write_text("{}")
    common = Common(state=tmp_path, models=tmp_path / "models", store="s3://nowhere")
    found = {check.name: check for check in all_checks(common, 50050)}
    for name in ("clip", "captioner", "diffusion/mine"):
        check = found[f"weights {name}"]
        assert not check.passed and str(tmp_path / "models" / name) in check.detail
    assert not found["store"].passed
    assert not any("pix2pix" in name for name in found)
    monkeypatch.setenv("GENERATOR_DEVICE", "cuda:7")
    found = {check.name: check for check in all_checks(Common(state=tmp_path), 50050)}
    assert "cuda:7" in found["device of generator"].detail
    assert found["weights diffusion/pix2pix"].passed
    monkeypatch.setenv("GENERATOR_DEVISE", "cpu")
    found = {check.name: check for check in all_checks(Common(state=tmp_path), 50050)}
    assert "GENERATOR_DEVICE" in found["settings"].detail
