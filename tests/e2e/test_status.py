"""A run in one terminal, `variegate status` and `cancel` in another."""

import time

import pytest


@pytest.mark.slow
def test_an_augmentation_is_seen_and_cancelled_from_another_terminal(variegate, photographs):
    state = variegate.folder / "state"
    run = variegate.start(
        "augment", photographs / "train", "--method", "simple", "--per-class", "5000",
        "--steps", "2", "--out", "new", "--state", state,
    )  # fmt: skip
    try:
        row = None
        while row is None or not row["done_count"]:
            assert run.poll() is None, run.communicate()
            time.sleep(0.5)
            seen = variegate("status", "--state", state, "--json")
            rows = seen.json().get("operations", [])
            row = next((one for one in rows if one["stage"] == "generate"), None)
        assert seen.json()["system"]["process"] == run.pid
        assert row["state"] == "running" and row["seconds"] > 0
        assert row["name"] in variegate("status", "--state", state).out
        assert variegate("cancel", row["name"], "--state", state).code == 0
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 1
    assert "cancelled" in err.lower() and "Traceback" not in err
    ended = variegate("status", "--state", state)
    assert ended.code == 3 and "No system is running" in ended.err
