"""InstructPix2Pix: the latent of a real image lies beside the noisy one (MVC, section 3.3).

The U-Net has twice the latent's channels. Guidance is of the text, with the image kept in both rows
(MVC, Eq. 6); an image guidance scale above 1 adds a third row without the image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from generator.engine.guidance import classifier_free
from generator.engine.items import Concat, Condition
from generator.engine.model import Model
from generator.engine.sample import Row, Sample, draw_noise


class Pix2PixMode:
    """Begins at noise; the condition is the text and the image beside."""

    name = "pix2pix"
    model_mode = "pix2pix"
    condition: type[Condition] | None = Concat

    def begin(self, model: Model, samples: Sequence[Sample]) -> None:
        images = [_concat(sample).image for sample in samples]
        for sample, posterior in zip(samples, model.autoencoder.posteriors(images), strict=True):
            # As in InstructPix2Pix the mode of the posterior, and not scaled.
            sample.beside = posterior.mode()[0]
            sample.start_from_noise(draw_noise(model, sample))

    def rows(self, sample: Sample) -> list[Row]:
        conditional = Row(sample.text, sample.beside)
        if not sample.item.is_guided:
            return [conditional]
        rows = [Row(sample.negative, sample.beside), conditional]
        if _concat(sample).image_guidance_scale > 1 and sample.beside is not None:
            rows.append(Row(sample.negative, torch.zeros_like(sample.beside)))
        return rows

    def combine(self, sample: Sample, predictions: Tensor) -> Tensor:
        guided = classifier_free(predictions[:2], sample.item.guidance_scale)
        if len(predictions) < 3:
            return guided
        with_image, without_image = predictions[:1], predictions[2:]
        extra = _concat(sample).image_guidance_scale - 1
        return guided + extra * (with_image - without_image)


def _concat(sample: Sample) -> Concat:
    condition = sample.item.condition
    if not isinstance(condition, Concat):
        raise TypeError(f"a pix2pix sample has the condition {type(condition).__name__}")
    return condition
