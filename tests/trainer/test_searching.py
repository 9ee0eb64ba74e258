"""The search for a policy: what is tried on what, how it goes on, and what comes of it."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.conftest import TRAIN
from tests.trainer.test_training import Interrupted
from trainer import recipes
from trainer.data.samples import read_images
from trainer.runs import RunSpec, SearchSpec
from trainer.searching.candidates import next_candidate
from trainer.searching.folds import fold_of
from trainer.searching.found import FOUND, Change, SearchSizes, read_found
from trainer.searching.operations import OPERATIONS
from trainer.training import read_spec, train

SIZES = SearchSizes(folds=2, rounds=1, trials=4, kept=2, steps=6, images=0)


@pytest.fixture(autouse=True)
def plain_torch() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def search(spec: RunSpec) -> SearchSpec:
    values = asdict(replace(spec, policy="fast_autoaugment", strategy="real"))
    values |= {"job": "search", "sizes": SIZES, "step_count": SIZES.step_count}
    return SearchSpec(**values)


def found(spec: SearchSpec) -> bytes:
    return (Path(spec.folder) / FOUND).read_bytes()


def test_a_search_joins_the_best_trials_of_every_fold(search):
    result = train(search, lambda event: None)
    sub_policies = read_found(Path(search.folder) / FOUND)
    assert len(sub_policies) == result.sub_policy_count == 2 * 2 * 5
    for change in (change for part in sub_policies for change in part):
        assert change.operation in OPERATIONS
        assert 0 <= change.probability <= 1 and 0 <= change.magnitude <= 1
    assert {len(part) for part in sub_policies} == {2}


@pytest.mark.parametrize("step", [3, 8, 15])
def test_an_interrupted_search_finds_what_an_undisturbed_one_does(search, step):
    train(search, lambda event: None)
    undisturbed = found(search)
    (Path(search.folder) / FOUND).unlink()
    tried = []

    def emit(event):
        if event["event"] == "checkpoint" and event["step"] == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(replace(search, checkpoint_seconds=0.0), emit)
    train(search, lambda event: tried.append(event.get("images_per_second")))
    assert found(search) == undisturbed
    assert tried.count(0.0) == step, "what was done is not done again"


def test_a_worker_reads_a_search_as_it_was_written(search, tmp_path):
    search.write(tmp_path / "spec.json")
    assert read_spec(tmp_path / "spec.json") == search


def test_folds_hold_real_images_alone_and_try_policies_on_what_they_did_not_learn(spec):
    images = read_images(Path(spec.folder), spec.image_size)
    folds = [fold_of(images, number, 0, 7) for number in range(3)]
    for learned, tried in folds:
        keys = set(learned.keys.tolist()), set(tried.keys.tolist())
        assert not keys[0] & keys[1] and keys[0] | keys[1] == set(range(TRAIN))
        assert np.bincount(tried.labels).tolist() == [2, 2, 2]
    assert len({tuple(sorted(tried.keys.tolist())) for _, tried in folds}) == 3
    assert len(fold_of(images, 0, 4, 7).tried.labels) == 4


def test_the_next_candidate_depends_on_the_trials_before_it_and_the_seed_alone():
    tried = []
    for trial in range(12):
        candidate = next_candidate(tried, trial)
        tried.append((candidate, float(trial % 5)))
    assert next_candidate(tried, 3) == next_candidate(list(tried), 3)
    assert next_candidate(tried, 3) != next_candidate(tried, 4)
    better = [(candidate, -loss) for candidate, loss in tried]
    assert next_candidate(tried, 3) != next_candidate(better, 3), "the losses decide"


def test_trials_come_to_prefer_what_lost_little():
    def loss(candidate):
        changes = [change for part in candidate for change in part]
        return float(np.mean([change.operation == "invert" for change in changes]))

    tried = []
    for trial in range(40):
        candidate = next_candidate(tried, trial)
        tried.append((candidate, loss(candidate)))
    losses = [one for _, one in tried]
    assert np.mean(losses[-15:]) < np.mean(losses[:10])


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [0.0, 0.6, 1.0])
def test_an_operation_keeps_shape_and_type_and_follows_its_seed(name, magnitude):
    image = torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    kept = image.clone()
    made = []
    for _ in range(2):
        torch.manual_seed(4)
        made.append(OPERATIONS[name](image, magnitude))
    assert made[0].shape == image.shape and made[0].dtype == torch.uint8
    assert torch.equal(*made) and torch.equal(image, kept)


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_operations_of_shape_go_either_way_and_do_nothing_at_no_magnitude(name):
    image = torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    assert torch.equal(OPERATIONS[name](image, 0.0), image)
    made = [OPERATIONS[name](image, 0.8).float().mean(2) for _ in range(12)]
    assert len({tuple(one.flatten().tolist()) for one in made}) == 2


def test_each_image_gets_one_of_the_sub_policies_with_its_probabilities():
    parts = ((Change("invert", 0.5, 0.0),), (Change("solarize", 1.0, 0.0),))
    module = recipes.load("policies", "fast_autoaugment").SubPolicies(parts)
    image = torch.full((3, 4, 4), 200, dtype=torch.uint8)
    torch.manual_seed(0)
    values = [int(module(image)[0, 0, 0]) for _ in range(400)]
    # Both invert: one half of the time, and always.
    assert 0.65 < np.mean([value == 55 for value in values]) < 0.85
