"""DIVERSIFY's two diversifications together: scenes vary, and a share of them in styles."""

from gateway.methods.base import Needs
from gateway.methods.prompted import PROMPTS_PER_CLASS, SENSES, STYLE_SHARE, PromptedMethod

METHOD = PromptedMethod(
    id="contextual+stylized",
    description="Text-to-image; a language model varies the scene, and of a share the style.",
    source="DIVERSIFY, contextual and stylization diversification",
    needs=Needs(prompt_strategy="contextual", styled_strategy="contextual+stylized", senses=True),
    parameters=(PROMPTS_PER_CLASS, STYLE_SHARE, SENSES),
)
