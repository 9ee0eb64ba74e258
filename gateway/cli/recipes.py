"""Methods, strategies, policies and classifiers, as --help shows them without a system.

Tests hold the tables equal to what gateway and trainer list; those that run elsewhere are asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from gateway.cli.failures import CliError, unknown
from gateway.cli.inputs import DATASET
from gateway.cli.root import own_networks

if TYPE_CHECKING:
    from variegate.gateway.v1 import gateway_pb2
    from variegate.trainer.v1 import trainer_pb2

    from gateway.cli.arguments import TrainingRecipe

    Offered = trainer_pb2.ListRecipesResponse | gateway_pb2.ListTrainingRecipesResponse

METHODS = (
    "simple", "simple_no_ws", "clip_templates", "sariyildiz",
    "contextual", "stylized", "contextual+stylized",
    "boomerang", "mvc", "captions", "mvc+pretrained", "cond_image", "cond_dropout",
    "cond_mixup", "cond_mixup_dropout", "cond_cutmix", "cond_cutmix_dropout",
    "cond_embed_mixup", "cond_embed_mixup_dropout",
    "cond_embed_cutmix", "cond_embed_cutmix_dropout",
    "textual_inversion", "ft_conditioning", "ft_cluster_conditioning",
    "imagic", "pseudoword_dm", "lora", "mvc+tuned", "retrieval",
)  # fmt: skip
# Strategies that use added images; "real" alone uses none.
STRATEGIES = ("aux_bn", "combined", "half_half", "real", "rsp", "two_phase")
WITHOUT_ADDED = "real"
WITH_ADDED = tuple(strategy for strategy in STRATEGIES if strategy != WITHOUT_ADDED)
POLICIES = (
    "autoaugment", "cutmix", "fast_autoaugment", "mixup", "none", "randaugment", "resized_crop",
    "standard",
)  # fmt: skip
# Policies that mix the images of a batch: each can be added to another, with "+".
MIXING = ("cutmix", "mixup")
CLASSIFIERS = (
    "cnn4", "efficientnet_b0", "efficientnet_b3", "resnet18", "resnet50", "resnext50", "vit_b_16",
    "wrn_28_10", "wrn_28_2", "wrn_50_2",
)  # fmt: skip
# What goes by the accuracy on validation images: when training ends, and which weights are tested.
SCHEDULES = ("plateau",)
CHOICES = ("last", "best")
# Of a classifier that the trainer looks up in a library, the row that stands for all of them, and
# the kind of its names there.
_TIMM, _ANY_NETWORK = "timm:", "timm:NAME"
_NETWORK = "network"


class _Own(dict[str, Sequence[str]]):
    """What the system has that would start here. It is asked for the many networks of timm only
    once someone names one."""

    def __missing__(self, kind: str) -> Sequence[str]:
        if kind != _NETWORK:
            raise KeyError(kind)
        self[kind] = own_networks()
        return self[kind]


OWN: Mapping[str, Sequence[str]] = _Own(
    strategy=STRATEGIES, policy=POLICIES, classifier=CLASSIFIERS
)


def choices(names: Iterable[str]) -> str:
    """The names as what an option may be, for --help."""
    return "|".join(names)


def check(known: Mapping[str, Sequence[str]], **asked: str) -> None:
    """Raises CliError for a name that the trainer does not have; "" means its default."""
    for kind, name in asked.items():
        if kind == "classifier" and name.startswith(_TIMM):
            _check_network(known[_NETWORK], name)
        elif kind == "policy" and "+" in name:
            _check_joined(known, name)
        elif name and name not in known[kind]:
            raise unknown(kind, name, known[kind], listing=f"They are the values of --{kind}.")


def _check_joined(known: Mapping[str, Sequence[str]], name: str) -> None:
    """Checks a policy that is several: one that changes images, and those that mix them."""
    parts = name.split("+")
    for part in parts:
        check(known, policy=part or "+")
    others = [part for part in parts if part not in MIXING]
    if len(others) > 1 or len(set(parts)) < len(parts):
        raise CliError(
            f"The policy {name!r} joins what cannot go together: one policy changes images, and "
            f"only {' and '.join(MIXING)} can be added to it, each once.",
            remedy=f"Give one such as {others[0] if others else 'randaugment'}+{MIXING[-1]}.",
            reason="POLICY_UNFIT",
        )


def _check_network(known: Sequence[str], classifier: str) -> None:
    network = classifier.removeprefix(_TIMM)
    # A trainer of before lists none, and checks the name itself.
    if known and network not in known:
        near = ", ".join(get_close_matches(network, known, 3))
        raise CliError(
            f"timm has no network {network!r}{f'; it has {near}' if near else ''}.",
            remedy="timm.list_models() in Python lists them.",
            reason="UNKNOWN_CLASSIFIER",
        )


def check_strategy(strategy: str, *, has_added: bool) -> None:
    """Raises CliError for a strategy that does not go with the images that there are."""
    if not has_added and strategy not in ("", WITHOUT_ADDED):
        raise CliError(
            f"The strategy {strategy!r} needs images to add.",
            remedy="Add --synthetic DIR, an output of `variegate augment`.",
        )
    if has_added and strategy == WITHOUT_ADDED:
        raise CliError(
            f"The strategy {strategy!r} uses no added images, and there are some.",
            remedy="Use another --strategy; real images alone are trained on as well, to compare.",
        )


def may_have_validation(source: str, validation: float) -> bool:
    """Whether images are kept to choose by; a dataset that was imported before may have some."""
    return bool(validation) or source.startswith(DATASET)


def needs_validation(
    training: Mapping[str, object], *, source: str, validation: float
) -> list[str]:
    """Which of schedule and choose go by validation images, where none are kept."""
    if may_have_validation(source, validation):
        return []
    return [name for name in ("schedule", "choose") if training.get(name) not in (None, "", "last")]


def check_choices(training: "TrainingRecipe", *, source: str, validation: float) -> None:
    """Raises CliError for a schedule or choice that there is not, or that lacks its images."""
    for kind, name, known in (
        ("schedule", training.schedule, SCHEDULES),
        ("choose", training.choose, CHOICES),
    ):
        if name and name not in known:
            raise unknown(kind, name, known, listing=f"They are the values of --{kind}.")
    lacking = needs_validation(vars(training), source=source, validation=validation)
    if lacking:
        raise CliError(
            f"--{lacking[0]} {getattr(training, lacking[0])} goes by validation images, and none "
            "are kept.",
            remedy="Add --validation 0.2, which keeps a fifth of each class's images to choose by.",
            reason="FIELD_REQUIRED",
        )


def check_image_size(offered: "Offered", classifier: str, size: int) -> None:
    """Raises CliError for training images of a size that the classifier cannot take; 0: its choice.

    Without a name it is the trainer's default, which takes what one of them takes.
    """
    is_of_timm = classifier.startswith(_TIMM)
    row = _ANY_NETWORK if is_of_timm else classifier
    smallest = [one.smallest_image_size for one in offered.classifiers if row in ("", one.id)]
    least, most = min(smallest, default=0), 0
    network = classifier.removeprefix(_TIMM)
    if is_of_timm and network in offered.timm_image_sizes:
        sizes = offered.timm_image_sizes[network]
        least, most = sizes.smallest, sizes.largest
    if size and (size < least or 0 < most < size):
        takes = f"{least} alone" if least == most else f"at least {least}"
        raise CliError(
            f"--image-size is {size}, and {classifier or 'every classifier'} takes {takes}.",
            remedy=f"Give {least}{'' if least == most else ' or more'}, or leave it out for the "
            "trainer's choice.",
            reason="FIELD_OUT_OF_RANGE",
        )


def of_trainer(answer: "Offered") -> dict[str, list[str]]:
    """What a trainer, or the gateway for it, lists, in the form of OWN."""
    return {
        "strategy": [recipe.id for recipe in answer.strategies],
        "policy": [recipe.id for recipe in answer.policies],
        "classifier": [recipe.id for recipe in answer.classifiers],
        _NETWORK: list(answer.timm_networks),
    }
