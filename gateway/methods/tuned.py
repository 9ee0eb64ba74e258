"""Methods that learn something of the real images first (BURG, section 3; MVC, section 3.3).

What is learned, a word, a text conditioning or the U-Net, is the trainer's, and the artefacts come
with the class's material. The rows differ in what the images are made of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.methods.artefacts import CLASS, Learned, Tuning
from gateway.methods.base import (
    ClassMaterial,
    Draft,
    Needs,
    Parameter,
    PromptText,
    Slot,
    Values,
    prompt_lineage,
    prompt_number,
)
from gateway.methods.mvc import MixingVisualConcepts

PARAMETERS = (
    Parameter(
        name="epochs",
        default=40,
        description="Epochs of tuning at most, in [1, 1000]; it stops where held-out images gain "
        "no more. As in BURG.",
        minimum=1,
        maximum=1000,
    ),
    Parameter(
        name="tuning_seed",
        default=0,
        description="Seed of the tuning, in [0, 99999]; images have their own.",
        minimum=0,
        maximum=99_999,
    ),
)
# Templates of a class; different ones of CLIP's 80 are fewer.
_TEMPLATES = 200


@dataclass(frozen=True)
class TunedMethod:
    """Text to image with what was learned of the class.

    A word stands in templates, a conditioning in place of a prompt; of several conditionings each
    is drawn as often as its cluster has images.
    """

    id: str
    description: str
    source: str
    needs: Needs
    model: str = "text"
    parameters: tuple[Parameter, ...] = PARAMETERS

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        of_text = [one for one in material.artefacts if one.kind.is_of_text]
        learned = tuple(one for one in material.artefacts if not one.kind.is_of_text)
        conditionings = [one for one in of_text if not one.word]
        if conditionings:
            chosen = _weighted(slot, conditionings)
            return Draft(
                artefacts=(chosen, *learned),
                lineage={"cluster": conditionings.index(chosen), "clusters": len(conditionings)},
            )
        number = prompt_number(slot, material)
        called = of_text[0].word if of_text else material.display_name
        prompt = material.prompts[number].replace(CLASS, called)
        lineage = prompt_lineage(number, material, self.needs.prompt_strategy)
        text = PromptText(prompt)
        return Draft(prompt=prompt, text=text, artefacts=(*of_text, *learned), lineage=lineage)


class TunedMixing(MixingVisualConcepts):
    """MVC with the U-Net tuned on the real images, as in the paper."""

    id = "mvc+tuned"
    description = "As mvc, with the U-Net tuned on the real images first."
    source = "MVC, section 3.3"
    needs = Needs(captions=True, tuning=Tuning("pix2pix", per_class=False))
    parameters = (*MixingVisualConcepts.parameters, *PARAMETERS)

    def drafts(self, slots: Sequence[Slot], material: ClassMaterial, values: Values) -> list[Draft]:
        drafts = super().drafts(slots, material, values)
        return [replace(draft, artefacts=material.artefacts) for draft in drafts]


def _weighted(slot: Slot, learned: Sequence[Learned]) -> Learned:
    """Draws one by the number of its images."""
    place = slot.choose("cluster", sum(max(1, one.image_count) for one in learned))
    for one in learned:
        place -= max(1, one.image_count)
        if place < 0:
            return one
    raise AssertionError("the numbers add up")


METHOD = (
    TunedMethod(
        id="textual_inversion",
        description="Learns a pseudo-word for each class, and prompts with it in CLIP's templates.",
        source="BURG, section 3 (textual inversion)",
        needs=Needs(
            tuning=Tuning("textual_inversion"),
            prompt_strategy="clip_templates",
            prompt_count=_TEMPLATES,
            parents=True,
        ),
    ),
    TunedMethod(
        id="pseudoword_dm",
        description="As textual_inversion, and tunes the U-Net with the word.",
        source="BURG, section 3 (pseudoword + DM)",
        needs=Needs(
            tuning=Tuning("pseudoword_dm"),
            prompt_strategy="clip_templates",
            prompt_count=_TEMPLATES,
            parents=True,
        ),
    ),
    TunedMethod(
        id="ft_conditioning",
        description="Learns a text conditioning for each class, in place of a prompt.",
        source="BURG, section 3 (fine-tuned conditioning)",
        needs=Needs(tuning=Tuning("ft_conditioning"), parents=True),
    ),
    TunedMethod(
        id="ft_cluster_conditioning",
        description="Learns a text conditioning for each of five clusters of a class's images.",
        source="BURG, section 3 (fine-tuned cluster conditioning)",
        needs=Needs(tuning=Tuning("ft_cluster_conditioning"), parents=True),
    ),
    TunedMethod(
        id="imagic",
        description="As ft_conditioning, and tunes the U-Net with the conditioning.",
        source="BURG, section 3 (Imagic)",
        needs=Needs(tuning=Tuning("imagic"), parents=True),
    ),
    TunedMethod(
        id="lora",
        description="Tunes a low-rank change of the U-Net on all classes, and prompts with CLIP's "
        "templates.",
        source="Hu et al. 2021",
        needs=Needs(
            tuning=Tuning("lora", per_class=False),
            prompt_strategy="clip_templates",
            prompt_count=_TEMPLATES,
            parents=True,
        ),
    ),
    TunedMixing(),
)
