"""Artefacts in messages and in the object store."""

import asyncio
from collections import OrderedDict

from variegate.artefacts.v1 import artefacts_pb2 as pb

from diffusion.artefacts.checks import check_fits
from diffusion.artefacts.errors import BadArtefact
from diffusion.artefacts.facts import Artefact, Kind
from diffusion.artefacts.files import read
from diffusion.card import ModelCard
from diffusion.embeddings import LearnedText
from diffusion.words import Word
from generator.engine.changed_models import Fetch
from generator.engine.errors import UnknownArtefact
from generator.tokenizers import Tokenizers
from servicekit.errors import InvalidArgument, NotFound
from servicekit.storage import ObjectStore, to_key

_PREFIX = "ARTEFACT_KIND_"

# What an artefact of a text is once it is read: of TOKENS and of CONDITIONING.
Learned = Word | LearnedText

# Of what is kept: model, kind and digest.
_Key = tuple[str, Kind, str]


def artefact_from_pb(message: pb.Artefact, field: str) -> Artefact:
    """Returns the artefact that a message names. Raises InvalidArgument for no URI of a store."""
    to_key(message.uri, f"{field}.uri")
    kind = Kind[pb.ArtefactKind.Name(message.kind).removeprefix(_PREFIX)]
    return Artefact(message.uri, message.sha256, kind)


def fetch_from(store: ObjectStore) -> Fetch:
    """Returns the function with which the engine fetches an artefact's bytes."""

    def fetch(uri: str) -> bytes:
        try:
            return store.get(to_key(uri, "artefacts.uri"))
        except NotFound as error:
            raise UnknownArtefact(uri) from error

    return fetch


class TextArtefacts:
    """The artefacts of texts that were used last: each is fetched and verified once.

    Up to `most_bytes` are kept. It belongs to the event loop.
    """

    def __init__(self, store: ObjectStore, tokenizers: Tokenizers, most_bytes: int) -> None:
        self._fetch, self._tokenizers, self._most = fetch_from(store), tokenizers, most_bytes
        self._kept: OrderedDict[_Key, Learned] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[Learned]] = {}
        self._bytes = 0

    async def word(self, artefact: Artefact, field: str, card: ModelCard) -> Word:
        """Returns the word of TOKENS. Raises UnknownArtefact, or InvalidArgument for `field` if
        the artefact is damaged or not of this model."""
        learned = await self._learned(artefact, field, card)
        assert isinstance(learned, Word)
        return learned

    async def conditioning(self, artefact: Artefact, field: str, card: ModelCard) -> LearnedText:
        """Returns what CONDITIONING puts in place of a text. Raises as `word` does."""
        learned = await self._learned(artefact, field, card)
        assert isinstance(learned, LearnedText)
        return learned

    async def _learned(self, artefact: Artefact, field: str, card: ModelCard) -> Learned:
        key = (card.name, artefact.kind, artefact.sha256)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._reading:
            self._reading[key] = asyncio.create_task(asyncio.to_thread(self._read, artefact, card))
            self._reading[key].add_done_callback(lambda _: self._reading.pop(key))
        try:
            learned = await asyncio.shield(self._reading[key])
        except BadArtefact as error:
            path = f"{field}.{error.field}"
            raise InvalidArgument(str(error), field=path, reason=error.reason) from error
        self._keep(key, learned)
        return learned

    def _keep(self, key: _Key, learned: Learned) -> None:
        if key in self._kept:  # By another that waited for it, too.
            return
        self._kept[key] = learned
        self._bytes += _size(learned)
        while self._bytes > self._most and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)

    def _read(self, artefact: Artefact, card: ModelCard) -> Learned:
        facts, tensors = read(self._fetch(artefact.uri), artefact)
        check_fits(facts, tensors, artefact.uri, card)
        if artefact.kind == Kind.CONDITIONING:
            arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
            return LearnedText(arrays, artefact.sha256)
        if self._tokenizers.know(card, facts.word):
            raise BadArtefact(
                "uri",
                "KNOWN_WORD",
                f"the word of {artefact.uri}, {facts.word!r}, is a token of model {card.name!r} "
                "already; learn it under a name that is none, for example "
                f"<my-{facts.word}>",
            )
        return Word(facts.word, artefact.sha256, tensors)


def _size(learned: Learned) -> int:
    if isinstance(learned, Word):
        return sum(tensor.nbytes for tensor in learned.vectors.values())
    return sum(array.nbytes for array in learned.arrays.values())
