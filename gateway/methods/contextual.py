"""DIVERSIFY's contextual diversification: a language model varies the scene."""

from gateway.methods.base import Needs
from gateway.methods.prompted import PROMPTS_PER_CLASS, SENSES, PromptedMethod

METHOD = PromptedMethod(
    id="contextual",
    description="Text-to-image; a language model varies place, light, viewpoint and company.",
    source="DIVERSIFY, contextual diversification",
    needs=Needs(prompt_strategy="contextual", senses=True),
    parameters=(PROMPTS_PER_CLASS, SENSES),
)
