"""What the service refuses, and how, whatever makes its images."""

import grpc
import numpy as np
import pytest
from variegate.generator.v1 import generator_pb2 as pb

from servicekit.errors import Precondition
from servicekit.statuses import from_status
from tests.generator.calls import (
    NOISE,
    PHOTO,
    TIMEOUT,
    answers,
    error_of,
    item,
    models_of,
    request,
    start,
    tensor,
    zeros,
)


async def test_a_model_without_image_encoder_says_so(stub, fails):
    wanted = pb.EncodeImagesRequest(model="text", image_uris=[PHOTO])
    error = await fails(stub.EncodeImages(wanted, timeout=TIMEOUT))
    assert isinstance(error, Precondition)
    assert "no image encoder" in error.message


async def test_an_unknown_model_is_told_the_known_ones(stub, fails):
    error = await fails(stub.GenerateImages(request(item(), model="sd9"), timeout=TIMEOUT))
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert "pix2pix, text, unclip" in error.message


async def test_repeated_item_ids_are_refused(stub, fails):
    error = await fails(stub.GenerateImages(request(item("x"), item("x")), timeout=TIMEOUT))
    assert (error.code, error.field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "items[1].item_id",
    )
    assert "'x'" in error.message


async def test_one_bad_item_has_its_own_error_and_the_others_are_made(stub):
    made = await answers(
        stub,
        request(
            item("good", seed=11),
            item("missing", image=start("store:images/none.png", 0.5)),
            item("damaged", image=start(NOISE, 0.5)),
            item("outside", image=start("store:../../etc/passwd", 0.5)),
        ),
    )
    assert made["good"].WhichOneof("result") == "image"
    errors = {name: from_status(made[name].error) for name in ("missing", "damaged", "outside")}
    assert errors["missing"].code is grpc.StatusCode.NOT_FOUND
    assert "images/none.png" in errors["missing"].message
    assert errors["damaged"].code is grpc.StatusCode.INVALID_ARGUMENT
    assert errors["damaged"].field == "items[2].image.start.image_uri"
    assert errors["damaged"].reason == "NOT_AN_IMAGE"
    assert errors["outside"].code is grpc.StatusCode.INVALID_ARGUMENT


def clipped(model):
    """An embedding that claims more elements than it has."""
    whole = tensor(zeros(*model.text_shape), model.text_encoder)
    whole.data = whole.data[:3]
    return whole


@pytest.mark.parametrize(
    ("embed", "reason", "words"),
    [
        (lambda m: tensor(zeros(3, 4), m.text_encoder), "WRONG_SHAPE", "[3, 4]"),
        (lambda m: tensor(zeros(*m.text_shape) * np.nan, m.text_encoder), "NOT_FINITE", "NaN"),
        (lambda m: tensor(zeros(*m.text_shape), "other"), "ENCODER_MISMATCH", "'other'"),
        (clipped, "WRONG_SIZE", "3 bytes"),
    ],
)
async def test_a_wrong_embedding_is_named(stub, embed, reason, words):
    model = (await models_of(stub))["text"]
    wanted = request(pb.Item(item_id="a", text=pb.TextCondition(embedding=embed(model))))
    error = await error_of(stub, wanted)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == reason
    assert error.field.startswith("items[0].text")
    assert words in error.message
    if reason == "ENCODER_MISMATCH":
        assert model.text_encoder in error.message


async def test_a_mix_of_what_the_captions_do_not_have_is_named(stub):
    mix = pb.CaptionMix(captions=["a"], start=0, coarse=[pb.CaptionMix.Rows(source=1, end=2)])
    error = await error_of(stub, request(pb.Item(item_id="a", text=pb.TextCondition(mix=mix))))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_MIX")
    assert error.field == "items[0].text.mix"
    assert "caption 1 of 1" in error.message


@pytest.mark.parametrize(
    ("model", "image", "words"),
    [
        ("pix2pix", start(PHOTO, 0.5), "for models of mode 'text'"),
        ("text", pb.ImageCondition(concat=pb.ConcatImage(image_uri=PHOTO)), "mode 'pix2pix'"),
        (
            "text",
            pb.ImageCondition(unclip=pb.UnclipImage(embedding=tensor(zeros(16), "e"))),
            "mode 'unclip'",
        ),
        ("unclip", None, "needs the image condition 'cutmix' or 'mixup' or 'unclip'"),
    ],
)
async def test_a_condition_that_does_not_fit_says_which_mode_takes_it(stub, model, image, words):
    error = await error_of(stub, request(item(image=image), model=model))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.message


async def test_a_broken_image_is_an_error_and_nothing_is_stored(stub, store):
    model = (await models_of(stub))["text"]
    huge = tensor(np.full(model.text_shape, 3e38), model.text_encoder)
    error = await error_of(stub, request(pb.Item(item_id="a", text={"embedding": huge})))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "BROKEN_IMAGE")
    assert list(store.list("generated")) == []
