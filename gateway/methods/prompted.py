"""Plain text-to-image: a prompt of a strategy, and nothing else."""

from dataclasses import dataclass

from gateway.methods.base import (
    ClassMaterial,
    Draft,
    Needs,
    Parameter,
    PromptText,
    Slot,
    Values,
    prompt_lineage,
    prompt_of,
)


@dataclass(frozen=True)
class PromptedMethod:
    """A method that differs from its siblings in the prompter's strategy only."""

    id: str
    description: str
    source: str
    needs: Needs
    parameters: tuple[Parameter, ...] = ()
    model: str = "text"

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        prompt = prompt_of(slot, material)
        lineage = prompt_lineage(slot, material, self.needs.prompt_strategy)
        return Draft(prompt=prompt, text=PromptText(prompt), lineage=lineage)
