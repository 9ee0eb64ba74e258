"""Style diversification: a language model describes the class as sketch, toy, mosaic and so on."""

from prompter.pictures import PictureStrategy

STRATEGY = PictureStrategy(
    id="stylized",
    description="A language model shows the class in visual styles: sketches, paintings, toys.",
    source="DIVERSIFY, stylization diversification (SD)",
    scenes=False,
    styles=True,
)
