"""Plain text-to-image: a prompt of a strategy, and nothing else (BURG, section 3; DIVERSIFY)."""

from dataclasses import dataclass

from gateway.methods.base import (
    ClassMaterial,
    Draft,
    Needs,
    Parameter,
    PromptText,
    Slot,
    StyledPrompt,
    Values,
    prompt_lineage,
    prompt_number,
)

PROMPTS_PER_CLASS = Parameter(
    name="prompts_per_class",
    default=8,
    description="Different prompts that the language model writes per class, in [1, 1000].",
    minimum=1,
    maximum=1000,
)
SENSES = Parameter(
    name="senses",
    default="",
    description="Meanings pinned by hand, 'CLASS=crane.n.05;CLASS=words'; others are found.",
)
# Half at most: photographs must never drown.
STYLE_SHARE = Parameter(
    name="style_share",
    default=0.25,
    description="Share of images that are no photographs, in [0, 0.5]. The default is ours.",
    minimum=0,
    maximum=0.5,
)


@dataclass(frozen=True)
class PromptedMethod:
    """A method that differs from its siblings in the prompter's strategies only.

    `kinds` is the number of kinds of prompts that take turns, each with an equal share of images.
    """

    id: str
    description: str
    source: str
    needs: Needs
    parameters: tuple[Parameter, ...] = ()
    model: str = "text"
    kinds: int = 1

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        number = prompt_number(slot, material, self.kinds)
        lineage = prompt_lineage(number, material, self.needs.prompt_strategy)
        if styled := _styled(slot, material, float(values.get("style_share", 0))):
            strategy = {"prompt_strategy": self.needs.styled_strategy, "style": styled.style}
            lineage = {**lineage, **strategy, "llm": styled.model}
            return Draft(prompt=styled.text, text=PromptText(styled.text), lineage=lineage)
        prompt = material.prompts[number]
        return Draft(prompt=prompt, text=PromptText(prompt), lineage=lineage)


def _styled(slot: Slot, material: ClassMaterial, share: float) -> StyledPrompt | None:
    """Returns the styled prompt of a slot; None for a photograph.

    Slots are spread evenly, so that no first n images of a class have more than their share.
    """
    earlier, now = int(slot.index * share), int((slot.index + 1) * share)
    if not material.styled or earlier == now:
        return None
    return material.styled[(earlier + slot.attempt) % len(material.styled)]


METHOD = (
    PromptedMethod(
        id="simple",
        description="Text-to-image with one prompt: a photo of the class, by all its WordNet "
        "lemmas.",
        source="BURG, section 3 (prompts)",
        needs=Needs(prompt_strategy="simple", prompt_count=1),
    ),
    PromptedMethod(  # Which tells "drum stick" from sticks.
        id="simple_no_ws",
        description="As simple, spaces inside a name stripped, as in the paper: 'firetruck'.",
        source="BURG, section 3 (tackling class ambiguity)",
        needs=Needs(prompt_strategy="simple_no_ws", prompt_count=1),
    ),
    PromptedMethod(
        id="clip_templates",
        description="Text-to-image with a random one of CLIP's 80 ImageNet templates for every "
        "image; spaces inside a name are stripped, as in the paper: 'firetruck'.",
        source="BURG, section 3 (prompts)",
        needs=Needs(prompt_strategy="clip_templates"),
    ),
    PromptedMethod(
        id="sariyildiz",
        description="Text-to-image with six kinds of prompts in equal shares: name, hypernym, "
        "multiple, multiple different, definition, background.",
        source="BURG, section 3 (prompts, after Sariyildiz et al.)",
        needs=Needs(prompt_strategy="sariyildiz"),
        kinds=6,
    ),
    PromptedMethod(
        id="contextual",
        description="Text-to-image; a language model varies place, light, viewpoint and company.",
        source="DIVERSIFY, contextual diversification",
        needs=Needs(prompt_strategy="contextual", senses=True),
        parameters=(PROMPTS_PER_CLASS, SENSES),
    ),
    PromptedMethod(
        id="stylized",
        description="Text-to-image; a share of the images is shown in styles, the rest are photos.",
        source="DIVERSIFY, stylization diversification",
        needs=Needs(
            prompt_strategy="simple", prompt_count=1, styled_strategy="stylized", senses=True
        ),
        parameters=(PROMPTS_PER_CLASS, STYLE_SHARE, SENSES),
    ),
    PromptedMethod(
        id="contextual+stylized",
        description="Text-to-image; a language model varies the scene, and of a share the style.",
        source="DIVERSIFY, contextual and stylization diversification",
        needs=Needs(
            prompt_strategy="contextual", styled_strategy="contextual+stylized", senses=True
        ),
        parameters=(PROMPTS_PER_CLASS, STYLE_SHARE, SENSES),
    ),
)
