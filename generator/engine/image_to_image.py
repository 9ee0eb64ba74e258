"""Image to image (SDEdit): a real image, noised part of the way and denoised again.

Without text and guidance it is Boomerang (BURG, section 3.2).
"""

from collections.abc import Sequence

from torch import Tensor

from generator.engine.guidance import classifier_free
from generator.engine.items import Condition, Start
from generator.engine.model import Model
from generator.engine.sample import Row, Sample, draw_noise


class ImageToImageMode:
    """Begins at the noised latent of the start image."""

    name = "image_to_image"
    model_mode = "text"
    condition: type[Condition] | None = Start

    def begin(self, model: Model, samples: Sequence[Sample]) -> None:
        starts = [s.item.condition for s in samples if isinstance(s.item.condition, Start)]
        posteriors = model.autoencoder.posteriors([start.image for start in starts])
        for sample, start, posterior in zip(samples, starts, posteriors, strict=True):
            clean = posterior.sample(sample.generator) * model.autoencoder.scaling_factor
            sample.start_from_latent(clean, draw_noise(model, sample), start.strength)

    def rows(self, sample: Sample) -> list[Row]:
        conditional = Row(sample.text)
        return [Row(sample.negative), conditional] if sample.item.is_guided else [conditional]

    def combine(self, sample: Sample, predictions: Tensor) -> Tensor:
        return classifier_free(predictions, sample.item.guidance_scale)
