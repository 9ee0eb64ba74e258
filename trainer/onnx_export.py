"""Writes a trained classifier as ONNX, with its normalisation inside, and checks it against torch.

The file needs nothing else to be used: pixels in, a logit a class out, and in its metadata the
class names and all that the card of the run says.
"""

import io
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.classifiers.building import build
from trainer.classifiers.table import Classifier, classifier_of
from trainer.runs import RunSpec

ONNX = "model.onnx"
_INPUT, _OUTPUT = "images", "logits"
# Of the largest logit: both compute in float32, in another order.
_TOLERANCE = 1e-3

_log = logging.getLogger(__name__)


class OfPixels(nn.Module):
    """A network with its normalisation before it."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, classifier: Classifier) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(classifier.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(classifier.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Takes float32 [B, 3, H, W], RGB in 0 to 1, to logits [B, classes]."""
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def export_onnx(spec: RunSpec, weights: Mapping[str, Tensor], images: Tensor) -> str:
    """Writes `model.onnx` into the spec's folder; returns why it is not there, "" if it is.

    `images`, uint8 [B, H, W, 3], are what it is checked with: its logits have to be those of torch
    but for rounding. A classifier that cannot be exported is no less trained, so nothing is raised.
    """
    classifier = classifier_of(spec.classifier)
    try:
        network = build(classifier, len(spec.class_names))
        network.load_state_dict({name: value.cpu() for name, value in weights.items()})
        model = OfPixels(network, classifier).eval()
        pixels = images.permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            wanted = model(pixels).numpy()
        _fix_size(network, spec.image_size)
        data = _exported(model, pixels, spec)
        _check(data, pixels.numpy(), wanted)
    except Exception as error:  # of torch's exporter, of onnx or of onnxruntime, of any kind
        _log.warning("%s cannot be exported to ONNX", spec.classifier, exc_info=True)
        return f"{spec.classifier!r} cannot be exported to ONNX: {_first_line(error)}"
    staged = Path(spec.folder) / f"{ONNX}.part"
    staged.write_bytes(data)
    staged.replace(Path(spec.folder) / ONNX)
    return ""


def _exported(model: nn.Module, pixels: Tensor, spec: RunSpec) -> bytes:
    import onnx

    file: Any = io.BytesIO()  # which torch takes, whatever its types say
    # By tracing, in a second: torch's newer exporter takes ten to thirty for the same graph. Its
    # warnings are about itself, and what it makes is checked.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (pixels,),
            file,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_axes={_INPUT: {0: "batch"}, _OUTPUT: {0: "batch"}},
            dynamo=False,
        )
    proto: Any = onnx.load_model_from_string(file.getvalue())
    for key, value in _metadata(spec).items():
        proto.metadata_props.add(key=key, value=value)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _metadata(spec: RunSpec) -> dict[str, str]:
    card = spec.card() | {"normalisation": "inside"}
    side = spec.image_size
    return {
        "class_names": json.dumps(spec.class_names, ensure_ascii=False),
        "card": json.dumps(card, sort_keys=True, ensure_ascii=False),
        _INPUT: f"float32 [batch, 3, {side}, {side}], RGB, 0 to 1, scaled and centre-cropped",
        _OUTPUT: "float32 [batch, classes], in the order of class_names",
    }


def _fix_size(network: nn.Module, side: int) -> None:
    """Has a transformer resample its positions, for which ONNX has no operator, to this size."""
    if getattr(network, "dynamic_img_size", False):
        transformer: Any = network
        patch = transformer.patch_embed.patch_size[0]
        whole = -(-side // patch) * patch  # Images are padded to whole patches.
        transformer.set_input_size(img_size=(whole, whole))


def _check(data: bytes, pixels: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run([_OUTPUT], {_INPUT: pixels})[0]
    difference = float(np.abs(found - wanted).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise ArithmeticError(f"its logits differ from those of torch by {difference:.3g}")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
