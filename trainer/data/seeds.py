"""Seeds of samples: of the run, of the image and of the time it is drawn, and of nothing else."""

import hashlib

import numpy as np


def key_of(item_id: str) -> int:
    """The number of 64 bits that stands for an image."""
    return int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8])


def seed_of(run_seed: int, number: int, key: int) -> int:
    """The seed of the sample that is drawn of an image after `number` others."""
    sequence = np.random.SeedSequence([run_seed, number, key])
    return int(sequence.generate_state(1, np.uint64)[0])
