"""Three processes share durable work on one PostgreSQL, and are killed at random."""

import random
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from tests.gateway.member import STEPS

pytestmark = [pytest.mark.servers, pytest.mark.heavy]
MEMBERS, KILLS, SECONDS = 3, 3, 120
SUBJECTS = [f"work{number}" for number in range(5)]


def lines(folder, ending):
    """Returns the lines of the files of one kind, by subject."""
    return {file.stem: file.read_text().split() for file in folder.glob(f"*.{ending}")}


def count(folder, ending):
    return sum(map(len, lines(folder, ending).values()))


def is_done(folder):
    return len(lines(folder, "done")) == len(SUBJECTS)


def until(holds):
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "it does not go on"
        time.sleep(0.05)


def is_recorded(database_url):
    with psycopg.connect(database_url) as database:
        return not database.execute("SELECT 1 FROM dbos.workflow_status").fetchall()


def test_each_piece_of_work_ends_once_whoever_is_killed(database_url, tmp_path):
    folder, chance = tmp_path, random.Random(time.time_ns())
    members = []

    def begin():
        command = [
            sys.executable,
            "-m",
            "tests.gateway.member",
            database_url,
            str(folder),
            *SUBJECTS,
        ]
        members.append(subprocess.Popen(command))

    def kill():
        member = members.pop(chance.randrange(len(members)))
        member.send_signal(signal.SIGKILL)
        member.wait()

    for _ in range(MEMBERS):
        begin()
    try:
        for _ in range(KILLS):
            # In the middle, wherever that is; and at the end, if it comes to that first.
            more = count(folder, "steps") + chance.randrange(1, 5)
            until(lambda more=more: count(folder, "steps") >= more or is_done(folder))
            kill()
            begin()
        until(lambda: is_done(folder))
        until(lambda: is_recorded(database_url))
    finally:
        while members:
            kill()
    assert not lines(folder, "twice"), "two at once on one piece of work"
    total = sum(number**2 for number in range(STEPS))
    assert lines(folder, "done") == {subject: [str(total)] for subject in SUBJECTS}
    for made in lines(folder, "steps").values():
        assert set(made) == {str(number) for number in range(STEPS)}
        assert len(made) <= STEPS + KILLS, "only a step that was cut off is made again"
