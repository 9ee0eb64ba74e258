"""Mixing Visual Concepts: mixed caption embeddings and a real image as conditions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway.methods.base import (
    ClassMaterial,
    ConcatImage,
    Draft,
    MixedText,
    Needs,
    Parameter,
    Slot,
    Values,
)
from gateway.methods.mixing import mvc


class MixingVisualConcepts:
    """Algorithm 1 on the captions of a class, with a random image of the class beside it."""

    id = "mvc"
    description = "Mixes the caption embeddings of a class, and adds one of its real images."
    source = "MVC, section 3.2 and Algorithm 1"
    model = "pix2pix"
    needs = Needs(captions=True)
    parameters: tuple[Parameter, ...] = (
        Parameter(
            name="coarse_steps",
            default=mvc.COARSE_STEPS,
            description="P, times that rows are replaced, in [0, 1000]. The default is ours.",
            minimum=0,
            maximum=1000,
        ),
        Parameter(
            name="fine_steps",
            default=mvc.FINE_STEPS,
            description="Q, times that a part of a row is replaced, in [0, 10000]. Default ours.",
            minimum=0,
            maximum=10000,
        ),
    )

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        return self.drafts([slot], material, values)[0]

    def drafts(self, slots: Sequence[Slot], material: ClassMaterial, values: Values) -> list[Draft]:
        mixes = mvc.draw(
            np.array([slot.seed for slot in slots], np.uint64),
            caption_count=len(material.captions),
            shape=material.text_shape,
            coarse_steps=int(values["coarse_steps"]),
            fine_steps=int(values["fine_steps"]),
        )
        every = zip(slots, mvc.describe(mixes), strict=True)
        return [self._draft(slot, drawn, material) for slot, drawn in every]

    def _draft(self, slot: Slot, drawn: Mapping[str, Any], material: ClassMaterial) -> Draft:
        captions = material.captions
        parent = material.parents[slot.choose("concat image", len(material.parents))]
        sources = [drawn["start"], *(edit[0] for edit in [*drawn["coarse"], *drawn["fine"]])]
        used = sorted(set(sources))
        return Draft(
            parents=(parent,),
            prompt=captions[drawn["start"]],
            text=_text(drawn, captions, used),
            image=ConcatImage(parent.image_uri),
            lineage={
                "mix": {**drawn, "captions": {str(number): captions[number] for number in used}},
                "single_caption": len(captions) == 1,
                "concat_sha256": parent.sha256,
            },
        )


def _text(drawn: Mapping[str, Any], captions: Sequence[str], used: Sequence[int]) -> MixedText:
    """Returns the mix of the captions that it uses, which are numbered anew."""
    places = {number: place for place, number in enumerate(used)}

    def placed(edits: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
        return tuple((places[source], *rest) for source, *rest in edits)

    texts = tuple(captions[number] for number in used)
    return MixedText(texts, places[drawn["start"]], placed(drawn["coarse"]), placed(drawn["fine"]))


METHOD = MixingVisualConcepts()
