"""The messages that tell the generator which image an image is made from."""

from collections.abc import Sequence
from dataclasses import dataclass

from variegate.generator.v1 import generator_pb2 as pb

from gateway.clients.tensors import Array, to_tensor
from gateway.methods.artefacts import Artefact
from gateway.methods.base import ConcatImage, PixelMix, StartImage
from gateway.methods.mixing.pixels import MixUp
from gateway.plan import GeneratorModel
from servicekit.errors import Precondition


@dataclass(frozen=True)
class ImageEmbedding:
    """An image condition: an embedding [d] of the model's own image encoder, noised."""

    vector: Array
    noise_level: int


ImageCondition = ConcatImage | StartImage | ImageEmbedding | PixelMix


def set_condition(
    condition: pb.ImageCondition,
    image: ImageCondition | None,
    model: GeneratorModel,
    artefacts: Sequence[Artefact] = (),
) -> None:
    """Fills in the condition as the model with the artefacts takes it.

    Raises Precondition if it does not.
    """
    has_adapter = model.takes_adapter_images(artefacts)
    match image:
        case ConcatImage(image_uri):
            condition.concat.image_uri = image_uri
        case StartImage(image_uri, strength):
            condition.start.image_uri = image_uri
            condition.start.strength = strength
        case PixelMix():
            _set_mix(condition, image, model, has_adapter=has_adapter)
        case ImageEmbedding(vector, noise_level) if has_adapter:
            _refuse_noise(noise_level, model)
            condition.adapter.embedding.CopyFrom(to_tensor(vector, model.image_encoder))
        case ImageEmbedding(vector, noise_level):
            condition.unclip.embedding.CopyFrom(to_tensor(vector, model.image_encoder))
            condition.unclip.noise_level = noise_level


def _set_mix(
    condition: pb.ImageCondition, image: PixelMix, model: GeneratorModel, *, has_adapter: bool
) -> None:
    if has_adapter:
        _refuse_noise(image.noise_level, model)
    message: pb.MixUpImage | pb.CutMixImage
    if isinstance(image.mix, MixUp):
        message = condition.mixup
        message.share = image.mix.share
    else:
        message = condition.cutmix
        message.left, message.top = image.mix.left, image.mix.top
        message.right, message.bottom = image.mix.right, image.mix.bottom
    message.first_image_uri, message.second_image_uri = image.image_uris
    message.noise_level = image.noise_level
    if image.dropout:
        message.zeroed_features.extend(image.dropout.zeroed(model.image_dimension))


def _refuse_noise(noise_level: int, model: GeneratorModel) -> None:
    if noise_level:
        raise Precondition(
            f"the model {model.name!r} reads image embeddings with an adapter, which adds no "
            f"noise, and noise_level is {noise_level}; leave it at 0",
            subject=model.name,
            reason="NO_NOISE_LEVEL",
        )
