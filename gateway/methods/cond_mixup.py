"""AUGCOND's MixUp: the pixels of two images of a class, mixed before they are embedded."""

from gateway.methods.base import ClassMaterial, Draft, Needs, PixelMix, PromptText, Slot, Values
from gateway.methods.mixing.embedding import EmbedMixUp


class MixUp:
    """Conditions on the embedding of a mix of two images of one class."""

    id = "cond_mixup"
    description = "Conditions on the embedding of two real images whose pixels are mixed."
    source = "AUGCOND, section 3 (MixUp)"
    model = "unclip"
    needs = Needs(image_embeddings=True)
    parameters = ()

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        parents = material.parents
        first = slot.choose("first image", len(parents))
        chosen, second = [parents[first]], first
        if len(parents) > 1:
            # The second is any image but the first.
            number = slot.choose("second image", len(parents) - 1)
            second = number + (number >= first)
            chosen.append(parents[second])
        # The same distribution as of MixUp of embeddings: l ~ Beta(1, 1).
        share = EmbedMixUp.draw(slot.seed, material.image_dimension).share
        prompt = f"a photo of a {material.display_name}"
        return Draft(
            parents=tuple(chosen),
            prompt=prompt,
            text=PromptText(prompt),
            image=PixelMix((parents[first].image_uri, parents[second].image_uri), share),
            lineage={"lambda": share} if len(chosen) > 1 else {"single_image": True},
        )


METHOD = MixUp()
