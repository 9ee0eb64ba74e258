"""One machine of several: when it begins again, and when it ends."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from servicekit.errors import Exhausted, Internal, Unavailable
from servicekit.storage import MemoryStore
from trainer.launchers import machines
from trainer.launchers.groups import Group
from trainer.launchers.machines import train_with_others
from trainer.record import RunRecord

STARTED, HERE = {"event": "started"}, {"event": "done", "result": {"accuracy": 1.0}}
# A worker, which has a session of its own, waits for one that does not answer.
WAITS = {"event": "waits"}
ELSEWHERE, LOST = {"event": "done", "result": None}, {"event": "died"}
BROKEN = {"event": "failed", "reason": "INTERNAL", "message": "Connection closed by peer"}
TOO_LARGE = {"event": "failed", "reason": "OUT_OF_MEMORY", "message": "not enough memory"}
# The nth try says the nth line and ends with it, the last line being for all that follow; one that
# has nothing to say goes on until it is ended.
SCRIPT = """
import json, pathlib, subprocess, sys, time
tries = pathlib.Path("{folder}/tries")
tries.open("a").write("x")
lines = json.loads({lines!r})
events = lines[min(len(tries.read_text()), len(lines)) - 1]
for event in events:
    if event["event"] == "died":
        sys.exit(1)
    if event["event"] == "waits":
        code = "import sys; sys.stdin.read()"
        worker = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        pathlib.Path("{folder}/waits").touch()
        worker.wait()
    print(json.dumps(event), flush=True)
if not events or len(events) == 1 and events[0]["event"] == "started":
    time.sleep(60)
"""


@dataclass(frozen=True)
class Scripted(Group):
    """Processes that say what a test wants in place of a training's."""

    folder: Path = Path()
    lines: tuple[list[dict[str, object]], ...] = ()

    def command(self, spec: Path) -> list[str]:
        script = SCRIPT.format(folder=self.folder, lines=json.dumps(self.lines))
        return [sys.executable, "-c", script]


class AwayStore(MemoryStore):
    """Answers that it cannot, once it was told to."""

    is_away = False

    def exists(self, key: str) -> bool:
        if self.is_away:
            raise Unavailable("the store is away", reason="STORE_UNAVAILABLE", retry_after=1.0)
        return super().exists(key)


class Machine:
    """One machine of two, beside a store in which the other can be heard."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, AwayStore()
        self.record = RunRecord(self.store, "trainingRuns/run")

    async def train(self, *lines, index=0):
        group = Scripted(2, index=index, folder=self.folder, lines=lines)
        spec = self.folder / "spec.json"
        return await train_with_others(group, spec, lambda event: None, self.record)

    def keep_result(self) -> None:
        self.store.put("trainingRuns/run/result.json", b"{}")

    @property
    def tries(self) -> int:
        file = self.folder / "tries"
        return len(file.read_text()) if file.exists() else 0

    async def has_tried(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.tries < count:
                await asyncio.sleep(0.01)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(machines, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(machines, "_FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(machines, "_LOOK_SECONDS", 0.02)
    return Machine(tmp_path)


async def test_a_machine_begins_again_until_it_has_the_result(machine):
    """Whoever was to keep it was lost (ELSEWHERE), or did not come (LOST), or went (BROKEN)."""
    lines = [STARTED, ELSEWHERE], [LOST], [STARTED, BROKEN], [STARTED, HERE]
    assert await machine.train(*lines) == HERE["result"]
    assert machine.tries == 4


@pytest.mark.parametrize("doing", [[], [STARTED], [STARTED, WAITS]])
async def test_a_machine_ends_when_the_result_is_kept_whatever_it_does(machine, doing):
    training = asyncio.create_task(machine.train(doing))
    await machine.has_tried(1)
    async with asyncio.timeout(30):
        while WAITS in doing and not (machine.folder / "waits").exists():
            await asyncio.sleep(0.01)
        machine.keep_result()
        assert await training is None


@pytest.mark.parametrize("doing", [[], [STARTED]])
async def test_a_machine_begins_again_with_the_first_however_sound_all_seems(machine, doing):
    training = asyncio.create_task(machine.train(doing, index=1))
    await asyncio.sleep(0.1)
    assert not machine.tries, "nobody has called it yet"
    machine.record.call_to("one")
    await machine.has_tried(1)
    machine.record.call_to("two")
    await machine.has_tried(2)
    machine.keep_result()
    machine.record.clear()
    assert await training is None


async def test_errors_that_come_back_are_told(machine):
    with pytest.raises(Internal, match="Connection closed by peer"):
        await machine.train([STARTED, BROKEN])
    assert machine.tries == machines._MOST_FAILURES


async def test_losses_that_are_far_apart_are_borne_for_ever(machine, monkeypatch):
    monkeypatch.setattr(machines, "_GOOD_SECONDS", -1.0)
    many = 2 * machines._MOST_FAILURES
    assert await machine.train(*[[STARTED, BROKEN]] * many, [STARTED, HERE]) == HERE["result"]


async def test_an_error_that_another_try_would_meet_is_told_at_once(machine):
    with pytest.raises(Exhausted, match="not enough memory"):
        await machine.train([STARTED, TOO_LARGE])
    assert machine.tries == 1


@pytest.mark.parametrize("index", [0, 1])
async def test_machines_that_never_meet_are_told_where_to_look(machine, monkeypatch, index):
    monkeypatch.setattr(machines, "MEETING_SECONDS", 0.2)
    with pytest.raises(Unavailable, match="kubectl get pods") as caught:
        await machine.train([LOST], index=index)
    assert caught.value.reason == "MACHINES_NOT_MET"


async def test_a_store_that_does_not_answer_stops_no_training(machine):
    machine.store.is_away = True
    assert await machine.train([STARTED, HERE]) == HERE["result"]
