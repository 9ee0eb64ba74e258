"""The written rule that divides the training photographs into pool and target."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

TARGET_PER_CLASS = 500


def divide(
    photographs: Sequence[bytes], labels: Sequence[int], *, per_class: int = TARGET_PER_CLASS
) -> tuple[list[int], list[int]]:
    """Returns the row numbers of (pool, target), each ascending.

    Rule: within each class, order the photographs by the SHA-256 of their file bytes; the first
    `per_class` are the target (what a user owns), the others are the pool (what the models train
    on). The rule looks at bytes only, so the order of the rows does not matter. Copies of one file
    never part: a copy of a target photograph beyond the quota would be in neither list.
    """
    by_class: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for row, (photograph, label) in enumerate(zip(photographs, labels, strict=True)):
        by_class[label].append((hashlib.sha256(photograph).hexdigest(), row))
    pool: list[int] = []
    target: list[int] = []
    for members in by_class.values():
        members.sort()
        chosen = members[:per_class]
        owned = {digest for digest, _ in chosen}
        target += [row for _, row in chosen]
        pool += [row for digest, row in members[per_class:] if digest not in owned]
    return sorted(pool), sorted(target)
