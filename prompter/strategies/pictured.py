"""DIVERSIFY's diversifications: a language model writes out planned scenes, styles, or both."""

from prompter.pictures import PictureStrategy

STRATEGY = (
    PictureStrategy(
        id="contextual",
        description="A language model varies place, light, viewpoint and company of the class.",
        source="DIVERSIFY, contextual diversification (CD)",
        scenes=True,
        styles=False,
    ),
    PictureStrategy(
        id="stylized",
        description="A language model shows the class in visual styles: sketches, paintings, toys.",
        source="DIVERSIFY, stylization diversification (SD)",
        scenes=False,
        styles=True,
    ),
    PictureStrategy(
        id="contextual+stylized",
        description="A language model varies both the scene and the visual style of the class.",
        source="DIVERSIFY, contextual and stylization diversification (CD + SD)",
        scenes=True,
        styles=True,
    ),
)
