"""BURG's `simple` without white space inside the names, which tells "drum stick" from sticks."""

from gateway.methods.base import Needs
from gateway.methods.prompted import PromptedMethod

METHOD = PromptedMethod(
    id="simple_no_ws",
    description="As simple, spaces inside a name stripped, as in the paper: 'firetruck'.",
    source="BURG, section 3 (tackling class ambiguity)",
    needs=Needs(prompt_strategy="simple_no_ws", prompt_count=1),
)
