"""Which training images are used, as it is asked for by flags and study files alike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from variegate.gateway.v1 import gateway_pb2 as pb

# What says how many images are drawn; one of them at most.
RULES = ("shots", "fraction", "labels", "long_tail", "class_counts")
# (least, most) of each number.
RANGES: Mapping[str, tuple[type[int] | type[float], float, float]] = {
    "shots": (int, 1, 1_000_000),
    "fraction": (float, 1e-6, 1),
    "labels": (int, 1, 1_000_000_000),
    "long_tail": (float, 1, 1_000_000),
    "head_count": (int, 1, 1_000_000),
    "subset_seed": (int, 0, 2**63 - 1),
    "validation": (float, 1e-6, 0.5),
}


@dataclass(frozen=True)
class Subset:
    """The declared subset. 0 and {} are what was not asked for; all together are all images."""

    shots: int = 0
    fraction: float = 0.0
    labels: int = 0
    long_tail: float = 0.0
    head_count: int = 0
    class_counts: dict[str, int] = field(default_factory=dict)
    subset_seed: int = 0
    validation: float = 0.0

    @property
    def is_short(self) -> bool:
        """Says whether shots are all that was asked for."""
        return self == Subset(self.shots)

    def draws(self, seeds: Sequence[int]) -> list["Subset"]:
        """The subset with each of some seeds, or as it is without any."""
        return [replace(self, subset_seed=seed) for seed in seeds] or [self]

    def named(self) -> dict[str, object]:
        """What ids are made of: what was there before there was more than shots has its ids."""
        return {"shots": self.shots} | ({} if self.is_short else {"subset": self})

    def fields(self) -> dict[str, Any]:
        """The fields of the proto DatasetSource that ask for it."""
        from variegate.gateway.v1 import gateway_pb2 as pb

        if self.is_short:
            return {"shots": self.shots}
        rule: dict[str, Any] = {}
        if self.shots:
            rule["shots"] = self.shots
        elif self.fraction:
            rule["fraction"] = self.fraction
        elif self.labels:
            rule["label_count"] = self.labels
        elif self.long_tail:
            rule["long_tail"] = pb.LongTail(
                imbalance_factor=self.long_tail, head_count=self.head_count
            )
        elif self.class_counts:
            rule["class_counts"] = pb.ClassCounts(counts=self.class_counts)
        return {
            "protocol": pb.SubsetProtocol(
                **rule, seed=self.subset_seed, validation_fraction=self.validation
            )
        }


WHOLE = Subset()
_MOST_DRAWS = 100


def subset_seeds_of(text: str) -> tuple[int, ...]:
    """What subset_seeds says: how many there are, or a list of them, such as "3" or "0, 7, 9".

    Raises ValueError with a sentence.
    """
    written = [one.strip() for one in text.strip("[]").split(",") if one.strip()]
    try:
        found = tuple(int(one.replace("_", "")) for one in written)
    except ValueError:
        found = ()
    is_list = "," in text or text.startswith("[")
    if not is_list and len(found) == 1 and 2 <= found[0] <= _MOST_DRAWS:
        return tuple(range(found[0]))
    most = RANGES["subset_seed"][2]
    if is_list and len({*found}) == len(found) > 1 and all(0 <= one <= most for one in found):
        return found
    raise ValueError(
        f"must be 2 to {_MOST_DRAWS} draws or a list of different seeds for them, and is {text!r}"
    )


def faults(given: Mapping[str, object], call: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yields what does not go together: a name that was given, and a sentence.

    `given` are the names of Subset that were asked for; `call` spells one for people.
    """
    rules = [name for name in RULES if given.get(name)]
    for name in rules[1:]:
        both = f"{call(rules[0])} and {call(name)}"
        yield name, f"{both} both say how many images are drawn; keep one."
    if given.get("head_count") and not given.get("long_tail"):
        yield "head_count", f"{call('head_count')} belongs to a long tail; add {call('long_tail')}."
    draws = [name for name in ("subset_seed", "subset_seeds") if given.get(name)]
    if len(draws) > 1:
        both = f"{call(draws[0])} and {call(draws[1])}"
        yield draws[1], f"{both} both say which images are drawn; keep one."
    if draws and not rules and not given.get("validation"):
        text = "draws nothing, for all images are used; say how many are drawn."
        yield draws[0], f"{call(draws[0])} {text}"


def spread(counts: list[int]) -> dict[str, int | float]:
    """The least, the middle and the largest of some counts."""
    middle = median(counts)
    return {
        "min": min(counts),
        "median": int(middle) if middle == int(middle) else middle,
        "max": max(counts),
    }


def drawn(dataset: "pb.Dataset") -> dict[str, Any] | None:
    """What was drawn of a dataset, for --json; None if all of its images are used."""
    source = dataset.source
    classes = [one for one in dataset.classes if one.available_count]
    if not classes or not (source.shots or source.HasField("protocol")):
        return None
    counts = {
        split: [getattr(one, f"{split}_count") for one in classes]
        for split in ("train", "validation")
    }
    return {
        "protocol": _rule(source),
        "seed": source.protocol.seed,
        "available_count": sum(one.available_count for one in classes),
        "train_count": sum(counts["train"]),
        "train_by_class": spread(counts["train"]),
        "validation_count": sum(counts["validation"]),
        "validation_by_class": spread(counts["validation"]),
    }


def drawn_line(dataset: "pb.Dataset") -> str:
    """The same for people, in a line; "" if all images are used."""
    known = drawn(dataset)
    if known is None:
        return ""
    text = f"subset   {known['protocol']}, seed {known['seed']}: {known['train_count']:,} of "
    text += f"{known['available_count']:,} images to train on, {_spread(known['train_by_class'])}"
    if known["validation_count"]:
        text += f"; {known['validation_count']:,} to choose by (validation), "
        text += _spread(known["validation_by_class"])
    return text


def _spread(by_class: Mapping[str, int | float]) -> str:
    least, middle, most = (by_class[name] for name in ("min", "median", "max"))
    if least == most:
        return f"{least:,} a class"
    return f"{least:,} / {middle:,} / {most:,} a class (least, median, most)"


def _rule(source: "pb.DatasetSource") -> str:
    protocol = source.protocol
    match protocol.WhichOneof("rule"):
        case "fraction":
            return f"{100 * protocol.fraction:g} % of each class"
        case "label_count":
            return f"{protocol.label_count:,} labelled images"
        case "long_tail":
            return f"long tail of factor {protocol.long_tail.imbalance_factor:g}"
        case "class_counts":
            return "a count for each class"
    shots = source.shots or protocol.shots
    return f"{shots:,} a class" if shots else "all images"
