"""Plain text-to-image: a prompt of a strategy, and nothing else."""

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
    prompt_of,
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
    """A method that differs from its siblings in the prompter's strategies only."""

    id: str
    description: str
    source: str
    needs: Needs
    parameters: tuple[Parameter, ...] = ()
    model: str = "text"

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        lineage = prompt_lineage(slot, material, self.needs.prompt_strategy)
        if styled := _styled(slot, material, float(values.get("style_share", 0))):
            strategy = {"prompt_strategy": self.needs.styled_strategy, "style": styled.style}
            lineage = {**lineage, **strategy, "llm": styled.model}
            return Draft(prompt=styled.text, text=PromptText(styled.text), lineage=lineage)
        prompt = prompt_of(slot, material)
        return Draft(prompt=prompt, text=PromptText(prompt), lineage=lineage)


def _styled(slot: Slot, material: ClassMaterial, share: float) -> StyledPrompt | None:
    """Returns the styled prompt of a slot; None for a photograph.

    Slots are spread evenly, so that no first n images of a class have more than their share.
    """
    earlier, now = int(slot.index * share), int((slot.index + 1) * share)
    if not material.styled or earlier == now:
        return None
    return material.styled[(earlier + slot.attempt) % len(material.styled)]
