"""Items and errors survive the way through Triton's tensors and texts."""

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.errors import BadCondition, BrokenImage
from generator.engine.conditions.concat import Concat
from generator.engine.conditions.start import Start
from generator.engine.conditions.text import TextAlone
from generator.engine.conditions.unclip import Unclip
from generator.engine.errors import QueueFull, UnknownArtefact
from generator.engine.items import Item
from generator.errors import translate
from generator.triton.faults import from_text, to_text
from generator.triton.signature import INPUT, Request, to_arrays, to_request
from servicekit.errors import Exhausted
from servicekit.statuses import to_status

FLOATS = st.floats(-1e3, 1e3, width=32)
MATRICES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=FLOATS
)
TEXTS = st.dictionaries(st.sampled_from(["text", "pooled_text"]), MATRICES, min_size=1)
IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))).map(
    Image.fromarray
)
CONDITIONS = st.one_of(
    st.builds(TextAlone),
    st.builds(Start, IMAGES, st.floats(0.01, 1.0)),
    st.builds(Concat, IMAGES, st.floats(1.0, 10.0)),
    st.builds(
        Unclip, arrays.arrays(np.float32, st.integers(1, 6), elements=FLOATS), st.integers(0, 999)
    ),
)
ITEMS = st.builds(
    Item,
    model=st.text(min_size=1, max_size=20),
    seed=st.integers(0, 2**64 - 1),
    steps=st.integers(1, 1000),
    guidance_scale=st.floats(0, 30),
    text=TEXTS,
    negative=TEXTS,
    condition=CONDITIONS,
    deterministic=st.booleans(),
    artefacts=st.lists(
        st.builds(Artefact, st.text(max_size=30), st.just("ab" * 32), st.sampled_from(Kind))
    ).map(tuple),
)


def as_bytes(condition):
    """A condition as something that can be compared."""
    values = dict(vars(condition))
    return type(condition), {
        name: (type(value), np.shape(value), np.asarray(value).tobytes())
        for name, value in values.items()
    }


@settings(max_examples=200, deadline=None, database=None)
@given(ITEMS, st.booleans())
def test_an_item_comes_back_as_it_was(item, is_urgent):
    found = to_request(to_arrays(Request(item, "these weights", is_urgent)))
    other = found.item
    assert (found.expected, found.is_urgent) == ("these weights", is_urgent)
    for name in ("model", "seed", "steps", "guidance_scale", "deterministic", "artefacts"):
        assert getattr(other, name) == getattr(item, name), name
    for ours, theirs in ((item.text, other.text), (item.negative, other.negative)):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert as_bytes(other.condition) == as_bytes(item.condition)


def test_a_batch_in_one_request_is_refused():
    text = {"text": np.zeros((2, 3), np.float32)}
    batch = {
        name: np.concatenate([values, values])
        for name, values in to_arrays(Request(Item("text", 0, 1, 1.0, text, text), "")).items()
    }
    with pytest.raises(ValueError, match="batch dimension of 1"):
        to_request(batch)


@pytest.mark.parametrize("data", [b"what is this", safetensors.numpy.save({"a": np.zeros(1)})])
def test_what_is_no_item_is_refused(data):
    with pytest.raises(ValueError, match="not an item in a safetensors file"):
        to_request({INPUT: np.frombuffer(data, np.uint8)[None]})


def test_a_prompt_must_be_encoded_first():
    with pytest.raises(TypeError, match="encoded"):
        to_arrays(Request(Item("text", 0, 1, 1.0, "a dog"), ""))


@pytest.mark.parametrize(
    "error",
    [
        BadCondition("image.start.strength", "OUT_OF_RANGE", "the strength is above 0"),
        BrokenImage("all black"),
        QueueFull(7, 2, 8),
        UnknownArtefact("store:tunings/one.safetensors"),
        Exhausted("full", retry_after=3.5, metadata={"limit": "8"}),
        RuntimeError("a secret"),
    ],
)
def test_an_error_comes_back_as_it_was(error):
    text = to_text(error)
    assert "a secret" not in text
    known = translate(error)
    assert text.startswith(known.message)
    assert to_status(from_text(text), "generator") == to_status(known, "generator")


@pytest.mark.parametrize(
    "text", ["", "Stub process is not healthy.", "x\nstatus: %%%", "x\nstatus: AAAA"]
)
def test_what_triton_wrote_itself_carries_no_error(text):
    assert from_text(text) is None
