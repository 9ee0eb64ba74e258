"""AUGCOND's ten ways to condition on real images of a class (section 3), as rows of a table.

A row says what is done to the pixels of two images before they are embedded, what to their
embeddings, and whether features are dropped afterwards. The text is the paper's few-shot prompt
unless another template is given; its long-tail prompt is the synset alone, "{c}".
"""

from dataclasses import dataclass

from gateway.datasets.manifest import DatasetItem
from gateway.digests import Plain
from gateway.methods.base import (
    ClassMaterial,
    Draft,
    EmbeddingMix,
    Image,
    Needs,
    Parameter,
    PixelMix,
    PromptText,
    Slot,
    Values,
)
from gateway.methods.mixing.embedding import DROPOUT, Dropout, EmbedCutMix, EmbedMixUp
from gateway.methods.mixing.pixels import CutMix, MixUp

_DROPOUT = Parameter(
    name="dropout",
    default=DROPOUT,
    description="Probability that a feature is set to zero, in [0, 1]; no rescaling.",
    minimum=0,
    maximum=1,
)
_NOISE_LEVEL = Parameter(
    name="noise_level",
    default=0,
    description="Noise on the embedding, in steps of the model's schedule, in [0, 999].",
    minimum=0,
    maximum=999,
)
_PROMPT = Parameter(
    name="prompt",
    default="a photo of a {c}",
    description="The text, with {c} for what texts call the class; for AUGCOND's long tail {c}.",
    in_prompt=True,
)


_NEEDS = Needs(image_embeddings=True)


@dataclass(frozen=True)
class ConditionedMethod:
    """Conditions on the embeddings of one or two real images of the class, augmented."""

    id: str
    description: str
    source: str
    pixels: type[MixUp] | type[CutMix] | None = None
    embeddings: type[EmbedMixUp] | type[EmbedCutMix] | None = None
    drops: bool = False
    model: str = "unclip"
    needs: Needs = _NEEDS

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What can be set."""
        return (*((_DROPOUT,) if self.drops else ()), _NOISE_LEVEL, _PROMPT)

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        mixes = self.pixels or self.embeddings
        parents = _choose(slot, material, 2 if mixes else 1)
        noise = int(values["noise_level"])
        dropout = Dropout(slot.seed, float(values["dropout"])) if self.drops else None
        image, drawn = self._image(slot, material, parents, dropout, noise)
        prompt = str(values["prompt"]).replace("{c}", material.display_name)
        lineage: dict[str, Plain] = {"noise_level": noise, **drawn}
        if mixes and len(parents) == 1:  # Of a class with one image there is nothing to mix.
            lineage["single_image"] = True
        if dropout:
            lineage |= dropout.lineage()
        return Draft(tuple(parents), prompt, PromptText(prompt), image, lineage)

    def _image(
        self,
        slot: Slot,
        material: ClassMaterial,
        parents: list[DatasetItem],
        dropout: Dropout | None,
        noise: int,
    ) -> tuple[Image, dict[str, Plain]]:
        uris = tuple(parent.image_uri for parent in parents)
        if len(uris) == 1:
            return EmbeddingMix(uris, None, dropout, noise), {}
        if self.pixels:
            mix = self.pixels.draw(slot.seed, material.image_dimension)
            return PixelMix((uris[0], uris[1]), mix, dropout, noise), {**mix.lineage()}
        assert self.embeddings
        blend = self.embeddings.draw(slot.seed, material.image_dimension)
        return EmbeddingMix(uris, blend, dropout, noise), {**blend.lineage()}


def _choose(slot: Slot, material: ClassMaterial, count: int) -> list[DatasetItem]:
    """Returns one image of the class, or two different ones where it has so many."""
    parents = material.parents
    first = slot.choose("first image", len(parents))
    chosen = [parents[first]]
    if count == 2 and len(parents) > 1:
        # The second is any image but the first.
        second = slot.choose("second image", len(parents) - 1)
        chosen.append(parents[second + (second >= first)])
    return chosen


METHOD = (
    ConditionedMethod(
        id="cond_image",
        description="Conditions on the embedding of a real image of the class.",
        source="AUGCOND, section 3 (no augmentation)",
    ),
    ConditionedMethod(
        id="cond_dropout",
        description="Conditions on the embedding of a real image, features of it dropped.",
        source="AUGCOND, section 3 (Dropout)",
        drops=True,
    ),
    ConditionedMethod(
        id="cond_mixup",
        description="Conditions on the embedding of two real images whose pixels are mixed.",
        source="AUGCOND, section 3 (MixUp)",
        pixels=MixUp,
    ),
    ConditionedMethod(
        id="cond_mixup_dropout",
        description="As cond_mixup, features of the embedding dropped.",
        source="AUGCOND, section 3 (MixUp-Dropout)",
        pixels=MixUp,
        drops=True,
    ),
    ConditionedMethod(
        id="cond_cutmix",
        description="Conditions on the embedding of a real image with a box of another in it.",
        source="AUGCOND, section 3 (CutMix)",
        pixels=CutMix,
    ),
    ConditionedMethod(
        id="cond_cutmix_dropout",
        description="As cond_cutmix, features of the embedding dropped.",
        source="AUGCOND, section 3 (CutMix-Dropout)",
        pixels=CutMix,
        drops=True,
    ),
    ConditionedMethod(
        id="cond_embed_mixup",
        description="Conditions on the weighted mean of the embeddings of two real images.",
        source="AUGCOND, section 3 (Embed-MixUp)",
        embeddings=EmbedMixUp,
    ),
    ConditionedMethod(
        id="cond_embed_mixup_dropout",
        description="As cond_embed_mixup, features of the embedding dropped.",
        source="AUGCOND, section 3 (Embed-MixUp-Dropout)",
        embeddings=EmbedMixUp,
        drops=True,
    ),
    ConditionedMethod(
        id="cond_embed_cutmix",
        description="Conditions on the embeddings of two real images, cut together.",
        source="AUGCOND, section 3 (Embed-CutMix)",
        embeddings=EmbedCutMix,
    ),
    ConditionedMethod(
        id="cond_embed_cutmix_dropout",
        description="As cond_embed_cutmix, features of the embedding dropped.",
        source="AUGCOND, section 3 (Embed-CutMix-Dropout)",
        embeddings=EmbedCutMix,
        drops=True,
    ),
)
