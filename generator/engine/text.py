"""Text to image (Stable Diffusion): pure noise, guided by a prompt or an embedding."""

from collections.abc import Sequence

from torch import Tensor

from generator.engine.guidance import classifier_free
from generator.engine.items import Condition
from generator.engine.model import Model
from generator.engine.sample import Row, Sample, draw_noise


class TextMode:
    """Begins at noise; the condition is the text alone."""

    name = "text"
    model_mode = "text"
    condition: type[Condition] | None = None

    def begin(self, model: Model, samples: Sequence[Sample]) -> None:
        for sample in samples:
            sample.start_from_noise(draw_noise(model, sample))

    def rows(self, sample: Sample) -> list[Row]:
        conditional = Row(sample.text)
        return [Row(sample.negative), conditional] if sample.item.is_guided else [conditional]

    def combine(self, sample: Sample, predictions: Tensor) -> Tensor:
        return classifier_free(predictions, sample.item.guidance_scale)
