"""The written rule that divides photographs into pool and target."""

import hashlib
import random

from models.nano.recipe.split import divide

FILES = [bytes([value % 256, value // 256]) for value in range(400)]
LABELS = [value % 4 for value in range(400)]


def test_every_class_gives_the_same_number_of_photographs_to_the_target() -> None:
    pool, target = divide(FILES, LABELS, per_class=10)
    assert [sum(LABELS[row] == label for row in target) for label in range(4)] == [10] * 4
    assert [sum(LABELS[row] == label for row in pool) for label in range(4)] == [90] * 4


def test_pool_and_target_share_no_photograph() -> None:
    pool, target = divide(FILES, LABELS, per_class=10)
    assert not {FILES[row] for row in pool} & {FILES[row] for row in target}
    assert sorted(pool + target) == list(range(400))


def test_the_split_depends_on_bytes_and_not_on_the_order_of_rows() -> None:
    order = list(range(400))
    random.Random(1).shuffle(order)
    _, target = divide(FILES, LABELS, per_class=10)
    _, shuffled = divide([FILES[i] for i in order], [LABELS[i] for i in order], per_class=10)
    assert {FILES[row] for row in target} == {FILES[order[row]] for row in shuffled}


def test_the_target_holds_the_lowest_digests_of_each_class() -> None:
    _, target = divide(FILES, LABELS, per_class=10)
    digests = {row: hashlib.sha256(FILES[row]).hexdigest() for row in range(0, 400, 4)}
    assert sorted(digests, key=lambda row: digests[row])[:10] == sorted(
        (row for row in target if LABELS[row] == 0), key=lambda row: digests[row]
    )


def test_a_copy_of_a_target_photograph_never_gets_into_the_pool() -> None:
    pool, target = divide([b"same", b"same", b"same"], [0, 0, 0], per_class=1)
    assert (pool, len(target)) == ([], 1)
