"""The progress that running work shows."""

import time

from gateway.run.progress import Progress


def test_what_was_done_before_a_stage_began_does_not_count_as_its_speed():
    progress = Progress()
    progress.start("train", 50, "classifiers", 49)
    assert (progress.done, progress.rate()) == (49, 0)
    time.sleep(0.05)
    progress.advance()
    assert 0 < progress.rate() <= 20
