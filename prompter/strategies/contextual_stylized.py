"""Both diversifications: planned scenes in visual styles."""

from prompter.pictures import PictureStrategy

STRATEGY = PictureStrategy(
    id="contextual+stylized",
    description="A language model varies both the scene and the visual style of the class.",
    source="DIVERSIFY, contextual and stylization diversification (CD + SD)",
    scenes=True,
    styles=True,
)
