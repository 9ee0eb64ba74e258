"""Captions computed from pixels, and their many phrasings."""

import random

import pytest
import torch

from models.nano.recipe import captions, clip
from models.nano.recipe.captions import ANY, COLOURS, Facts

NAMES = ("cat", "airplane")


def picture(centre: tuple[int, int, int], border: tuple[int, int, int]) -> torch.Tensor:
    image = torch.empty(3, 32, 32, dtype=torch.uint8)
    image[:] = torch.tensor(border, dtype=torch.uint8)[:, None, None]
    image[:, 8:24, 8:24] = torch.tensor(centre, dtype=torch.uint8)[:, None, None]
    return image


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((5, 5, 5), "black"),
        ((128, 128, 128), "gray"),
        ((250, 250, 250), "white"),
        ((220, 20, 20), "red"),
        ((240, 140, 20), "orange"),
        ((110, 75, 40), "brown"),
        ((240, 230, 40), "yellow"),
        ((40, 160, 50), "green"),
        ((40, 80, 220), "blue"),
        ((130, 40, 200), "purple"),
        ((250, 60, 190), "pink"),
    ],
)
def test_a_colour_gets_the_name_a_person_would_give_it(
    colour: tuple[int, int, int], name: str
) -> None:
    assert COLOURS[int(captions.name_colours(torch.tensor(colour)))] == name


def test_a_caption_names_class_colour_background_and_light() -> None:
    looks = captions.look(picture((110, 75, 40), (40, 160, 50))[None])
    facts = captions.facts_of(torch.tensor([0]), looks)[0]
    text = captions.caption(facts, NAMES)
    assert text == "a photo of a brown cat on a green background"


def test_a_bright_picture_is_called_bright_and_a_dark_one_dark() -> None:
    both = torch.stack([picture((250, 250, 250), (90, 120, 250)), picture((5, 5, 5), (60, 30, 20))])
    first, second = captions.facts_of(torch.tensor([1, 1]), captions.look(both))
    assert captions.caption(first, NAMES) == (
        "a photo of a white airplane on a blue background, bright"
    )
    assert captions.caption(second, NAMES).endswith(", dark")


def test_an_orange_background_takes_the_article_an() -> None:
    facts = Facts(1, ANY, COLOURS.index("orange"), ANY)
    assert captions.caption(facts, NAMES) == "a photo of an airplane on an orange background"


def test_every_phrasing_names_the_class_and_states_nothing_untrue() -> None:
    facts, rng = Facts(0, COLOURS.index("brown"), COLOURS.index("green"), 2), random.Random(0)
    for _ in range(300):
        text, stated = captions.rephrase(facts, NAMES, rng)
        assert "cat" in text
        assert all(s in (ANY, f) for s, f in zip(stated.row(), facts.row(), strict=True))
        assert ("brown" in text) == (stated.colour != ANY)
        assert ("green" in text) == (stated.background != ANY)


def test_the_phrasings_cover_the_openings_that_prompts_use() -> None:
    rng = random.Random(0)
    texts = [captions.rephrase(Facts(1, 1, 1, 1), NAMES, rng)[0] for _ in range(500)]
    for opening in ("A photo of airplane", "a photo of a", "This is an image of airplane", "itap"):
        assert any(text.startswith(opening) for text in texts), opening
    assert "A photo of airplane, aeroplane, plane." in texts


def test_a_text_agrees_with_every_picture_that_it_is_silent_about() -> None:
    stated = torch.tensor([[0, ANY, ANY, ANY], [0, 3, ANY, ANY]])
    seen = torch.tensor([[0, 3, 1, 1], [0, 4, 1, 1], [1, 3, 1, 1]])
    assert clip.agree(stated, seen).tolist() == [[True, True, False], [True, False, False]]
