"""DIVERSIFY's stylization diversification: some images are sketches, paintings, toys and so on."""

from gateway.methods.base import Needs
from gateway.methods.prompted import PROMPTS_PER_CLASS, SENSES, STYLE_SHARE, PromptedMethod

METHOD = PromptedMethod(
    id="stylized",
    description="Text-to-image; a share of the images is shown in styles, the rest are photos.",
    source="DIVERSIFY, stylization diversification",
    needs=Needs(prompt_strategy="simple", prompt_count=1, styled_strategy="stylized", senses=True),
    parameters=(PROMPTS_PER_CLASS, STYLE_SHARE, SENSES),
)
