"""What a run asks of a search for its policy: how much, of which images, under which name."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from servicekit.errors import InvalidArgument
from trainer.classifiers.table import classifier_of
from trainer.guard import Selection
from trainer.image_policies import image_policy
from trainer.runs import RunRequest
from trainer.searching.found import SearchSizes
from trainer.settings import TrainerSettings

SEARCHES = "policySearches"


def search_sizes(settings: TrainerSettings, request: RunRequest, images: Selection) -> SearchSizes:
    """How much is searched for a run. Raises InvalidArgument for images that cannot be split."""
    if np.bincount(images.labels(images.train)).max() < 2:
        raise InvalidArgument(
            f"the policy {request.policy!r} is tried on images of each class that are held out, "
            "and no class has two; use the policy 'standard'",
            field="training_run.policy",
            reason="TOO_FEW_IMAGES",
        )
    own = classifier_of(request.classifier).step_count
    return SearchSizes(
        folds=settings.search_folds,
        rounds=settings.search_rounds,
        trials=settings.search_trials,
        kept=settings.search_kept,
        steps=min(own, settings.search_steps or own),
        images=settings.search_images,
    )


def search_of(request: RunRequest) -> RunRequest:
    """The request of the search: real images alone, and nothing that differs from run to run."""
    return replace(
        request,
        synthetic_manifest_uri="",
        strategy="real",
        policy=image_policy(request.policy).changes.id,
        test_sets=(),
        validation=False,
        seed=0,
        step_count=request.search.step_count,
        found_policy="",
        export_onnx=False,
        schedule="",
        choose="",
    )


def name_of_search(request: RunRequest, data: Sequence[str], code: str) -> str:
    """The name under which a run's search is found again.

    `data` stands for the images and weights that it is given, `code` for what is done with them.
    How many machines share the work changes nothing but rounding.
    """
    wanted = dataclasses.asdict(search_of(request))
    values = {k: v for k, v in wanted.items() if k not in ("node_count", "gpus_per_node")}
    content = json.dumps([values, *data, code], sort_keys=True)
    return f"{SEARCHES}/found-{hashlib.sha256(content.encode()).hexdigest()[:40]}"
