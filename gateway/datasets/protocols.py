"""Which training images are the declared subset: how many of each class, and which come first.

As the papers do it: a fraction that keeps the imbalance (BURG, 10 % of ImageNet), reduced labels
(MVC, 4,000), k shots and long tails (AUGCOND).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from gateway.datasets.naming import named
from gateway.digests import digest
from servicekit.errors import InvalidArgument

# What a count may lack of a whole number before it is rounded down.
_ROUNDING = 1e-9
# Images by class, in the order of the labels.
Counts = Mapping[str, int]


@dataclass(frozen=True)
class LongTail:
    """The first class has `head_count` images, and `imbalance_factor` times as many as the last.

    A `head_count` of 0 is the most for which every class has enough.
    """

    imbalance_factor: float
    head_count: int = 0


@dataclass(frozen=True)
class Subset:
    """What is drawn of the training images; of the first five at most one is set, none means all.

    Meanings as in variegate.gateway.v1.SubsetProtocol.
    """

    shots: int = 0
    fraction: float = 0.0
    label_count: int = 0
    long_tail: LongTail | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    validation_fraction: float = 0.0

    @property
    def has_rule(self) -> bool:
        """Says whether images are left out."""
        rules = (self.shots, self.fraction, self.label_count, self.long_tail, self.class_counts)
        return any(rules)

    @property
    def is_short(self) -> bool:
        """Says whether the shots are all that there is to it."""
        return self == Subset(shots=self.shots)

    def place_of(self, sha256: str) -> str:
        """Where an image comes in the order of its class. Each seed but 0 has one of its own."""
        return digest("subset", self.seed, sha256, length=64) if self.seed else sha256

    def counts_of(self, available: Counts) -> dict[str, int]:
        """Returns how many images of each class are drawn, of those that it has.

        Raises InvalidArgument if the classes do not fit, or one has too few images.
        """
        count_each: tuple[tuple[object, Callable[[Counts], dict[str, int]]], ...] = (
            (self.shots, lambda classes: dict.fromkeys(classes, self.shots)),
            (self.fraction, self._share),
            (self.label_count, self._balanced),
            (self.long_tail, self._tailed),
            (self.class_counts, self._named),
        )
        count = next((count for rule, count in count_each if rule), dict)
        wanted = count(available)
        short = [name for name, n in wanted.items() if n > available[name]]
        if short:
            raise InvalidArgument(
                f"the class {short[0]!r} has {available[short[0]]:,} training images that can be "
                f"used, and {wanted[short[0]]:,} are to be drawn"
                + (f"; {named(short[1:])} have too few as well" if short[1:] else "")
                + "; draw fewer, or add images",
                field="source.protocol" if not self.is_short else "source.shots",
                reason="SUBSET_TOO_LARGE",
            )
        return wanted

    def validation_of(self, drawn: int) -> int:
        """Returns how many of a class's drawn images are kept for validation."""
        if not self.validation_fraction or drawn < 2:
            return 0
        return _rounded(self.validation_fraction, drawn)

    def _share(self, available: Counts) -> dict[str, int]:
        return {name: _rounded(self.fraction, count) for name, count in available.items()}

    def _balanced(self, available: Counts) -> dict[str, int]:
        each, over = divmod(self.label_count, len(available))
        if not each:
            raise InvalidArgument(
                f"{self.label_count:,} labelled images are too few for {len(available):,} classes; "
                "give at least one to each",
                field="source.protocol.label_count",
                reason="SUBSET_TOO_SMALL",
            )
        return {name: each + (place < over) for place, name in enumerate(available)}

    def _tailed(self, available: Counts) -> dict[str, int]:
        tail, last = self.long_tail or LongTail(1.0), max(len(available) - 1, 1)
        parts = [tail.imbalance_factor ** (place / last) for place in range(len(available))]
        # Every class has enough: so far down the curve the head would have so many.
        enough = (_floor(n * part) for n, part in zip(available.values(), parts, strict=True))
        head = tail.head_count or min(enough)
        return {
            name: max(1, _floor(head / part)) for name, part in zip(available, parts, strict=True)
        }

    def _named(self, available: Counts) -> dict[str, int]:
        unknown = sorted(self.class_counts.keys() - available.keys())
        missing = [name for name in available if name not in self.class_counts]
        if unknown or missing:
            what = "classes that the training images lack" if unknown else "no count for classes"
            raise InvalidArgument(
                f"the class counts have {what}: {named(unknown or missing)}; give one count, at "
                "least 1, for each class of the training images",
                field="source.protocol.class_counts",
                reason="UNKNOWN_CLASS",
            )
        return {name: self.class_counts[name] for name in available}


WHOLE = Subset()


def check(subset: Subset) -> None:
    """Raises InvalidArgument for a seed that decides over nothing."""
    if subset.seed and not subset.has_rule and not subset.validation_fraction:
        raise InvalidArgument(
            f"the seed {subset.seed} draws nothing, for all images are used; say how many are "
            "drawn, or leave the seed out",
            field="source.protocol.seed",
            reason="NOTHING_TO_DRAW",
        )


def _rounded(share: float, count: int) -> int:
    """A share of a count, halves up, at least 1. 0.1 is a tenth here, not the float next to it."""
    exact = Decimal(repr(share)) * count
    return max(1, int(exact.to_integral_value(ROUND_HALF_UP)))


def _floor(value: float) -> int:
    return int(value + _ROUNDING)
