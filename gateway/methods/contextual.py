"""DIVERSIFY's contextual diversification: a language model varies the scene."""

from gateway.methods.base import Needs, Parameter
from gateway.methods.prompted import PromptedMethod

METHOD = PromptedMethod(
    id="contextual",
    description="Text-to-image; a language model varies place, light, viewpoint and company.",
    source="DIVERSIFY, contextual diversification",
    needs=Needs(prompt_strategy="contextual"),
    parameters=(
        Parameter(
            name="prompts_per_class",
            default=8,
            description="Different prompts that the language model writes per class, in [1, 1000].",
            minimum=1,
            maximum=1000,
        ),
    ),
)
