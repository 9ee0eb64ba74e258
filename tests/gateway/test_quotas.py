"""Mixes of methods: how they are read, and which images of a class are whose."""

from fractions import Fraction

import numpy as np
import pytest

from gateway.methods.composition import methods_in, parts_of
from gateway.mixes import apportioned, gathered, read_mix
from gateway.quotas import Quota
from servicekit.errors import InvalidArgument

HALF = Fraction(1, 2)
SHARES = [(HALF, HALF), (Fraction(1, 3),) * 3, (Fraction(7, 10), Fraction(1, 5), Fraction(1, 10))]


def rows(shares, count):
    """Where the images of each method stand among the `count` of a class."""
    quotas = [Quota(shares, number) for number in range(len(shares))]
    own = [np.arange(quota.of(count)) for quota in quotas]
    return [q.places(n, np.full(len(n), count)).tolist() for q, n in zip(quotas, own, strict=True)]


@pytest.mark.parametrize("shares", SHARES)
def test_every_image_is_of_one_method_and_a_methods_images_stand_in_their_order(shares):
    for count in range(40):
        found = rows(shares, count)
        assert sorted(place for places in found for place in places) == list(range(count))
        assert all(places == sorted(places) for places in found)
        assert [len(places) for places in found] == apportioned(count, shares)


@pytest.mark.parametrize("shares", SHARES)
def test_the_first_images_of_a_class_have_nearly_the_shares_of_all(shares):
    for count in range(1, 40):
        quotas = [Quota(shares, number) for number in range(len(shares))]
        for first in range(count + 1):
            own = [quota.of(count, first) for quota in quotas]
            assert sum(own) == first
            assert all(abs(n - first * s) < 1.5 for n, s in zip(own, shares, strict=True))
            expected = [sum(place < first for place in places) for places in rows(shares, count)]
            assert own == expected


def test_numbers_beyond_a_methods_images_stand_behind_all():
    quota = Quota((HALF, HALF), 1)
    assert quota.places(np.arange(4), np.full(4, 4)).tolist() == [1, 3, 4, 5]


def test_remainders_go_to_the_largest_and_of_equal_ones_to_the_first():
    assert apportioned(10, [Fraction("0.55"), Fraction("0.25"), Fraction("0.2")]) == [6, 2, 2]
    assert apportioned(1, [HALF, HALF]) == [1, 0]


def test_a_mix_is_read_with_shares_as_decimals_or_fractions():
    assert read_mix("mvc") == [("mvc", Fraction(1))]
    assert read_mix(" mvc:0.5, contextual+stylized:1/2 ") == [
        ("mvc", HALF),
        ("contextual+stylized", HALF),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mvc:0.5", "add up to 0.5"),
        ("mvc:0.7,simple:0.7", "add up to 1.4"),
        ("mvc:0.5,simple", "'simple' of .* has no share"),
        ("mvc:0,simple:1", "'mvc:0' of .* has no share"),
        ("mvc:x,simple:1", "'mvc:x' of"),
        ("mvc:1e-999999999,simple:1", "has no share"),
        (":0.5,simple:0.5", "has no share"),
        ("mvc:0.5,mvc:0.5", "'mvc' twice"),
        ("mvc+pretrained:0.5,mvc:0.5", "'mvc' twice"),
        (",".join(f"m{n}:1/10" for n in range(10)), "mixes 10 methods; at most 8"),
        ("mvc:0.5,simpel:0.5", "no method 'simpel'; known are"),
    ],
)
def test_what_is_no_mix_is_refused_with_what_to_write(text, words):
    with pytest.raises(InvalidArgument, match=words) as caught:
        parts_of(text, {})
    assert caught.value.field == "augmentation.method"


def test_a_list_of_methods_keeps_the_parts_of_a_mix_together():
    names = ["simple", "mvc:0.5", "boomerang:0.5", "mvc:1/3", "simple:2/3", "retrieval"]
    assert gathered(names) == [
        "simple",
        "mvc:0.5,boomerang:0.5",
        "mvc:1/3,simple:2/3",
        "retrieval",
    ]
    for broken in (["mvc:0.5", "simple"], ["mvc:0.5"], ["mvc:0.8", "simple:0.8"]):
        with pytest.raises(ValueError, match="add up to"):
            gathered(broken)


def test_a_parameter_goes_to_every_method_that_has_it_and_one_with_a_name_before_it():
    mix = "cond_dropout:0.5,cond_image:0.25,mvc:0.25"
    given = {"noise_level": "3", "cond_image.noise_level": "7", "coarse_steps": "4"}
    values = [part.values for part in parts_of(mix, given)]
    assert [one.get("noise_level") for one in values] == [3, 7, None]
    assert values[2]["coarse_steps"] == 4
    assert parts_of("mvc", {"mvc.coarse_steps": "4"})[0].values["coarse_steps"] == 4
    for name in ("strength", "boomerang.strength", "mvc.noise_level"):
        with pytest.raises(InvalidArgument, match=f"no parameter '{name}'.*mvc has") as caught:
            parts_of(mix, {name: "1"})
        assert caught.value.field == f"augmentation.parameters.{name}"


def test_a_composed_method_is_its_methods_with_its_own_share():
    inside = parts_of("mvc+pretrained:0.5,simple:0.5", {"pretrained_share": "0.2"})
    assert [(part.method.id, float(part.share)) for part in inside] == [
        ("mvc", 0.4),
        ("captions", 0.1),
        ("simple", 0.5),
    ]
    alone = parts_of("mvc+pretrained", {"pretrained_share": "0", "coarse_steps": "3"})
    assert [(one.method.id, one.values["coarse_steps"]) for one in alone] == [("mvc", 3)]
    assert [one.id for one in methods_in("mvc+pretrained")] == ["mvc", "captions"]
