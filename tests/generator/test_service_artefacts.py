"""Artefacts in requests, whatever makes the images."""

import asyncio
import hashlib
import io

import grpc
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from variegate.artefacts.v1 import artefacts_pb2
from variegate.generator.v1 import generator_pb2 as pb

from diffusion.artefacts.facts import Artefact, Facts, Kind
from diffusion.artefacts.files import write
from generator.artefacts import TextArtefacts
from generator.engine.items import Item
from generator.tokenizers import Tokenizers
from servicekit.errors import InvalidArgument
from servicekit.storage import MemoryStore, to_key, to_uri
from tests.generator.calls import TIMEOUT, answers, error_of, item, models_of, request


@pytest.fixture(scope="session")
def unet(weights, nano_folder):
    """A fine-tuned nano U-Net in the store of the engines."""
    path = nano_folder / "text" / "unet" / "diffusion_pytorch_model.safetensors"
    bias = safetensors.torch.load_file(path)["conv_out.bias"]
    return kept(weights, safetensors.torch.save({"conv_out.bias": bias + 0.5}), "UNET")


def kept(store, data, kind):
    digest = hashlib.sha256(data).hexdigest()
    key = f"tunings/{digest}.safetensors"
    store.put(key, data)
    return artefacts_pb2.Artefact(uri=to_uri(key), sha256=digest, kind=f"ARTEFACT_KIND_{kind}")


def tuned(artefact, *items, **sampling):
    wanted = request(*(items or [item(seed=5)]), **sampling)
    wanted.artefacts.append(artefact)
    return wanted


def learned(item_id, *artefacts, **text):
    """An item whose text has artefacts."""
    return pb.Item(item_id=item_id, seed=5, text=pb.TextCondition(artefacts=artefacts, **text))


@pytest.fixture
def word(store, nano_engine):
    width = nano_engine.card("text").token_widths["text_encoder"]

    def made(name="<cat>", seed=1, count=2, **facts):
        draws = torch.Generator().manual_seed(seed)
        vectors = torch.randn(count, width, generator=draws)
        said = Facts(Kind.TOKENS, word=name, **facts)
        return kept(store, write(said, {"text_encoder": vectors}), "TOKENS")

    return made


@pytest.fixture
async def conditioning(stub, store):
    """What the model makes of "a dog", as if it had been learned."""
    encode = pb.EncodePromptsRequest(model="text", prompts=["a dog"])
    [tensor] = (await stub.EncodePrompts(encode, timeout=TIMEOUT)).embeddings
    values = torch.frombuffer(bytearray(tensor.data), dtype=torch.float32)
    data = write(Facts(Kind.CONDITIONING), {"text": values.reshape(tuple(tensor.shape))})
    return kept(store, data, "CONDITIONING")


def pixels(store, image):
    return np.asarray(Image.open(io.BytesIO(store.get(to_key(image.uri)))))


async def test_a_u_net_makes_other_images_under_keys_and_a_digest_of_their_own(stub, store, unet):
    base = (await answers(stub, request(item(seed=5))))["a"].image
    made = (await answers(stub, tuned(unet)))["a"].image
    assert made.uri != base.uri
    assert not np.array_equal(pixels(store, made), pixels(store, base))
    text = f"{base.model_digest} {unet.sha256}"
    assert made.model_digest == hashlib.sha256(text.encode()).hexdigest()
    assert (await answers(stub, tuned(unet)))["a"].image.cached


async def test_both_engines_make_the_same_bits_of_a_u_net(stub, store, unet, nano_engine):
    made = (await answers(stub, tuned(unet, deterministic=True)))["a"].image
    own = Artefact(unet.uri, unet.sha256, Kind.UNET)
    [future] = nano_engine.submit_all(
        [Item("text", 5, 3, 3.0, "a dog", deterministic=True, artefacts=(own,))]
    )
    assert np.array_equal(pixels(store, made), future.result(TIMEOUT).pixels)


async def test_a_word_stands_in_any_text_and_changes_no_other(stub, store, word):
    items = [
        item("plain", "a photo of <cat>", seed=5),
        learned("word", word(), prompt="a photo of <cat>"),
        learned("other", word(seed=2), prompt="a photo of <cat>"),
        learned("template", word(), prompt="<cat> in a garden, a drawing"),
        item("dog", "a dog", seed=5),
        learned("without", word(), prompt="a dog"),
    ]
    images = {name: made.image for name, made in (await answers(stub, request(*items))).items()}
    assert images["without"].uri == images["dog"].uri
    assert len({image.sha256 for image in images.values()}) == 5
    assert len({image.model_digest for image in images.values()}) == 1


async def test_words_stand_in_captions_that_are_mixed_and_in_the_negative(stub, word):
    mix = pb.CaptionMix(captions=["a <cat>", "a dog"], start=0)
    negative = pb.TextCondition(prompt="a <cat>", artefacts=[word()])
    items = [
        learned("mix", word(), mix=mix),
        pb.Item(item_id="plain", seed=5, text=pb.TextCondition(mix=mix)),
        pb.Item(item_id="negative", seed=5, negative=negative),
        pb.Item(item_id="positive", seed=5, negative=pb.TextCondition(prompt="a <cat>")),
    ]
    images = (await answers(stub, request(*items))).values()
    assert len({made.image.sha256 for made in images}) == 4


async def test_a_conditioning_of_a_prompt_makes_the_image_of_the_prompt(stub, conditioning):
    items = [item("prompt", "a dog", seed=5), learned("learned", conditioning)]
    made = await answers(stub, request(*items, deterministic=True))
    assert made["prompt"].image.sha256 == made["learned"].image.sha256
    assert made["prompt"].image.uri != made["learned"].image.uri


async def test_tokens_of_words_are_counted(stub, word):
    texts = ["a dog", "a <cat> dog", "a <cat>"]
    wanted = pb.CountTokensRequest(model="text", texts=texts, artefacts=[word(count=4)])
    counts = (await stub.CountTokens(wanted, timeout=TIMEOUT)).token_counts
    assert list(counts) == [4, 8, 7]


async def test_an_unknown_artefact_is_not_found(stub):
    named = {"uri": "store:tunings/none", "sha256": "0" * 64}
    missing = artefacts_pb2.Artefact(**named, kind="ARTEFACT_KIND_UNET")
    word = artefacts_pb2.Artefact(**named, kind="ARTEFACT_KIND_TOKENS")
    for wanted in (tuned(missing), request(learned("a", word, prompt="a <cat>"))):
        error = await error_of(stub, wanted)
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ARTEFACT_NOT_FOUND")
        assert "store:tunings/none" in error.message


async def test_a_digest_that_does_not_match_names_both(stub, unet):
    other = artefacts_pb2.Artefact(uri=unet.uri, sha256="0" * 64, kind=unet.kind)
    error = await error_of(stub, tuned(other))
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.reason) == ("artefacts[0].sha256", "DIGEST_MISMATCH")
    assert unet.sha256 in error.message
    assert "0" * 64 in error.message


async def test_a_u_net_of_another_model_is_refused(stub, weights):
    data = safetensors.torch.save({"conv_in.weight": torch.zeros(1, 2, 3, 4)})
    error = await error_of(stub, tuned(kept(weights, data, "UNET")))
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.reason) == ("artefacts[0].uri", "ARTEFACT_MISMATCH")


async def test_a_broken_artefact_of_a_text_is_the_error_of_its_item(stub, store, word):
    models = await models_of(stub)
    wrong = {
        "NOT_SAFETENSORS": kept(store, b"\x80\x04 a pickle", "TOKENS"),
        "ARTEFACT_MISMATCH": word(base=models["unclip"].digest),
        "KNOWN_WORD": word("dog"),
        "BROKEN_ARTEFACT": kept(store, safetensors.torch.save({}), "CONDITIONING"),
    }
    items = [learned(reason, one, prompt="a dog") for reason, one in wrong.items()]
    items[-1].text.ClearField("condition")
    made = await answers(stub, request(*items, item("a", "a dog")))
    assert made["a"].HasField("image")
    for number, reason in enumerate(wrong):
        error = await error_of(stub, request(*items), reason)
        assert isinstance(error, InvalidArgument)
        assert (error.reason, error.field) == (reason, f"items[{number}].text.artefacts[0].uri")


async def test_texts_that_contradict_their_artefacts_are_refused(stub, word, conditioning, unet):
    cat = word()
    wrong = {
        "UNET": (learned("a", unet, prompt="a dog"), "WRONG_PLACE"),
        "two texts": (learned("a", conditioning, prompt="a dog"), "TWO_TEXTS"),
        "two artefacts": (learned("a", conditioning, cat), "TWO_TEXTS"),
        "one word": (learned("a", cat, word(seed=2), prompt="<cat>"), "REPEATED_WORD"),
    }
    for name, (item_, reason) in wrong.items():
        error = await error_of(stub, request(item_))
        assert isinstance(error, InvalidArgument), name
        assert error.reason == reason


async def test_kinds_that_a_call_has_no_place_for_are_refused_at_once(stub, fails, word, unet):
    for artefacts, field in ([[word()], "artefacts[0].kind"], [[unet, unet], "artefacts[1].kind"]):
        wanted = request(item())
        wanted.artefacts.extend(artefacts)
        error = await fails(stub.GenerateImages(wanted, timeout=TIMEOUT))
        assert isinstance(error, InvalidArgument)
        assert error.field == field
    count = pb.CountTokensRequest(model="text", texts=["a"], artefacts=[unet])
    error = await fails(stub.CountTokens(count, timeout=TIMEOUT))
    assert error.field == "artefacts[0].kind"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"uri": "file:///etc/passwd"}, "artefacts[0].uri"),
        ({"sha256": "short"}, "artefacts[0].sha256"),
        ({"uri": ""}, "artefacts[0].uri"),
        ({"kind": 0}, "artefacts[0].kind"),
        ({"kind": 77}, "artefacts[0].kind"),
    ],
)
async def test_a_reference_that_is_none_is_refused_at_once(stub, fails, change, field):
    named = {"uri": "store:x", "sha256": "0" * 64, "kind": 1} | change
    wanted = tuned(artefacts_pb2.Artefact(**named))
    error = await fails(stub.GenerateImages(wanted, timeout=TIMEOUT))
    assert isinstance(error, InvalidArgument)
    assert error.field == field


class CountingStore(MemoryStore):
    """Counts what is read of it."""

    def __init__(self):
        super().__init__()
        self.read = []

    def get(self, key):
        self.read.append(key)
        return super().get(key)


async def test_what_was_learned_of_texts_is_fetched_once_and_kept_within_a_bound(nano_engine):
    store, card = CountingStore(), nano_engine.card("text")
    width = card.token_widths["text_encoder"]
    cats = []
    for number in range(3):
        facts = Facts(Kind.TOKENS, word=f"<cat-{number}>")
        named = kept(store, write(facts, {"text_encoder": torch.zeros(2, width)}), "TOKENS")
        cats.append(Artefact(named.uri, named.sha256, Kind.TOKENS))
    artefacts = TextArtefacts(store, Tokenizers(), most_bytes=2 * 2 * width * 4)

    async def read(number):
        return await artefacts.word(cats[number], "field", card)

    words = await asyncio.gather(*(read(0) for _ in range(5)))
    assert len({id(word) for word in words}) == 1
    assert len(store.read) == 1
    for number in (1, 0, 2, 0):
        await read(number)
    assert len(store.read) == 3, "two are kept, and 0 was used after 1"
    await read(1)
    assert len(store.read) == 4
