"""Contextual diversification: a language model writes out planned scenes."""

from prompter.pictures import PictureStrategy

STRATEGY = PictureStrategy(
    id="contextual",
    description="A language model varies place, light, viewpoint and company of the class.",
    source="DIVERSIFY, contextual diversification (CD)",
    scenes=True,
    styles=False,
)
