"""Captions from pixels: what colour is in the middle, what colour is around it, how bright it is.

"a photo of a brown dog on a green background, bright" is computed, not written by a person: the
class word is the photograph's label and everything else follows from the rule below. It gives the
text models more than the class to learn, and mixing of captions something to mix.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

COLOURS = (
    "black", "gray", "white", "red", "orange", "brown", "yellow", "green", "blue", "purple", "pink",
)  # fmt: skip
LIGHTS = ("dark", "", "bright")
DARK, BRIGHT = 100.0, 140.0  # mean luminance, of 255
ANY = -1  # the caption leaves this open

# WordNet's lemmas of the ten classes: prompts name a class by any of them.
LEMMAS: dict[str, tuple[str, ...]] = {
    "airplane": ("airplane", "aeroplane", "plane"),
    "automobile": ("automobile", "car", "auto", "motorcar"),
    "bird": ("bird",),
    "cat": ("cat", "true cat", "house cat"),
    "deer": ("deer", "cervid"),
    "dog": ("dog", "domestic dog", "Canis familiaris"),
    "frog": ("frog", "toad", "anuran"),
    "horse": ("horse", "Equus caballus"),
    "ship": ("ship", "boat"),
    "truck": ("truck", "motortruck"),
}

TEMPLATES = (
    "a photo of a {}.", "a bad photo of a {}.", "a photo of many {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.", "a bad photo of the {}.", "a cropped photo of the {}.",
    "a photo of a hard to see {}.", "a bright photo of a {}.", "a photo of a clean {}.",
    "a photo of a dirty {}.", "a dark photo of the {}.", "a photo of my {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.", "a pixelated photo of the {}.", "itap of a {}.", "a {}.", "{}",
    "a good photo of the {}.", "a photo of one {}.", "a photo of the large {}.",
    "a photo of the {}.",
    "a photo of multiple {}", "a photo of multiple different {}", "there is a {} here",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What a caption says, as indices into names, COLOURS, COLOURS, LIGHTS; `ANY`: it is silent."""

    label: int
    colour: int = ANY
    background: int = ANY
    light: int = ANY

    def row(self) -> list[int]:
        """The four indices in order."""
        return [self.label, self.colour, self.background, self.light]


def name_colours(colours: Tensor) -> Tensor:
    """Names RGB colours: [..., 3] in 0..255 -> [...] indices into COLOURS, by hue bands of HSV."""
    rgb = colours.float() / 255
    value, low = rgb.amax(-1), rgb.amin(-1)
    spread = value - low
    saturation = spread / value.clamp_min(1e-6)
    red, green, blue = rgb.unbind(-1)
    safe = spread.clamp_min(1e-6)
    hue = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    degrees = hue * 60
    bands = torch.tensor([15.0, 45.0, 68.0, 165.0, 255.0, 290.0, 340.0])
    by_band = torch.tensor(
        [3, 4, 6, 7, 8, 9, 10, 3]
    )  # red orange yellow green blue purple pink red
    name = by_band[torch.bucketize(degrees, bands, right=True)]
    # Weak or dim warm hues look brown to a person.
    dull_red = (name == 3) & ((saturation < 0.4) | (value < 0.3))
    dull_warm = ((name == 4) | (name == 6)) & ((value < 0.62) | (saturation < 0.35))
    name = torch.where(dull_red | dull_warm, 5, name)
    gray = torch.where(value > 0.75, 2, 1)
    name = torch.where(saturation < torch.where(value > 0.5, 0.1, 0.16), gray, name)
    return torch.where(value < 0.2, 0, name)


def look(images: Tensor) -> Tensor:
    """Reads colour, background and light off the pixels: [n, 3, 32, 32] uint8 -> [n, 3] indices.

    Colour: the mean of the central 14 x 14 pixels, where a pixel weighs as much as it is colourful.
    Background: the same of the outer ring, four pixels wide. Light: the mean luminance (Rec. 601)
    of all pixels against DARK and BRIGHT.
    """
    floats = images.float()
    weights = floats.amax(1) - floats.amin(1) + 10
    ring = torch.ones(images.shape[-2:], dtype=torch.bool)
    ring[4:-4, 4:-4] = False
    centre = torch.zeros_like(ring)
    centre[9:23, 9:23] = True
    means = [
        (floats[:, :, area] * weights[:, None, area]).sum(2) / weights[:, area].sum(1, keepdim=True)
        for area in (centre, ring)
    ]
    luminance = floats.mean((2, 3)) @ torch.tensor([0.299, 0.587, 0.114])
    light = 1 + (luminance > BRIGHT).long() - (luminance < DARK).long()
    return torch.stack([name_colours(means[0]), name_colours(means[1]), light], 1)


def describe(facts: Facts, noun: str) -> str:
    """The caption without its opening: "a brown dog on a green background, bright"."""
    subject = noun if facts.colour == ANY else f"{COLOURS[facts.colour]} {noun}"
    text = f"{article(subject)} {subject}"
    if facts.background != ANY:
        behind = COLOURS[facts.background]
        text += f" on {article(behind)} {behind} background"
    if facts.light != ANY and LIGHTS[facts.light]:
        text += f", {LIGHTS[facts.light]}"
    return text


def caption(facts: Facts, names: Sequence[str]) -> str:
    """The full caption of a photograph: "a photo of a brown dog on a green background, bright"."""
    return "a photo of " + describe(facts, names[facts.label])


def article(word: str) -> str:
    """ "a" or "an"."""
    return "an" if word[0] in "aeiou" else "a"


def rephrase(facts: Facts, names: Sequence[str], rng: random.Random) -> tuple[str, Facts]:
    """One of many phrasings of (part of) the facts, and the facts that it states."""
    name = names[facts.label]
    lemmas = LEMMAS.get(name, (name,))
    noun = rng.choice(lemmas) if rng.random() < 0.3 else name
    kind = rng.random()
    if kind < 0.3:
        return caption_of(facts, noun, rng), facts
    if kind < 0.45:
        part = Facts(facts.label, *(v if rng.random() < 0.5 else ANY for v in facts.row()[1:]))
        if part.light != ANY and not LIGHTS[part.light]:
            part = Facts(part.label, part.colour, part.background)
        return caption_of(part, noun, rng), part
    only = Facts(facts.label)
    if kind < 0.65:
        many = ", ".join(lemmas) if rng.random() < 0.4 else noun
        return f"A photo of {many}.", only
    if kind < 0.9:
        return rng.choice(TEMPLATES).format(noun), only
    return f"This is an image of {noun}", only


def caption_of(facts: Facts, noun: str, rng: random.Random) -> str:
    """A description behind one of the openings that captions and prompts use."""
    text = describe(facts, noun)
    opening = rng.random()
    if opening < 0.5:
        return f"a photo of {text}"
    if opening < 0.8:
        return f"This is an image of {noun}, {text}"
    return text


def facts_of(labels: Tensor, looks: Tensor) -> list[Facts]:
    """[n] and [n, 3] -> one Facts a photograph."""
    return [Facts(*row) for row in torch.cat([labels[:, None], looks], 1).tolist()]
