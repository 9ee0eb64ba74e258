"""BURG's `simple`: "A photo of {all lemmas of the class}."."""

from gateway.methods.base import Needs
from gateway.methods.prompted import PromptedMethod

METHOD = PromptedMethod(
    id="simple",
    description="Text-to-image with one prompt: a photo of the class, by all its WordNet lemmas.",
    source="BURG, section 3 (prompts)",
    needs=Needs(prompt_strategy="simple", prompt_count=1),
)
