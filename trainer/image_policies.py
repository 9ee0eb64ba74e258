"""Image policies by name: how each image is changed, then how those of a batch are mixed.

A name is a policy's id, or several joined by "+": one that changes images, and then one or more
that mix them. The server reads it without loading torch.
"""

from dataclasses import dataclass

from trainer import recipes

STANDARD = "standard"


class UnfitPoliciesError(ValueError):
    """Policies that cannot be joined; the text says which, and what can."""


@dataclass(frozen=True)
class ImagePolicy:
    """What a name means: a policy that changes images, and the ids of those that mix them.

    Of several that mix, each step has one, any with the same chance.
    """

    changes: recipes.Recipe
    mixings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The one name for what several may mean: "mixup" for "standard+mixup"."""
        is_usual = self.changes.id == STANDARD and self.mixings
        return "+".join(self.mixings if is_usual else (self.changes.id, *self.mixings))


def parts_of(name: str) -> list[str]:
    """The ids that a name joins."""
    return name.split("+")


def image_policy(name: str) -> ImagePolicy:
    """Reads a name. Raises KeyError for an id that there is not, and UnfitPoliciesError."""
    known, parts = recipes.recipes("policies"), parts_of(name)
    mixings = tuple(sorted(part for part in parts if known[part].mixes))
    others = [part for part in parts if part not in mixings]
    can_mix = " and ".join(one.id for one in known.values() if one.mixes)
    if len(others) > 1:
        raise UnfitPoliciesError(
            f"the policy {name!r} joins {' and '.join(others)}, and an image is changed by one of "
            f"them; only {can_mix} can be added to another"
        )
    if len(set(mixings)) < len(mixings):
        raise UnfitPoliciesError(f"the policy {name!r} names one twice; name each once")
    return ImagePolicy(known[others[0] if others else STANDARD], mixings)
