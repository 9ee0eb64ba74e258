"""What lies in the folder where somebody works is never run by a training process."""

import asyncio
import json

import pytest

from servicekit.errors import ServiceError
from trainer.launchers.workers import Worker

# A folder of that name would hide the module.
MODULE = ("trainer.py",)
OTHERS = (
    "trainer/__init__.py",
    "trainer/worker.py",
    "torch.py",
    "json.py",
    "random.py",
    "imaging.py",
)


@pytest.mark.parametrize(
    ("inherited", "names"),
    [(None, OTHERS), ("", OTHERS), (".", OTHERS), (":", OTHERS), (".", MODULE)],
)
async def test_a_worker_takes_no_code_from_the_current_folder(
    tmp_path, monkeypatch, names, inherited
):
    for theirs in (tmp_path / name for name in names):
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_text("open('it-ran', 'w')\nraise SystemExit('the user file ran')")
    monkeypatch.chdir(tmp_path)
    if inherited is not None:
        monkeypatch.setenv("PYTHONPATH", inherited)
    worker = Worker(idle_seconds=60.0)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({}))
    # The worker's own answer to a spec that lacks everything: so it was ours that ran.
    with pytest.raises(ServiceError, match="training failed") as caught:
        await asyncio.wait_for(worker.run(spec, lambda event: None), 60)
    await worker.stop()
    assert "ended unexpectedly" not in caught.value.message
    assert not (tmp_path / "it-ran").exists()
