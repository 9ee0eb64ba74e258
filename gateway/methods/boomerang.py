"""BURG's Boomerang: a real image, noised part of the way and denoised without a prompt."""

from gateway.methods.base import ClassMaterial, Draft, Needs, Parameter, Slot, StartImage, Values


class Boomerang:
    """Image to image with neither text nor guidance (BURG, section 3; Luzi et al. 2022)."""

    id = "boomerang"
    description = "Noises a real image part of the way and denoises it again, without a prompt."
    source = "BURG, section 3 (unconditional generation)"
    model = "text"
    needs = Needs(parents=True, no_guidance=True)
    parameters = (
        Parameter(
            name="strength",
            default=0.5,
            description="Share of the noise schedule that is run, in [0, 1]; 0 gives the image "
            "itself, 1 forgets it. The default is ours.",
            minimum=0,
            maximum=1,
        ),
    )

    def draft(self, slot: Slot, material: ClassMaterial, values: Values) -> Draft:
        parent = material.parents[slot.choose("start image", len(material.parents))]
        strength = float(values["strength"])
        return Draft(
            parents=(parent,),
            image=StartImage(parent.image_uri, strength),
            lineage={"strength": strength},
        )


METHOD = Boomerang()
