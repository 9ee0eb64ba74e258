import time

import pytest

from prompter import wordnet as wordnet_module
from prompter.subject import find_subject
from prompter.wordnet import WordNet
from servicekit.errors import InvalidArgument


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("dog", "dog.n.01"),
        ("fire_truck", "fire_engine.n.01"),
        ("Fire Truck", "fire_engine.n.01"),
        ("fire-truck", "fire_engine.n.01"),
        ("automobile", "car.n.01"),
        ("t_shirt", "jersey.n.03"),
        ("Foxes", "fox.n.01"),
        ("n02084071", "dog.n.01"),
        ("mountain  bike", "mountain_bike.n.01"),
    ],
)
def test_a_name_is_found_however_it_is_written(wordnet, name, first):
    assert wordnet.senses(name)[0].name == first


def test_a_sense_has_all_lemmas_a_definition_and_hypernyms(wordnet):
    [sense] = wordnet.senses("fire_truck")
    assert sense.lemmas == ("fire engine", "fire truck")
    assert sense.definition.startswith("any of various large trucks that carry firemen")
    assert sense.hypernyms == ("truck",)


def test_the_senses_of_a_word_come_in_wordnets_order(wordnet):
    names = [sense.name for sense in wordnet.senses("dog")]
    assert names == [
        "dog.n.01", "frump.n.01", "dog.n.03", "cad.n.01", "frank.n.02", "pawl.n.01", "andiron.n.01",
    ]  # fmt: skip


def test_kinds_come_before_individuals_where_nothing_was_counted(wordnet):
    names = [sense.name for sense in wordnet.senses("crane")]
    assert names[:2] == ["crane.n.04", "crane.n.05"]
    assert {"crane.n.01", "crane.n.02"} < set(names)


def test_every_sense_is_found_by_its_name(wordnet):
    for word in ("dog", "crane", "papillon", "drumstick", "desktop computer", "mailbag"):
        for sense in wordnet.senses(word):
            assert wordnet.sense(sense.name) == sense


def test_what_wordnet_does_not_know_has_no_senses(wordnet):
    assert wordnet.senses("zorblax 9000") == []
    assert wordnet.sense("zorblax.n.01") is None
    assert wordnet.sense("dog.n.99") is None
    assert wordnet.sense("dog") is None


def test_the_table_is_read_in_little_time():
    wordnet_module._read.cache_clear()
    started = time.process_time()
    assert WordNet().senses("dog")
    assert time.process_time() - started < 3  # half a second on an idle machine


def test_an_unknown_name_stands_for_itself(wordnet):
    subject = find_subject(wordnet, "zorblax_9000")
    assert (subject.name, subject.lemmas, subject.sense) == (
        "zorblax 9000",
        ("zorblax 9000",),
        None,
    )


def test_a_sense_that_does_not_exist_is_refused_with_those_that_do(wordnet):
    with pytest.raises(InvalidArgument, match=r"crane\.n\.04, crane\.n\.05") as caught:
        find_subject(wordnet, "crane", "crane.n.50")
    assert (caught.value.field, caught.value.reason) == ("sense", "SENSE_UNKNOWN")


def test_a_blank_class_name_is_refused(wordnet):
    with pytest.raises(InvalidArgument) as caught:
        find_subject(wordnet, " _ ")
    assert caught.value.field == "class_name"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a photo of two Dogs at sea", True),
        ("A photo of Canisfamiliaris.", True),
        ("a domestic-dog", True),
        ("a photo of a dogma", False),
        ("a photo of a cat", False),
    ],
)
def test_a_subject_knows_whether_it_is_named(wordnet, text, named):
    assert find_subject(wordnet, "dog").is_named_in(text) is named


@pytest.mark.parametrize(
    ("class_name", "display_name", "name", "sense"),
    [
        ("n02086240", "Shih-Tzu", "Shih-Tzu", "shih-tzu.n.01"),
        ("n02085620-Chihuahua", "Chihuahua", "Chihuahua", "chihuahua.n.03"),
        ("n03126707", "crane (lifting device)", "crane (lifting device)", "crane.n.04"),
        ("PolarBear", "polar bear", "polar bear", "ice_bear.n.01"),
        (
            "001.Black_footed_Albatross",
            "Black footed Albatross",
            None,
            "black-footed_albatross.n.01",
        ),
        ("7", "fire truck", "fire truck", "fire_engine.n.01"),
        ("02084071", "02084071", "02084071", None),
    ],
)
def test_a_class_is_called_what_the_request_says_and_means_what_its_id_or_name_does(
    wordnet, class_name, display_name, name, sense
):
    subject = find_subject(wordnet, class_name, display_name=display_name)
    assert subject.name == (name or display_name)
    assert (subject.sense and subject.sense.name) == sense


def test_a_name_that_wordnet_does_not_list_comes_before_its_lemmas(wordnet):
    dog = find_subject(wordnet, "n02084071", display_name="big dog")
    assert dog.lemmas == ("big dog", "dog", "domestic dog", "Canis familiaris")
    assert find_subject(wordnet, "x", display_name="Dogs").lemmas == dog.lemmas[1:]


def test_in_a_long_list_of_lemmas_the_name_of_the_class_comes_first(wordnet):
    senses = wordnet.senses("mountain lion")
    assert senses[0].lemmas[3] == "mountain lion"
    assert find_subject(wordnet, "mountain lion").lemmas[0] == "mountain lion"


def test_another_class_of_the_same_display_name_is_no_stranger(wordnet):
    subject = find_subject(wordnet, "a", display_name="crane", others=("crane", "dog"))
    assert subject.others == ("dog",)
