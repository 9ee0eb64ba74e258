"""Decisions of a review: on the disk when they are answered, whatever happens to the command."""

import json
import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from gateway.cli.failures import CliError
from gateway.cli.review.log import LOG, read_review, reviewing
from gateway.cli.review.record import record
from tests.gateway.cli.review.visiting import Client, address_in, decisions, serving


def test_a_decision_is_on_the_disk_when_it_is_answered_and_undo_takes_back_the_last(output):
    with serving(output) as page:
        page.decide(1, "rejected")
        assert [*decisions(output).values()] == ["rejected"]
        page.decide(2, "accepted")
        page.decide(1, "accepted")
        status, undone = page.json("api/undo", {})
        assert status == 200 and undone["number"] == 1 and undone["decision"] == "rejected"
    with serving(output) as page:  # Another session undoes what is left.
        assert page.json("api/undo", {})[1]["number"] == 2
        assert page.json("api/undo", {})[1]["number"] == 1
        assert page.json("api/undo", {}) == (200, {})
    assert {*decisions(output).values()} == {"open"}
    assert len((output / LOG).read_text().splitlines()) == 6, "nothing is ever taken out"


def test_what_a_killed_process_half_wrote_was_never_decided(output):
    with serving(output) as page:
        page.decide(1, "rejected")
        page.decide(2, "rejected")
    whole = (output / LOG).read_bytes()
    (output / LOG).write_bytes(whole[:-7])
    assert len(read_review(output).rejected) == 1
    with serving(output) as page:
        page.decide(3, "accepted")
    assert sorted(decisions(output).values()) == ["accepted", "rejected"]
    (output / LOG).write_bytes(b"{}\n" + whole)
    with pytest.raises(CliError, match=r"Line 1 of .* is damaged"):
        read_review(output)


def test_every_decision_that_was_answered_survives_kill_9(output):
    command = [sys.executable, "-m", "gateway.cli.main", "review", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        page = Client(address_in(process.stderr))
        for number in range(1, 9):
            assert page.decide(number, "rejected" if number % 2 else "accepted")[0] == 200
        process.kill()
    assert sorted(decisions(output).values()) == ["accepted"] * 4 + ["rejected"] * 4
    assert record(output), "the next who comes writes them into the manifest"
    column = pq.read_table(output / "manifest.parquet").column("review").to_pylist()
    assert column == ["rejected", "accepted"] * 4


@pytest.mark.parametrize("end", ["page", "signal"])
def test_the_command_ends_from_the_page_and_by_a_signal_and_tells_the_counts(output, end):
    command = [sys.executable, "-m", "gateway.cli.main", "review", str(output), "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        page = Client(address_in(process.stderr))
        page.decide(2, "rejected")
        if end == "page":
            assert page.json("api/finish", {})[0] == 200
        else:
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out) == {"folder": str(output), "open": 7, "accepted": 0, "rejected": 1}
    record(output)  # A signal leaves a second, which may be too little: the next command does it.
    table = pq.read_table(output / "manifest.parquet")
    assert table.column("review").to_pylist() == [None, "rejected", *[None] * 6]


def test_one_output_is_reviewed_once_at_a_time(output, variegate):
    with reviewing(output):
        answer = variegate("review", output)
    assert answer.code == 3 and "is being reviewed" in answer.err


def test_what_is_no_output_is_refused(variegate, photos):
    answer = variegate("review", photos)
    assert answer.code == 3 and "is not an output of `variegate augment`" in answer.err


def test_a_decision_that_cannot_be_written_is_not_taken(output, monkeypatch):
    def full(place):
        raise OSError(28, "No space left on device")

    with serving(output) as page:
        page.decide(1, "accepted")
        monkeypatch.setattr(os, "fsync", full)
        status, answer = page.decide(2, "rejected")
        monkeypatch.undo()
        assert status == 507 and "No space left" in answer["error"]
        assert page.json("api/summary")[1]["counts"]["rejected"] == 0
        assert page.decide(3, "rejected")[0] == 200
    assert sorted(decisions(output).values()) == ["accepted", "rejected"]
