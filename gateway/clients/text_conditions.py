"""What the generator is told of the text that an image is made from, and of artefacts."""

from collections.abc import Sequence

from variegate.artefacts.v1 import artefacts_pb2
from variegate.generator.v1 import generator_pb2 as pb

from gateway.methods.artefacts import Artefact
from gateway.methods.base import MixedText


def set_text(
    condition: pb.TextCondition, text: str | MixedText | None, artefacts: Sequence[Artefact]
) -> None:
    """Fills in a text with the artefacts that are of it."""
    if isinstance(text, str):
        condition.prompt = text
    elif text is not None:
        _set_mix(condition.mix, text)
    condition.artefacts.extend(map(to_message, artefacts))


def to_message(artefact: Artefact) -> artefacts_pb2.Artefact:
    """Returns the message that names an artefact."""
    return artefacts_pb2.Artefact(
        uri=artefact.uri, sha256=artefact.sha256, kind=f"ARTEFACT_KIND_{artefact.kind}"
    )


def _set_mix(mix: pb.CaptionMix, text: MixedText) -> None:
    mix.captions.extend(text.captions)
    mix.start = text.start
    for source, first, end in text.coarse:
        mix.coarse.add(source=source, first=first, end=end)
    for source, row, first, end in text.fine:
        mix.fine.add(source=source, row=row, first=first, end=end)
