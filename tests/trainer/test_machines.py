"""One machine of several: when it begins again, and when it ends."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from servicekit.errors import Exhausted, Internal, Unavailable
from trainer.launchers import machines
from trainer.launchers.groups import Group
from trainer.launchers.machines import train_with_others

STARTED, HERE = {"event": "started"}, {"event": "done", "result": {"accuracy": 1.0}}
ELSEWHERE, LOST = {"event": "done", "result": None}, {"event": "died"}
BROKEN = {"event": "failed", "reason": "INTERNAL", "message": "Connection closed by peer"}
TOO_LARGE = {"event": "failed", "reason": "OUT_OF_MEMORY", "message": "not enough memory"}
# The nth try says the nth line and ends with it, the last line being for all that follow; one that
# has nothing to say goes on until it is ended.
SCRIPT = """
import json, pathlib, sys, time
tries = pathlib.Path("{folder}/tries")
tries.open("a").write("x")
lines = json.loads({lines!r})
events = lines[min(len(tries.read_text()), len(lines)) - 1]
for event in events:
    if event["event"] == "died":
        sys.exit(1)
    print(json.dumps(event), flush=True)
if not events or len(events) == 1 and events[0]["event"] == "started":
    time.sleep(60)
"""


class Scripted(Group):
    """Processes that say what a test wants in place of a training's."""

    folder: Path
    lines: tuple[list[dict[str, object]], ...]

    def command(self, spec: Path) -> list[str]:
        script = SCRIPT.format(folder=self.folder, lines=json.dumps(self.lines))
        return [sys.executable, "-c", script]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch):
    """Trains with others as the lines say; `kept` is there when the result is in the store."""
    monkeypatch.setattr(machines, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(machines, "_LOOK_SECONDS", 0.02)

    async def train(*lines, looked=lambda: (tmp_path / "kept").exists()):
        group = Scripted(2)
        object.__setattr__(group, "folder", tmp_path)
        object.__setattr__(group, "lines", lines)
        return await train_with_others(group, tmp_path / "spec.json", lambda event: None, looked)

    return train


def tries(folder: Path) -> int:
    return len((folder / "tries").read_text())


async def test_a_machine_begins_again_until_it_has_the_result(machine, tmp_path):
    """Whoever was to keep it was lost (ELSEWHERE), or did not come (LOST), or went (BROKEN)."""
    lines = [STARTED, ELSEWHERE], [LOST], [STARTED, BROKEN], [STARTED, HERE]
    assert await machine(*lines) == HERE["result"]
    assert tries(tmp_path) == 4


@pytest.mark.parametrize("doing", [[], [STARTED]])
async def test_a_machine_ends_when_the_result_is_kept_whatever_it_does(machine, tmp_path, doing):
    training = asyncio.create_task(machine(doing))
    while not (tmp_path / "tries").exists():
        await asyncio.sleep(0.01)
    (tmp_path / "kept").touch()
    assert await training is None


async def test_errors_that_come_back_are_told(machine, tmp_path):
    with pytest.raises(Internal, match="Connection closed by peer"):
        await machine([STARTED, BROKEN])
    assert tries(tmp_path) == machines._MOST_FAILURES


async def test_losses_that_are_far_apart_are_borne_for_ever(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "_GOOD_SECONDS", -1.0)
    many = 2 * machines._MOST_FAILURES
    assert await machine(*[[STARTED, BROKEN]] * many, [STARTED, HERE]) == HERE["result"]


async def test_an_error_that_another_try_would_meet_is_told_at_once(machine, tmp_path):
    with pytest.raises(Exhausted, match="not enough memory"):
        await machine([STARTED, TOO_LARGE])
    assert tries(tmp_path) == 1


async def test_machines_that_never_meet_are_told_where_to_look(machine, monkeypatch):
    monkeypatch.setattr(machines, "MEETING_SECONDS", 0.2)
    with pytest.raises(Unavailable, match="kubectl get pods") as caught:
        await machine([LOST])
    assert caught.value.reason == "MACHINES_NOT_MET"


async def test_a_store_that_does_not_answer_stops_no_training(machine):
    def looked() -> bool:
        raise Unavailable("the store is away", reason="STORE_UNAVAILABLE", retry_after=1.0)

    assert await machine([STARTED, HERE], looked=looked) == HERE["result"]
