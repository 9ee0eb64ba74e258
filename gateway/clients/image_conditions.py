"""What the generator is told of the image that an image is made from."""

from dataclasses import dataclass

from variegate.generator.v1 import generator_pb2 as pb

from gateway.clients.tensors import Array, to_tensor
from gateway.methods.base import ConcatImage, PixelMix, StartImage
from gateway.plan import ModelInfo
from servicekit.errors import Precondition


@dataclass(frozen=True)
class ImageEmbedding:
    """An image condition: an embedding [d] of the model's own image encoder, noised."""

    vector: Array
    noise_level: int


ImageCondition = ConcatImage | StartImage | ImageEmbedding | PixelMix


def set_condition(
    condition: pb.ImageCondition, image: ImageCondition | None, model: ModelInfo
) -> None:
    """Fills in the condition as the model takes it. Raises Precondition if it does not."""
    match image:
        case ConcatImage(image_uri):
            condition.concat.image_uri = image_uri
        case StartImage(image_uri, strength):
            condition.start.image_uri = image_uri
            condition.start.strength = strength
        case PixelMix((first, second), share):
            condition.mixup.first_image_uri = first
            condition.mixup.second_image_uri = second
            condition.mixup.share = share
        case ImageEmbedding(vector, noise_level) if "adapter" in model.image_conditions:
            if noise_level:
                raise Precondition(
                    f"the model {model.name!r} reads image embeddings with an adapter, which adds "
                    f"no noise, and noise_level is {noise_level}; leave it at 0",
                    subject=model.name,
                    reason="NO_NOISE_LEVEL",
                )
            condition.adapter.embedding.CopyFrom(to_tensor(vector, model.image_encoder))
        case ImageEmbedding(vector, noise_level):
            condition.unclip.embedding.CopyFrom(to_tensor(vector, model.image_encoder))
            condition.unclip.noise_level = noise_level
