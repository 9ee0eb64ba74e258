"""The rows of a study: everything that the arguments name, with everything else."""

from collections.abc import Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any

from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.arguments import StudyArguments
from gateway.cli.failures import CliError

_MOST_ROWS = 1000
_BUDGETS = {"passes": pb.TRAINING_BUDGET_PASSES}


def counts_of(args: StudyArguments, class_count: int, image_count: int) -> list[int]:
    """How many images a class rows add: those said, or the ratios of the mean class."""
    if args.per_class:
        return list(args.per_class)
    mean = image_count / max(1, class_count)
    return list(dict.fromkeys(max(1, round(ratio * mean)) for ratio in args.ratios))


def study_of(
    args: StudyArguments,
    methods: Sequence[tuple[str, dict[str, str]]],
    dataset: str,
    pool_uri: str,
    counts: Sequence[int],
    test_sets: Sequence[pb.StudyTestSet] = (),
    *,
    classes: Mapping[str, int] = MappingProxyType({}),
    added: Sequence[tuple[str, str]] = (),
    seed_datasets: Sequence[str] = (),
) -> pb.Study:
    """The study, with a row for each method, count, strategy, policy and classifier.

    `classes` are the real images of each class. `added` are rows of images that are there, name and
    manifest, each with every strategy, policy and classifier.

    Raises CliError for more rows than a study may have.
    """
    most = max(counts)
    # Rows that take all images come first, so that what they share is there.
    ordered = sorted(counts, reverse=True)
    several = len(args.policies) > 1, len(args.classifiers) > 1
    images: list[dict[str, Any]] = [
        {
            "method": name,
            "parameters": parameters,
            "selection": args.selection_of(number),
            "images_per_class": count if count < most else 0,
            **args.images_of(number).fields(classes, count),
        }
        for number, (name, parameters) in enumerate(methods)
        # What a class lacks of a number is the same whatever else rows add.
        for count in (ordered[:1] if args.images_of(number).fill_to else ordered)
    ]
    images += [{"method": name, "added_manifest_uri": uri} for name, uri in added]
    arms = [
        pb.StudyArm(
            strategy=strategy,
            policy=policy if several[0] else "",
            classifier=classifier if several[1] else "",
            **one,
        )
        for classifier, policy, strategy in product(
            args.classifiers, args.policies, args.strategies
        )
        for one in images
    ]
    if len(arms) > _MOST_ROWS:
        raise CliError(
            f"The study has {len(arms):,} rows; at most {_MOST_ROWS:,} are compared.",
            remedy="Name fewer methods, ratios, strategies, policies or classifiers.",
            reason="TOO_MANY_ROWS",
        )
    return pb.Study(
        dataset=dataset,
        arms=arms,
        images_per_class=most,
        seeds=args.seeds,
        pool_uri=pool_uri,
        pool_class_names=args.pool_names,
        training=_training(args, several),
        budget=_BUDGETS.get(args.budget, pb.TRAINING_BUDGET_UNSPECIFIED),
        deterministic=args.deterministic,
        check_safety=args.check_safety,
        test_sets=test_sets,
        seed_datasets=seed_datasets,
    )


def _training(args: StudyArguments, several: tuple[bool, bool]) -> pb.TrainingRecipe:
    """How all rows are trained: with the policy and the classifier, unless there are several."""
    training = pb.TrainingRecipe(**args.training.values())
    if not several[0]:
        training.policy = args.policies[0]
    if not several[1]:
        training.classifier = args.classifiers[0]
    return training
