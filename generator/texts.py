"""Text conditions of messages."""

from collections.abc import Iterable, Mapping, Sequence

from variegate.artefacts.v1 import artefacts_pb2
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.card import ModelCard
from diffusion.embeddings import Text, WordedText
from diffusion.families.base import POOLED_TEXT, TEXT
from diffusion.mixing import CaptionMix
from diffusion.words import Word, words_in
from generator import tensors
from generator.artefacts import TextArtefacts, artefact_from_pb
from generator.reader import CallReader
from servicekit.errors import InvalidArgument


async def text_from_pb(text: pb.TextCondition, field: str, reader: CallReader) -> Text:
    """Returns what a message says of a text, with its artefacts read.

    Raises InvalidArgument naming the field that cannot be used, and UnknownArtefact.
    """
    plain = _without_artefacts(text, field, reader)
    artefacts = _artefacts(text.artefacts, f"{field}.artefacts")
    for own, artefact in artefacts.items():
        _check_place(artefact, text, own)
        if artefact.kind == Kind.CONDITIONING:
            return await reader.artefacts.conditioning(artefact, own, reader.card)
    return _worded(plain, await _words(artefacts, reader.card, reader.artefacts))


async def words_from_pb(
    messages: Iterable[artefacts_pb2.Artefact],
    field: str,
    card: ModelCard,
    artefacts: TextArtefacts,
) -> list[Word]:
    """Returns the words of artefacts of the kind TOKENS. Raises as `text_from_pb` does."""
    found = _artefacts(messages, field)
    for own, artefact in found.items():
        if artefact.kind != Kind.TOKENS:
            raise InvalidArgument(
                f"the kind is {artefact.kind.name}; only TOKENS have a word to count",
                field=f"{own}.kind",
                reason="WRONG_PLACE",
            )
    return await _words(found, card, artefacts)


def _artefacts(messages: Iterable[artefacts_pb2.Artefact], field: str) -> Mapping[str, Artefact]:
    """Returns artefacts by the paths of their fields."""
    named = {f"{field}[{number}]": message for number, message in enumerate(messages)}
    return {own: artefact_from_pb(message, own) for own, message in named.items()}


async def _words(
    artefacts: Mapping[str, Artefact], card: ModelCard, read: TextArtefacts
) -> list[Word]:
    words: dict[str, Word] = {}
    for field, artefact in artefacts.items():
        word = await read.word(artefact, field, card)
        if word.word in words:
            raise InvalidArgument(
                f"another artefact of the text has the word {word.word!r}, too; leave out one",
                field=field,
                reason="REPEATED_WORD",
            )
        words[word.word] = word
    return list(words.values())


def _without_artefacts(text: pb.TextCondition, field: str, reader: CallReader) -> Text:
    if text.WhichOneof("condition") == "mix":
        return _mix(text.mix)
    if text.WhichOneof("condition") != "embedding":
        return text.prompt
    encoder, model = reader.card.text_encoder, reader.card.name
    arrays = {TEXT: tensors.from_pb(text.embedding, f"{field}.embedding", encoder, model)}
    if text.HasField("pooled_embedding"):
        name = f"{field}.pooled_embedding"
        arrays[POOLED_TEXT] = tensors.from_pb(text.pooled_embedding, name, encoder, model)
    return arrays


def _mix(mix: pb.CaptionMix) -> CaptionMix:
    return CaptionMix(
        captions=tuple(mix.captions),
        start=mix.start,
        coarse=tuple((edit.source, edit.first, edit.end) for edit in mix.coarse),
        fine=tuple((edit.source, edit.row, edit.first, edit.end) for edit in mix.fine),
    )


def _worded(text: Text, words: Sequence[Word]) -> Text:
    """Returns the text with those of the words that stand in it: without any it is the same."""
    if not isinstance(text, str | CaptionMix):
        return text
    captions = [text] if isinstance(text, str) else text.captions
    found = {word for caption in captions for word in words_in(caption, words)}
    used = tuple(word for word in words if word in found)
    return WordedText(text, used) if used else text


def _check_place(artefact: Artefact, text: pb.TextCondition, field: str) -> None:
    kind, condition = artefact.kind, text.WhichOneof("condition")
    if kind not in (Kind.TOKENS, Kind.CONDITIONING):
        raise InvalidArgument(
            f"artefacts of the kind {kind.name} change the model for all items; put this one into "
            "the artefacts of the call",
            field=f"{field}.kind",
            reason="WRONG_PLACE",
        )
    if kind == Kind.CONDITIONING and (condition or len(text.artefacts) > 1):
        other = f"the {condition}" if condition else "the other artefacts"
        raise InvalidArgument(
            f"an artefact of the kind CONDITIONING is the whole text; leave out {other}",
            field=field,
            reason="TWO_TEXTS",
        )
    if kind == Kind.TOKENS and condition == "embedding":
        raise InvalidArgument(
            "the embedding of a text is beyond the tokens that an artefact of the kind TOKENS is "
            "of; give the prompt, or leave out the artefact",
            field=field,
            reason="TWO_TEXTS",
        )
