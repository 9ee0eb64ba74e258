"""Fine-tuned weights in requests, whatever makes the images."""

import hashlib
import io

import grpc
import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb

from generator.engine.items import Item, Variant
from servicekit.errors import InvalidArgument
from servicekit.storage import to_key, to_uri
from tests.generator.calls import TIMEOUT, answers, error_of, item, request


@pytest.fixture(scope="session")
def variant(weights, nano_folder):
    """A variant of the nano text model in the store of the engines."""
    path = nano_folder / "text" / "unet" / "diffusion_pytorch_model.safetensors"
    bias = safetensors.torch.load_file(path)["conv_out.bias"]
    return kept(weights, safetensors.torch.save({"conv_out.bias": bias + 0.5}))


def kept(weights, data):
    digest = hashlib.sha256(data).hexdigest()
    weights.put(f"tunings/{digest}.safetensors", data)
    return pb.Variant(uri=to_uri(f"tunings/{digest}.safetensors"), sha256=digest)


def tuned(variant, *items, **sampling):
    wanted = request(*(items or [item(seed=5)]), **sampling)
    wanted.variant.CopyFrom(variant)
    return wanted


def pixels(store, image):
    return np.asarray(Image.open(io.BytesIO(store.get(to_key(image.uri)))))


async def test_a_variant_makes_other_images_under_keys_and_a_digest_of_their_own(
    stub, store, variant
):
    base = (await answers(stub, request(item(seed=5))))["a"].image
    made = (await answers(stub, tuned(variant)))["a"].image
    assert made.uri != base.uri
    assert not np.array_equal(pixels(store, made), pixels(store, base))
    text = f"{base.model_digest} {variant.sha256}"
    assert made.model_digest == hashlib.sha256(text.encode()).hexdigest()
    assert (await answers(stub, tuned(variant)))["a"].image.cached


async def test_both_engines_make_the_same_bits_of_a_variant(stub, store, variant, nano_engine):
    made = (await answers(stub, tuned(variant, deterministic=True)))["a"].image
    own = Variant(variant.uri, variant.sha256)
    [future] = nano_engine.submit_all(
        [Item("text", 5, 3, 3.0, "a dog", deterministic=True, variant=own)]
    )
    assert np.array_equal(pixels(store, made), future.result(TIMEOUT).pixels)


async def test_an_unknown_variant_is_not_found(stub):
    error = await error_of(stub, tuned(pb.Variant(uri="store:tunings/none", sha256="0" * 64)))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "VARIANT_NOT_FOUND")
    assert "store:tunings/none" in error.message


async def test_a_digest_that_does_not_match_names_both(stub, variant):
    error = await error_of(stub, tuned(pb.Variant(uri=variant.uri, sha256="0" * 64)))
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.reason) == ("variant.sha256", "DIGEST_MISMATCH")
    assert variant.sha256 in error.message
    assert "0" * 64 in error.message


async def test_a_pickle_is_refused(stub, weights):
    error = await error_of(stub, tuned(kept(weights, b"\x80\x04 a pickle")))
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.reason) == ("variant.uri", "NOT_SAFETENSORS")
    assert "pickle" in error.message


async def test_weights_of_another_model_are_refused(stub, weights):
    data = safetensors.torch.save({"conv_in.weight": torch.zeros(1, 2, 3, 4)})
    error = await error_of(stub, tuned(kept(weights, data)))
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.reason) == ("variant.uri", "VARIANT_MISMATCH")
    assert "model 'text'" in error.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"uri": "file:///etc/passwd", "sha256": "0" * 64}, "variant.uri"),
        ({"uri": "store:x", "sha256": "short"}, "variant.sha256"),
        ({"sha256": "0" * 64}, "variant.uri"),
    ],
)
async def test_a_reference_that_is_none_is_refused_at_once(stub, fails, change, field):
    error = await fails(stub.GenerateImages(tuned(pb.Variant(**change)), timeout=TIMEOUT))
    assert isinstance(error, InvalidArgument)
    assert error.field == field
