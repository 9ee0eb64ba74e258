"""MVC for general data sets: mixed concepts, and images of the pretrained text-to-image model."""

from collections.abc import Sequence
from fractions import Fraction

from gateway.methods.base import (
    ClassMaterial,
    Draft,
    Needs,
    Parameter,
    PromptText,
    Slot,
    Values,
)
from gateway.methods.mvc import MixingVisualConcepts

_SHARE = "pretrained_share"


class Captioned:
    """Text to image with the caption of a random training image of the class, unmixed."""

    id = "captions"
    description = "Text-to-image prompted with the caption of a random training image of the class."
    source = "MVC, section 3.3 (images of the pretrained model)"
    model = "text"
    needs = Needs(captions=True)
    parameters = ()

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        number = slot.choose("caption", len(material.captions))
        caption = material.captions[number]
        return Draft(prompt=caption, text=PromptText(caption), lineage={"caption": number})


class MixingWithPretrained:
    """As the paper augments CIFAR-10 and CIFAR-100: the pretrained model adds diversity that MVC,
    which stays within the data's domain, does not have. The paper gives no share."""

    id = "mvc+pretrained"
    description = "Images of mvc, and of the pretrained text-to-image model prompted with captions."
    source = "MVC, sections 3.3 and 4 (general-purpose data sets)"
    needs = Needs(captions=True)
    methods = (MixingVisualConcepts.id, Captioned.id)
    parameters = (
        *MixingVisualConcepts.parameters,
        Parameter(
            name=_SHARE,
            default=0.5,
            description="Share of the images that the pretrained model makes, in [0, 1]. The "
            "default is ours.",
            minimum=0,
            maximum=1,
        ),
    )

    def shares(self, values: Values) -> Sequence[tuple[str, Fraction, Values]]:
        """Returns both methods with their shares."""
        pretrained = Fraction(str(values[_SHARE]))
        own = {name: value for name, value in values.items() if name != _SHARE}
        return (MixingVisualConcepts.id, 1 - pretrained, own), (Captioned.id, pretrained, {})


METHOD = (Captioned(), MixingWithPretrained())
