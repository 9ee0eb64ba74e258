"""Learned words and conditionings make what diffusers makes of them, and share U-Net calls."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch

from diffusion.artefacts.facts import Facts, Kind
from diffusion.artefacts.files import digest_of, read, write
from diffusion.embeddings import LearnedText, WordedText
from diffusion.mixing import CaptionMix
from diffusion.registry import scan
from diffusion.words import Prompt, Word, count_tokens, is_known, token_rows, words_in
from generator.engine.engine import Engine
from generator.engine.items import Item
from generator.engine.settings import EngineSettings
from generator.gallery import key_of
from tests.generator import learned, tiny
from tests.generator.test_engine import assert_close, made, pipeline, reference

PIPELINES = {"text": "StableDiffusionPipeline", "xl": "StableDiffusionXLPipeline"}
PARTS = {"text": ("text_encoder",), "xl": ("text_encoder", "text_encoder_2")}
ITEM = Item("text", 7, steps=2, guidance_scale=5.0, text="a b", negative="c", deterministic=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    tiny.save_text(models / "text")
    tiny.save_xl(models / "xl")
    return models


@pytest.fixture(scope="module")
def engine(folder):
    found = Engine(scan(folder), EngineSettings(deterministic_rows=4))
    yield found
    found.close()


def word(name="<cat>", model="text", count=2, seed=1):
    data = learned.word_file(Facts(Kind.TOKENS, word=name), PARTS[model], count, seed=seed)
    return Word(name, digest_of(data), safetensors.torch.load(data))


def conditioning(engine, prompt, model="text"):
    """What the model's own encoder makes of a prompt, as if it had been learned."""
    [arrays] = engine.encode_prompts(model, [prompt]).result(60)
    data = write(
        Facts(Kind.CONDITIONING), {name: torch.from_numpy(a) for name, a in arrays.items()}
    )
    return LearnedText(arrays, digest_of(data))


def worded(text, *words):
    return WordedText(text, tuple(words))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("model", PIPELINES)
@pytest.mark.parametrize("text", ["a <cat>, b", "<cat> <cat>."])
def test_a_word_makes_what_textual_inversion_of_diffusers_makes(engine, folder, model, text, count):
    """Diffusers makes a token of each vector, <cat>, <cat>_1 and so on, and puts all into texts."""
    own = word(model=model, count=count)
    pipe = pipeline(folder / model, PIPELINES[model])
    names = ["<cat>", *(f"<cat>_{n}" for n in range(1, count))]
    tokenizers = [pipe.tokenizer, *([pipe.tokenizer_2] if model == "xl" else [])]
    for part, tokenizer in zip(PARTS[model], tokenizers, strict=True):
        encoder = getattr(pipe, part)
        tokenizer.add_tokens(names)
        encoder.resize_token_embeddings(len(tokenizer))
        with torch.no_grad():
            encoder.get_input_embeddings().weight[-count:] = own.vectors[part]
    item = dataclasses.replace(ITEM, model=model, text=text)
    found = made(engine, dataclasses.replace(item, text=worded(text, own)))
    assert_close(found, reference(pipe, item))
    assert not np.array_equal(found, made(engine, item))


def test_a_text_without_the_word_is_that_of_the_plain_model(engine):
    for text in ["a <dog>", "a<cat>b", ""]:
        plain = made(engine, dataclasses.replace(ITEM, text=text))
        found = made(engine, dataclasses.replace(ITEM, text=worded(text, word())))
        assert np.array_equal(plain, found), text


def test_words_are_found_where_nothing_is_beside_them():
    one, longer, other = word("<cat>"), word("<cat>-2"), word("dog")
    assert words_in("a <cat>, (<cat>-2) dog!", [one, longer, other]) == [one, longer, other]
    assert words_in("a <cat>-2 dogs hotdog <CAT>", [one, longer, other]) == [longer]


def test_tokens_of_words_count_as_many_as_they_have_vectors():
    tokenizer = tiny.tokenizer()
    prompt = Prompt("a <cat> b", (word(count=3),))
    assert count_tokens(tokenizer, prompt) == 2 + 1 + 3 + 1
    rows = token_rows(tokenizer, [prompt, Prompt("a")], tiny.TOKENS, "text_encoder")
    assert rows.places[0].tolist() == [-1, -1, 0, 1, 2, *[-1] * 7]
    assert rows.places[1].tolist() == [-1] * 12
    assert rows.ids.shape == (2, tiny.TOKENS)


def test_a_longer_text_is_cut_as_without_words():
    tokenizer = tiny.tokenizer()
    long = "a " * 9 + "<cat>"
    rows = token_rows(tokenizer, [Prompt(long, (word(count=3),))], tiny.TOKENS, "text_encoder")
    assert rows.places[0].tolist() == [*[-1] * 10, 0, -1]
    assert rows.ids[0, -1] == tokenizer.eos_token_id


def test_a_known_word_is_one_token():
    tokenizer = tiny.tokenizer()
    assert is_known(tokenizer, "a")
    assert not is_known(tokenizer, "<cat>")


@pytest.mark.parametrize("model", PIPELINES)
def test_a_conditioning_of_a_prompt_makes_the_images_of_the_prompt(engine, model):
    item = dataclasses.replace(ITEM, model=model)
    expected = made(engine, item)
    own = conditioning(engine, "a b", model)
    assert np.array_equal(expected, made(engine, dataclasses.replace(item, text=own)))
    other = conditioning(engine, "another", model)
    assert not np.array_equal(expected, made(engine, dataclasses.replace(item, text=other)))


def test_words_in_captions_that_are_mixed(engine):
    own = word()
    mix = CaptionMix(("a <cat>", "b"), 1, ((0, 0, tiny.TOKENS),))
    taken = made(engine, dataclasses.replace(ITEM, text=worded(mix, own)))
    assert np.array_equal(
        taken, made(engine, dataclasses.replace(ITEM, text=worded("a <cat>", own)))
    )


def texts_of_all_kinds(engine):
    first, second = word("<cat>"), word("<dog>", seed=2)
    return [
        "a b",
        worded("a <cat>", first),
        worded("a <dog>", second),
        worded("<cat> b <dog>", first, second),
        conditioning(engine, "c"),
        conditioning(engine, "d"),
    ]


def test_items_of_other_words_and_conditionings_share_u_net_calls(engine):
    items = [
        dataclasses.replace(ITEM, text=text, deterministic=False, seed=number)
        for number, text in enumerate(texts_of_all_kinds(engine))
    ]
    calls = []
    unet = engine._models["text"].unet
    hook = unet.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    try:
        for future in engine.submit_all(items):
            future.result(60)
    finally:
        hook.remove()
    assert set(calls) == {2 * len(items)}


@pytest.mark.parametrize("deterministic", [True, False])
def test_an_image_does_not_depend_on_what_is_made_beside_it(engine, deterministic):
    items = [
        dataclasses.replace(ITEM, text=text, deterministic=deterministic)
        for text in texts_of_all_kinds(engine)
    ]
    encoded = engine._models["text"].encoders._prompts
    encoded.clear()
    together = [future.result(60).pixels for future in engine.submit_all(items)]
    for item, pixels in zip(items, together, strict=True):
        encoded.clear()  # So that its text is encoded alone, too.
        difference = np.abs(made(engine, item).astype(int) - pixels.astype(int)).max()
        assert difference <= (0 if deterministic else 2)


def test_the_key_of_an_image_covers_what_was_learned(engine):
    card = engine.card("text")
    text = conditioning(engine, "a b")
    texts = [
        "a <cat>",
        worded("a <cat>", word()),
        worded("a <cat>", word(seed=2)),
        text,
        dataclasses.replace(text, sha256="0" * 64),
    ]
    keys = {
        key_of(dataclasses.replace(ITEM, **{field: one}), card, "engine", "generated")
        for one in texts
        for field in ("text", "negative")
    }
    assert len(keys) == 2 * len(texts)


def test_what_is_encoded_is_kept_by_the_digests_of_its_words(engine):
    encoders = engine._models["text"].encoders
    one, again, other = word(), word(), word(seed=2)

    def encoded(text):
        with torch.inference_mode():
            return encoders.texts([text])[0]["text"]

    assert encoded(worded("a <cat>", one)) is encoded(worded("a <cat>", again))
    assert not torch.equal(encoded(worded("a <cat>", one)), encoded(worded("a <cat>", other)))
    assert encoded(worded("a", one)) is encoded("a")


def test_a_file_of_a_word_is_read_as_the_word():
    facts = Facts(Kind.TOKENS, "0" * 64, "textual_inversion", "cat", word="<cat>")
    data = learned.word_file(facts)
    shelf = learned.Shelf()
    found, tensors = read(data, shelf.add("cat", data, Kind.TOKENS))
    assert (found, tensors["text_encoder"].shape) == (facts, (2, tiny.WIDTH))
