"""Rules and examples for the language model, shared by all tasks of a kind."""

from prompter.llm import Example, Guide

PICTURES = Guide(
    rules=(
        "You write short, concrete captions of pictures, as JSON. Go on from the opening. Show "
        "every fact that is given: style, place, light, viewpoint and company. Say only what can "
        "be seen, in one sentence of at most 25 words. Name no other animal or thing as the "
        "subject, and use your own words."
    ),
    examples=(
        Example(
            "Describe a photo of a teapot: on a wooden table, in soft overcast light, seen from "
            "above, beside a row of flowers.",
            ("on a wooden table beside a row of yellow flowers, seen from above in soft light",),
            "a photo of a teapot",
        ),
        Example(
            "Describe a photo of a lighthouse: on a cliff above the sea, at dusk, seen from a low "
            "angle, with birds overhead.",
            ("towering on a cliff above the dark sea at dusk, gulls circling overhead",),
            "a photo of a lighthouse",
        ),
        Example(
            "Describe a woodcut of a violin: in an empty room, with strong backlight, in a "
            "close-up, alone.",
            ("in an empty room, its strings cut in bold black lines against the light",),
            "a woodcut of a violin",
        ),
        Example(
            "Describe a plush toy of a castle.",
            ("with soft grey towers, stitched windows and a small felt flag",),
            "a plush toy of a castle",
        ),
    ),
)

STYLES = Guide(
    rules=(
        "You list visual styles, as JSON: kinds of pictures and made things, in two to four words "
        "each, no photographs and no sentences."
    ),
    examples=(
        Example(
            "List styles in which a teapot can be shown.",
            ("pencil sketch", "watercolour painting", "porcelain figure", "comic book drawing"),
        ),
        Example(
            "List styles in which a lighthouse can be shown.",
            ("oil painting", "paper collage", "stained glass window", "wooden toy"),
        ),
    ),
)

MEANINGS = Guide(
    rules=(
        "You list what a name can mean, as JSON: one short description of a thing that can be "
        "photographed for each meaning, the commonest first, without the name itself."
    ),
    examples=(
        Example(
            "What can the name 'jaguar' mean?",
            ("a large spotted wild cat of American forests", "a fast and costly British car"),
        ),
        Example(
            "What can the name 'bat' mean?",
            ("a small flying animal that is active at night", "a wooden club to hit a ball with"),
        ),
    ),
)
