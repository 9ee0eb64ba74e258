"""Who waits for the engine, who leaves, and what becomes of them when it closes."""

import dataclasses
import threading
import time

import pytest
import torch

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.errors import BadCondition
from diffusion.registry import scan
from generator.engine.conditions.concat import Concat
from generator.engine.engine import Engine
from generator.engine.errors import EngineClosed, QueueFull
from generator.engine.line import Ticket, WaitingLine
from generator.engine.settings import EngineSettings
from generator.engine.turns import Turns
from tests.generator.test_engine import TEXT, assert_close, made


def test_items_of_different_models_take_turns(tiny_engine, photo):
    items = [TEXT, dataclasses.replace(TEXT, model="pix2pix", condition=Concat(photo))] * 3
    for item, future in zip(items, tiny_engine.submit_all(items), strict=True):
        assert_close(future.result(60).pixels, made(tiny_engine, item))


def test_a_foreign_item_costs_a_full_batch_nothing_of_its_fill(tiny_folder, photo):
    engine = Engine(scan(tiny_folder, ["text", "pix2pix"]), EngineSettings(max_batch=8))
    sizes = []
    unet = engine._models["text"].pipeline.unet
    unet.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    own = [
        dataclasses.replace(TEXT, seed=n, steps=5 + n % 7, guidance_scale=1.0) for n in range(96)
    ]
    foreign = dataclasses.replace(TEXT, model="pix2pix", condition=Concat(photo), steps=40)
    try:
        futures = []
        for start in range(0, len(own), 16):
            futures += [engine.submit(foreign), *engine.submit_all(own[start : start + 16])]
        for future in futures:
            future.result(60)
    finally:
        engine.close()
    full = sizes[: -2 * 12]  # The last items find no company any more.
    assert sum(full) / len(full) > 7.8


def test_more_fine_tuned_models_than_are_kept_take_turns_and_none_starves(tiny_folder):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings())
    turns = Turns(lambda item: engine._models["text"], most=2, max_unets=2)
    line = WaitingLine(100, 0.0)

    def ask(name):
        line.put(
            [
                Ticket(
                    dataclasses.replace(TEXT, artefacts=(Artefact(name, name, Kind.UNET),), steps=3)
                )
            ]
        )

    def turn():
        _, taken = line.take(turns.rooms(), 2, turns.may_begin)
        for group, tickets in taken.items():
            turns.admit(group, tickets)
        turns.step()
        return [artefact.uri for group in taken for artefact in group[1]]

    try:
        begun = []
        for name in "abc":
            ask(name)
        with torch.inference_mode():
            for _ in range(20):
                begun += turn()
                ask("a")
                ask("b")
        assert begun[:2] == ["a", "b"]
        assert "c" in begun
    finally:
        engine.close()


def test_a_full_queue_refuses_all_or_nothing_and_cancelled_items_make_room(tiny_folder):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_queue=3, max_batch=1))
    try:
        gate = threading.Event()
        engine._line.put_job(lambda: gate.wait(60) and None)
        time.sleep(0.05)
        waiting = engine.submit_all([TEXT, TEXT])
        with pytest.raises(QueueFull, match="2 items wait and 2 more do not fit"):
            engine.submit_all([TEXT, TEXT])
        assert engine.waiting_count() == 2
        assert waiting[0].cancel()
        more = engine.submit_all([TEXT, TEXT])
        gate.set()
        for future in [waiting[1], *more]:
            future.result(60)
    finally:
        engine.close()


def test_a_cancelled_item_leaves_in_the_middle_of_its_steps(tiny_engine):
    steps = []
    unet = tiny_engine._models["text"].pipeline.unet
    started = threading.Event()

    def note(*_):
        steps.append(1)
        started.set()

    hook = unet.register_forward_pre_hook(note)
    future = tiny_engine.submit(dataclasses.replace(TEXT, steps=200))
    assert started.wait(60)
    assert future.cancel()
    made(tiny_engine, TEXT)
    hook.remove()
    assert len(steps) < 150


def test_an_urgent_item_does_not_wait_for_room(tiny_folder):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_batch=1))
    try:
        long = engine.submit_all([dataclasses.replace(TEXT, steps=900)] * 2)
        urgent = engine.submit_urgent(TEXT).result(60).pixels
        assert not any(future.done() for future in long)
        for future in long:
            future.cancel()
        assert_close(urgent, made(engine, TEXT))
        with pytest.raises(BadCondition):
            engine.submit_urgent(dataclasses.replace(TEXT, steps=0))
    finally:
        engine.close()


def test_closing_fails_what_waits_and_what_runs(tiny_folder):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_batch=1))
    futures = engine.submit_all([dataclasses.replace(TEXT, steps=200)] * 2)
    engine.close()
    for future in futures:
        with pytest.raises(EngineClosed):
            future.result(10)
    with pytest.raises(EngineClosed):
        engine.submit(TEXT)


def test_the_timings_say_where_the_time_went(tiny_engine):
    result = tiny_engine.submit(TEXT).result(60)
    assert result.compute_seconds > 0
    assert 0 <= result.queue_seconds < 30
