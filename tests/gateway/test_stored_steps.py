"""What is written of durable work: JSON only, and nothing of another version is gone on with."""

import asyncio
import base64
import os
import pickle
import sqlite3
from contextlib import asynccontextmanager

import pytest

from gateway.durable.durable import Durable
from gateway.durable.serializer import JsonSerializer, RecordedError
from gateway.durable.steps import AtMost, step, steps
from servicekit.errors import Unavailable


class Bomb:
    """A pickle that makes a file where it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pickled(value):
    return base64.b64encode(pickle.dumps(value)).decode()


async def until_ended(durable, subject):
    async with asyncio.timeout(20):
        while (state := await durable.state(subject)) and state.status == "running":
            await asyncio.sleep(0.02)
    return state


class Work:
    """A handler of three steps, of which the last may wait for ever or fail."""

    def __init__(self):
        self.made, self.results = [], []
        self.last = lambda: None

    async def __call__(self, subject):
        async def make(name, result):
            self.made.append(name)
            return result

        one = await step("one", lambda: make("one", {"text": "é", "number": 0.1, "none": None}))
        many = await steps(
            "many",
            [lambda n=n: make(f"many {n}", [n]) for n in range(5)],
            begin=AtMost(lambda: 2).begin,
        )

        async def last():
            if waiting := self.last():
                await waiting
            return True

        await step("last", last)
        self.results.append((one, many))


@pytest.fixture
def place(tmp_path):
    return tmp_path / "gateway.sqlite"


@asynccontextmanager
async def running(place, work):
    durable = Durable(f"sqlite:///{place}", "one", work)
    await durable.launch()
    try:
        yield durable
    finally:
        await durable.close()


async def interrupted(place):
    """Leaves work behind whose last step was interrupted."""
    work, reached = Work(), asyncio.Event()

    def wait():
        reached.set()
        return asyncio.sleep(60)

    work.last = wait
    async with running(place, work) as durable:
        await durable.start("datasets/a")
        await asyncio.wait_for(reached.wait(), 20)


def change(place, statement, *values):
    with sqlite3.connect(place) as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


async def test_steps_are_answered_from_json_after_a_restart(place):
    await interrupted(place)
    with sqlite3.connect(place) as connection:
        kinds = connection.execute("SELECT DISTINCT serialization FROM operation_outputs")
        assert kinds.fetchall() == [("variegate_json",)]
    work = Work()
    async with running(place, work) as durable:
        await until_ended(durable, "datasets/a")
    assert work.made == [], "everything before the last step is answered from the record"
    assert work.results == [
        ({"text": "é", "number": 0.1, "none": None}, [[n] for n in range(5)]),
    ]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("operation_outputs", "output"),
        ("operation_outputs", "error"),
        ("workflow_status", "inputs"),
    ],
)
async def test_a_pickle_in_the_database_is_never_loaded(place, tmp_path, table, column):
    await interrupted(place)
    bomb = pickled(Bomb(tmp_path / "exploded"))
    change(place, f"UPDATE {table} SET {column} = ?, serialization = 'py_pickle'", bomb)
    work = Work()
    async with running(place, work) as durable:
        state = await until_ended(durable, "datasets/a")
        assert state.status == "failed"
        await durable.start("datasets/a")
        assert await until_ended(durable, "datasets/a") is None or work.results
    assert work.made[0] == "one" and work.results, "the same request starts it anew"
    assert not (tmp_path / "exploded").exists()


async def test_pickles_of_older_versions_are_thrown_away_and_their_work_starts_anew(
    place, tmp_path
):
    await interrupted(place)
    bomb = pickled(Bomb(tmp_path / "exploded"))
    change(
        place,
        "UPDATE workflow_status SET inputs = ?, serialization = 'py_pickle', "
        "application_version = 'old'",
        bomb,
    )
    change(place, "UPDATE operation_outputs SET output = ?, serialization = 'py_pickle'", bomb)
    work = Work()
    async with running(place, work) as durable:
        assert await until_ended(durable, "datasets/a") is None or work.results
    assert work.made[0] == "one" and work.results
    assert not (tmp_path / "exploded").exists()


async def test_a_failure_is_no_result_and_the_step_is_tried_again(place):
    work = Work()
    failures = [Unavailable("away", reason="AWAY")]

    def fail_once():
        if failures:
            raise failures.pop()

    work.last = fail_once
    async with running(place, work) as durable:
        await durable.start("datasets/a")
        state = await until_ended(durable, "datasets/a")
        assert state.error.reason == "AWAY"
        with sqlite3.connect(place) as connection:
            names = connection.execute("SELECT DISTINCT function_name FROM operation_outputs")
            assert ("last",) not in names.fetchall()
        await durable.start("datasets/a")
        await until_ended(durable, "datasets/a")
    assert len(work.results) == 1


def test_what_json_would_change_silently_is_refused():
    serializer = JsonSerializer()
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": "\x1b ü"}}
    assert serializer.deserialize(serializer.serialize(value)) == value
    for wrong in ({1: "a"}, {"a": {None: 1}}, {"a": b"bytes"}, [object()]):
        with pytest.raises(TypeError):
            serializer.serialize(wrong)
    error = serializer.deserialize(serializer.serialize(ValueError("bad")))
    assert isinstance(error, RecordedError) and str(error) == "ValueError: bad"


async def test_one_failed_step_ends_the_others_before_the_work_ends(place):
    ended, at_the_end = [], []

    async def sleeper():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("sleeper")

    async def fails():
        await asyncio.sleep(0.05)
        raise Unavailable("away")

    async def work(subject):
        try:
            await steps("some", [sleeper, fails, sleeper], begin=AtMost(lambda: 3).begin)
        finally:
            at_the_end.extend(ended)

    async with running(place, work) as durable:
        await durable.start("datasets/a")
        await until_ended(durable, "datasets/a")
    assert at_the_end == ["sleeper", "sleeper"]
