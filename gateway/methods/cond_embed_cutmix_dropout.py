"""AUGCOND's Embed-CutMix with dropout: two image embeddings of a class, cut together."""

from gateway.methods.base import (
    ClassMaterial,
    Draft,
    EmbeddingMix,
    Needs,
    Parameter,
    PromptText,
    Slot,
    Values,
)
from gateway.methods.mixing.embedding import DROPOUT, Dropout, EmbedCutMix


class EmbedCutMixDropout:
    """Conditions on a cut of two embeddings of one class, after dropout."""

    id = "cond_embed_cutmix_dropout"
    description = "Conditions on the embeddings of two real images, cut together and thinned out."
    source = "AUGCOND, section 3 (Embed-CutMix-Dropout)"
    model = "unclip"
    needs = Needs(image_embeddings=True)
    parameters = (
        Parameter(
            name="dropout",
            default=DROPOUT,
            description="Probability that a feature is set to zero, in [0, 1]; no rescaling.",
            minimum=0,
            maximum=1,
        ),
        Parameter(
            name="noise_level",
            default=0,
            description="Noise on the embedding, in steps of the model's schedule, in [0, 999].",
            minimum=0,
            maximum=999,
        ),
    )

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        parents = material.parents
        first = slot.choose("first image", len(parents))
        chosen = [parents[first]]
        blend = None
        if len(parents) > 1:
            # The second is any image but the first.
            second = slot.choose("second image", len(parents) - 1)
            chosen.append(parents[second + (second >= first)])
            blend = EmbedCutMix.draw(slot.seed, material.image_dimension)
        dropout = Dropout(slot.seed, float(values["dropout"]))
        noise_level = int(values["noise_level"])
        prompt = f"a photo of a {material.display_name}"
        return Draft(
            parents=tuple(chosen),
            prompt=prompt,
            text=PromptText(prompt),
            image=EmbeddingMix(tuple(i.image_uri for i in chosen), blend, dropout, noise_level),
            lineage={
                **(blend.lineage() if blend else {"single_image": True}),
                **dropout.lineage(),
                "noise_level": noise_level,
            },
        )


METHOD = EmbedCutMixDropout()
