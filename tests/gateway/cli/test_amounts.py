"""--per-class and --fill-to: a number, numbers of classes, or a file of them."""

import pytest
from variegate.gateway.v1 import gateway_pb2 as pb

from gateway.cli.amounts import Amount, amount_of, check_choice
from gateway.cli.failures import CliError


def test_a_number_is_of_every_class_and_named_ones_are_of_those_alone():
    assert amount_of(None, None) == Amount(100)
    assert amount_of("7", None) == Amount(7)
    assert amount_of("cat=50, dog=200", None) == Amount(200, {"cat": 50, "dog": 200}, True)
    assert amount_of("100,cat=0", None) == Amount(100, {"cat": 0})
    assert amount_of("a=b=3", None).of_classes == {"a=b": 3}
    assert amount_of(None, "20") == Amount(20, fill_up=True)
    assert amount_of(None, "cat=9") == Amount(9, {"cat": 9}, True, True)


def test_a_file_names_the_classes(tmp_path):
    file = tmp_path / "counts.csv"
    file.write_text('class,name\ncat,50\n"dog, wild",200\n')
    assert amount_of(str(file), None) == Amount(200, {"cat": 50, "dog, wild": 200}, True)


@pytest.mark.parametrize(
    ("per_class", "fill_to", "words"),
    [
        ("5", "9", "both are given"),
        ("0", None, "--per-class: '0' is no number in .1, 1000000. and no file"),
        ("no/such/file.csv", None, "and no file"),
        ("cat=many", None, "'many' of 'cat' is no number"),
        ("cat=-1", None, "'-1' of 'cat'"),
        (None, "1000001", "--fill-to: '1000001'"),
        ("cat=0", None, "asks for no image"),
    ],
)
def test_what_says_no_number_is_refused_with_the_forms(per_class, fill_to, words):
    with pytest.raises(CliError, match=words) as caught:
        amount_of(per_class, fill_to)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("make", "keep", "words"),
    [
        (0.5, "clip_score", "--make is 0.5"),
        (2, "", "--make 2 does not say which"),
        (0, "clip_score", "--keep clip_score has nothing to choose from"),
    ],
)
def test_a_choice_needs_more_images_and_a_score(make, keep, words):
    with pytest.raises(CliError, match=words):
        check_choice(make, keep)
    check_choice(0, "")
    check_choice(2, "clip_score")


@pytest.mark.parametrize(
    ("options", "each", "counts", "names", "fills"),
    [
        (("--per-class", "cat=50"), 50, {"cat": 50}, ["cat"], False),
        (("--per-class", "9,cat=50"), 9, {"cat": 50}, [], False),
        (("--fill-to", "40"), 40, {}, [], True),
    ],
)
def test_the_gateway_is_asked_for_them(
    variegate, gateway, photos, at, options, each, counts, names, fills
):
    gateway.augmentation_result = pb.AugmentationResult()  # Nothing is made, so it ends early.
    more = ("--negative-prompt", "blurred", "--out", "new")
    variegate("augment", photos, *options, *more, *at)
    [request] = [r for r in gateway.requests if isinstance(r, pb.CreateAugmentationRequest)]
    wanted = request.augmentation
    assert (wanted.images_per_class, dict(wanted.class_counts)) == (each, counts)
    assert wanted.negative_prompt == "blurred"
    assert (list(wanted.class_names), wanted.fill_up) == (names, fills)
