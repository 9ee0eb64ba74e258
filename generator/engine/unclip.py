"""Stable unCLIP: conditioned on an image embedding and the text (AUGCOND, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion.noise import normal
from generator.engine.guidance import classifier_free
from generator.engine.items import Condition, Unclip
from generator.engine.model import Model
from generator.engine.sample import Row, Sample, draw_noise


class UnclipMode:
    """Begins at noise; the noised image embedding and its noise level are the class label."""

    name = "unclip"
    model_mode = "unclip"
    condition: type[Condition] | None = Unclip

    def begin(self, model: Model, samples: Sequence[Sample]) -> None:
        conditions = [s.item.condition for s in samples if isinstance(s.item.condition, Unclip)]
        embeddings = model.encoders.images([condition.source for condition in conditions])
        for sample, condition, embedding in zip(samples, conditions, embeddings, strict=True):
            noise = normal((1, len(embedding)), sample.generator, model.device, model.dtype)
            label = model.pipeline.noise_image_embeddings(
                embedding[None], condition.noise_level, noise=noise
            )
            sample.label = label[0]
            sample.start_from_noise(draw_noise(model, sample))

    def rows(self, sample: Sample) -> list[Row]:
        conditional = Row(sample.text, label=sample.label)
        if not sample.item.is_guided or sample.label is None:
            return [conditional]
        return [Row(sample.negative, label=torch.zeros_like(sample.label)), conditional]

    def combine(self, sample: Sample, predictions: Tensor) -> Tensor:
        return classifier_free(predictions, sample.item.guidance_scale)
