"""BURG's `clip_templates`: a random one of CLIP's text templates for every image."""

from gateway.methods.base import Needs
from gateway.methods.prompted import PromptedMethod

METHOD = PromptedMethod(
    id="clip_templates",
    description="Text-to-image with a random one of CLIP's 80 ImageNet templates for every image; "
    "spaces inside a name are stripped, as in the paper: 'firetruck'.",
    source="BURG, section 3 (prompts)",
    needs=Needs(prompt_strategy="clip_templates"),
)
