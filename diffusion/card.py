"""What is known of a model from its folder, before any weight is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffusion.errors import BrokenModel
from diffusion.families.base import IMAGE_EMBEDDING, SCALE, TEXT
from diffusion.families.registry import family_of
from diffusion.folder import ModelFolder
from diffusion.ip_adapter import ENCODER, find_adapter, has_encoder
from diffusion.schedules.tables import version_of

# What image conditions may use of a model with an adapter, besides what its family has.
ADAPTED = (IMAGE_EMBEDDING, SCALE)


@dataclass(frozen=True)
class ModelCard:
    """A model: what it takes and what it makes.

    `digest` is the SHA-256 of its weights and configuration, in hexadecimal. `text_shapes` are
    those of the tensors that stand for a text, by the names of its family, and `token_widths` the
    lengths of a token's vector in each text encoder. `accepts` is what an image condition may use
    of it, and with `needs_image` there must be one. `image_encoder` is empty and `image_dimension`
    0 if it has no image encoder. `adapter` is the file of its IP-Adapter, "" without one; a model
    that `takes_adapter` can be given one.
    `steps_version` is that of the arithmetic of its steps.
    """

    name: str
    folder: Path
    mode: str
    pipeline: str
    digest: str
    text_encoder: str
    text_shapes: Mapping[str, tuple[int, ...]]
    token_widths: Mapping[str, int]
    image_encoder: str
    image_dimension: int
    width: int
    height: int
    default_steps: int
    default_guidance_scale: float
    accepts: tuple[str, ...] = ()
    needs_image: bool = False
    adapter: str = ""
    takes_adapter: bool = False
    # "fp16" where only such files hold the weights of a part; None loads the plain ones.
    weights_variant: str | None = None
    steps_version: int = 1

    @property
    def text_shape(self) -> tuple[int, int]:
        """The shape [m, d] of the matrix that stands for a text."""
        tokens, width = self.text_shapes[TEXT]
        return tokens, width


def read_card(path: Path) -> ModelCard:
    """Reads the card of a diffusers folder, and `variegate.json` for the defaults if it is there.

    Raises BrokenModel with a sentence if a file is missing or damaged, or no family serves it.
    """
    folder = ModelFolder(path)
    index = folder.json("model_index.json")
    pipeline = str(index.get("_class_name"))
    family = family_of(pipeline, folder.name)
    text_shapes = family.text_shapes(folder)
    unet, vae = folder.json("unet/config.json"), folder.json("vae/config.json")
    adapter = find_adapter(folder)
    if adapter and not family.takes_adapter:
        raise BrokenModel(
            folder.name, f"it is of {family.title}, which takes no adapter; remove {adapter}"
        )
    has_own_encoder = bool((index.get(ENCODER) or [None])[0])
    has_vision = has_own_encoder or (family.takes_adapter and has_encoder(folder))
    vision = folder.json(f"{ENCODER}/config.json") if has_vision else {}
    own = folder.own_defaults()
    parts = ["unet", "vae", *family.text_encoders]
    with_encoder = has_own_encoder and not adapter
    variant = folder.weights_variant([*parts, ENCODER] if with_encoder else parts)
    side = int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
    image_encoder = own.get("image_encoder") or folder.part_id(ENCODER) if vision else ""
    return ModelCard(
        name=folder.name,
        folder=path,
        mode=family.mode,
        pipeline=pipeline,
        digest=folder.digest(),
        text_encoder=own.get("text_encoder") or folder.part_id(*family.text_encoders),
        text_shapes=text_shapes,
        token_widths={
            part: int(folder.json(f"{part}/config.json")["hidden_size"])
            for part in family.text_encoders
        },
        image_encoder=image_encoder,
        image_dimension=int(vision.get("projection_dim", 0)),
        width=int(own.get("width", side)),
        height=int(own.get("height", side)),
        default_steps=int(own.get("steps", 50)),
        default_guidance_scale=float(own.get("guidance_scale", 7.5)),
        accepts=(*family.accepts, *ADAPTED) if adapter else family.accepts,
        needs_image=family.needs_image,
        adapter=adapter,
        takes_adapter=family.takes_adapter and has_vision and not adapter,
        weights_variant=variant,
        steps_version=version_of(folder.json("scheduler/scheduler_config.json")),
    )
