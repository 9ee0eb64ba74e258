"""The tuning methods: which text and which network each learns, and how."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A row of the table.

    `text` and `network` are files of the folders of those names. `mode` is that of the models that
    it tunes; with `is_beside` they are given the latent of another image of the class beside the
    noisy one. With `of_one_class` it learns from images of one class. `learning_rate` is that of
    a batch of REFERENCE_BATCH, of what is learned of the text if anything is; that of the network
    is `network_rate` times as high.
    """

    id: str
    description: str
    source: str
    text: str
    network: str
    learning_rate: float
    network_rate: float = 1.0
    mode: str = "text"
    is_beside: bool = False
    of_one_class: bool = True


REFERENCE_BATCH = 8
_BURG = "BURG, section 3.2"

# The learning rates are ours: the papers search for them or do not give them.
_ROWS = (
    Method(
        "textual_inversion",
        "One pseudo-word for a class, in random text templates; all else is frozen.",
        _BURG,
        text="word",
        network="frozen",
        learning_rate=5e-3,
    ),
    Method(
        "ft_conditioning",
        "One text conditioning for a class, in place of a prompt; the U-Net is frozen.",
        _BURG,
        text="matrix",
        network="frozen",
        learning_rate=2e-2,
    ),
    Method(
        "ft_cluster_conditioning",
        "A text conditioning for each cluster of the images of a class; the U-Net is frozen.",
        _BURG,
        text="clusters",
        network="frozen",
        learning_rate=2e-2,
    ),
    Method(
        "imagic",
        "One text conditioning for a class, and the U-Net with it.",
        _BURG,
        text="matrix",
        network="full",
        learning_rate=5e-3,
        network_rate=1e-2,
    ),
    Method(
        "pseudoword_dm",
        "One pseudo-word for a class, and the U-Net with it.",
        _BURG,
        text="word",
        network="full",
        learning_rate=5e-3,
        network_rate=1e-2,
    ),
    Method(
        "lora",
        "A low-rank change of the U-Net's attention, with prompts that name the class.",
        "Hu et al. 2021, section 4.1",
        text="prompt",
        network="lora",
        learning_rate=5e-4,
        of_one_class=False,
    ),
    Method(
        "pix2pix",
        "The U-Net of an InstructPix2Pix model, beside other images of the class and captions.",
        "MVC, section 3.3",
        text="prompt",
        network="full",
        learning_rate=5e-5,
        mode="pix2pix",
        is_beside=True,
        of_one_class=False,
    ),
)

METHODS: Mapping[str, Method] = {row.id: row for row in sorted(_ROWS, key=lambda row: row.id)}
