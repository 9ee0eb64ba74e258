"""Triton tells of the engine's work among its metrics, by the names that others use."""

import dataclasses
import time

import pytest

from generator.engine.items import Item
from servicekit.workload import metrics_of

pytestmark = [pytest.mark.servers, pytest.mark.heavy]

TEXT = Item("text", 1, 15, 3.0, "a photo of a dog")


def test_an_autoscaler_sees_the_work_that_waits_in_triton(triton_backend, observed):
    names = [name for name, _, _ in metrics_of("generator")]
    most = dict.fromkeys(names, 0.0)
    items = [dataclasses.replace(TEXT, seed=n) for n in range(200)]
    futures = triton_backend.submit_all(items)
    while not all(future.done() for future in futures):
        for name in names:
            most[name] = max(most[name], observed.metric(name))
        time.sleep(0.05)
    assert most["variegate_generator_items_running"] >= 32
    assert most["variegate_generator_items_waiting"] >= 50
    assert most["variegate_generator_batch_fill"] > 0.4
    assert most["variegate_generator_seconds_waiting"] > 0.1
    assert most["variegate_generator_load"] > 2.0
    assert triton_backend.workload() is None, "the front would count the same work again"
    time.sleep(0.5)
    assert observed.metric("variegate_generator_items_waiting") == 0
    assert observed.metric("variegate_generator_items_running") == 0
