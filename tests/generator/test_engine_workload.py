"""What the engine says of the work before it."""

import dataclasses
import threading
import time

from diffusion.registry import scan
from generator.engine.engine import Engine
from generator.engine.settings import EngineSettings
from servicekit.workload import Workload
from tests.generator.test_engine import TEXT


def until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_engine_tells_what_waits_what_runs_and_how_long_it_will_take(tiny_folder):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_batch=4))
    gates = [threading.Event() for _ in range(3)]  # Of the first step, the next two, and the rest.
    calls = iter([gates[0], gates[1], gates[1]])
    unet = engine._models["text"].pipeline.unet
    unet.register_forward_pre_hook(lambda *_: (next(calls, gates[2]).wait(20), None)[1])
    item = dataclasses.replace(TEXT, steps=4)
    try:
        assert engine.workload() == Workload(0, 0, 0, 4, 0.0)
        futures = engine.submit_all([dataclasses.replace(item, seed=n) for n in range(12)])
        until(lambda: engine.workload().running_count == 4)
        assert engine.workload().waiting_count == 8
        assert engine.workload().load == 3.0
        assert engine.workload().seconds_waiting == 0.0, "nothing was done, so nothing is known"
        gates[0].set()
        gates[1].set()
        until(lambda: engine.workload().seconds_waiting > 0.0)
        assert engine.workload().last_batch == 4
        gates[2].set()
        for future in futures:
            future.result(60)
        until(lambda: engine.workload().running_count == 0)
        ended = engine.workload()
        assert (ended.waiting_count, ended.seconds_waiting) == (0, 0.0)
    finally:
        engine.close()


def test_what_waits_counts_by_its_steps(tiny_folder):
    engine = Engine(scan(tiny_folder, ["text"]), EngineSettings(max_batch=1))
    go = threading.Event()
    go.set()
    unet = engine._models["text"].pipeline.unet
    unet.register_forward_pre_hook(lambda *_: (go.wait(20), None)[1])
    try:
        engine.submit(dataclasses.replace(TEXT, steps=4)).result(60)
        go.clear()
        first = engine.submit(TEXT)
        until(lambda: engine.workload().waiting_count == 0)
        short = engine.submit(dataclasses.replace(TEXT, steps=2))
        few = engine.workload().seconds_waiting
        long = engine.submit(dataclasses.replace(TEXT, steps=6))
        assert 0 < 3.9 * few < engine.workload().seconds_waiting < 4.1 * few
        go.set()
        for future in (first, short, long):
            future.result(60)
    finally:
        engine.close()
