"""What TensorBoard reads of a run."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from tests.trainer.test_training import interrupt_at, plain_torch  # noqa: F401
from trainer.history import EVENTS
from trainer.training import train


def scalars(path: Path) -> dict[str, list[tuple[int, float]]]:
    read: dict[str, list[tuple[int, float]]] = {}
    for event in LegacyEventFileLoader(str(path)).Load():
        for one in event.summary.value:
            read.setdefault(one.tag, []).append((event.step, one.simple_value))
    return read


def test_tensorboard_reads_what_a_run_reports_also_over_an_interruption(spec):
    interrupt_at(spec, 7)
    reports = []
    train(spec, reports.append)
    metrics = [event for event in reports if event["event"] == "metrics"]
    read = scalars(Path(spec.folder) / EVENTS)
    assert read.keys() == {"loss", "train_accuracy", "learning_rate"}
    for name, values in read.items():
        assert [step for step, _ in values] == list(range(1, 25))
        expected = [event["values"][name] for event in metrics]
        assert [value for _, value in values] == pytest.approx(expected, rel=1e-5)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_store_keeps_the_event_file_beside_the_metrics(client, store):
    run = await client.train("logged")
    folder = run.result.metrics_uri.removeprefix("store:").rpartition("/")[0]
    assert store.exists(f"{folder}/{EVENTS}")
    read = scalars(store.root / f"{folder}/{EVENTS}")
    assert [step for step, _ in read["loss"]] == list(range(1, 7))
