"""Two images whose pixels are mixed before they are embedded, whatever makes the image."""

import numpy as np
import pytest
from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb

from generator import tensors
from imaging.encode import encode_png
from servicekit.storage import to_key
from tests.generator.calls import PHOTO, answers, error_of, item, models_of, request
from tests.generator.conftest import picture

OTHER, BLEND = "store:images/other.png", "store:images/blend.png"
CUT = "store:images/cut.png"
BOX = {"left": 0.25, "top": 0.5, "right": 0.75, "bottom": 1.0}


@pytest.fixture
def store(store, photo):
    """The photo, another, three parts of the first with seven of the other, and the first with
    the middle of the other's lower half."""
    store.put(to_key(OTHER), encode_png(picture(5)))
    store.put(to_key(BLEND), encode_png(Image.blend(picture(5), photo, 0.3)))
    pixels = np.array(photo)
    pixels[16:, 8:24] = np.array(picture(5))[16:, 8:24]
    store.put(to_key(CUT), encode_png(Image.fromarray(pixels)))
    return store


def mixup(share, first=PHOTO, second=OTHER, **more):
    message = pb.MixUpImage(first_image_uri=first, second_image_uri=second, share=share, **more)
    return pb.ImageCondition(mixup=message)


def cutmix(first=PHOTO, second=OTHER, **more):
    message = pb.CutMixImage(first_image_uri=first, second_image_uri=second, **(BOX | more))
    return pb.ImageCondition(cutmix=message)


def unclip(uri):
    return pb.ImageCondition(unclip=pb.UnclipImage(image_uri=uri))


async def test_it_is_the_image_of_the_mixed_picture(stub):
    conditions = {
        "first": (mixup(1.0), unclip(PHOTO)),
        "second": (mixup(0.0), unclip(OTHER)),
        "both": (mixup(0.3), unclip(BLEND)),
        "cut": (cutmix(), unclip(CUT)),
        "whole box": (cutmix(left=0, top=0, right=1), unclip(OTHER)),
        "empty box": (cutmix(right=0.25), unclip(PHOTO)),
    }
    items = [
        item(f"{name} {number}", image=condition, seed=3)
        for name, pair in conditions.items()
        for number, condition in enumerate(pair)
    ]
    made = await answers(stub, request(*items, model="unclip", deterministic=True))
    shas = {name: answer.image.sha256 for name, answer in made.items()}
    for name in conditions:
        assert shas[f"{name} 0"] == shas[f"{name} 1"], name
    assert len({shas[f"{name} 0"] for name in ("first", "second", "both", "cut")}) == 4


async def test_share_box_order_zeroed_features_and_noise_are_in_the_key(stub):
    conditions = [mixup(0.3), mixup(0.4), mixup(0.3, OTHER, PHOTO), unclip(BLEND)]
    conditions += [cutmix(), cutmix(OTHER, PHOTO), cutmix(right=0.8), unclip(CUT)]
    conditions += [mixup(0.3, zeroed_features=[2]), mixup(0.3, noise_level=9)]
    items = [item(str(number), image=one) for number, one in enumerate(conditions)]
    made = await answers(stub, request(*items, model="unclip"))
    assert len({answer.image.uri for answer in made.values()}) == len(conditions)


async def test_the_features_that_are_named_are_zero_and_no_others(stub):
    request_ = pb.EncodeImagesRequest(model="unclip", image_uris=[BLEND])
    [tensor] = (await stub.EncodeImages(request_, timeout=60)).embeddings
    values = tensors.from_pb(tensor, "embedding", tensor.encoder, "unclip").copy()
    values[[0, 3]] = 0
    embedding = pb.UnclipImage(embedding=tensors.to_pb(values, tensor.encoder))
    items = [
        item("named", image=mixup(0.3, zeroed_features=[3, 0]), seed=3),
        item("embedding", image=pb.ImageCondition(unclip=embedding), seed=3),
        item("whole", image=mixup(0.3), seed=3),
    ]
    made = await answers(stub, request(*items, model="unclip", deterministic=True))
    shas = {name: answer.image.sha256 for name, answer in made.items()}
    assert shas["named"] == shas["embedding"] != shas["whole"]
    count = len(values)
    bad = item(image=mixup(0.3, zeroed_features=[count]))
    error = await error_of(stub, request(bad, model="unclip"))
    assert error.field == "items[0].image.mixup.zeroed_features"
    assert f"no feature {count} to set to zero" in error.message


async def test_models_without_image_embeddings_do_not_take_it_and_a_missing_image_is_named(stub):
    models = await models_of(stub)
    assert list(models["unclip"].image_conditions) == ["cutmix", "mixup", "unclip"]
    assert list(models["text"].image_conditions) == ["start"]
    assert list(models["pix2pix"].image_conditions) == ["concat"]
    error = await error_of(stub, request(item(image=mixup(0.5))))
    assert error.field == "items[0].image.mixup" and "mode 'unclip'" in error.message
    error = await error_of(stub, request(item(image=cutmix(right=0.1)), model="unclip"))
    assert error.field == "items[0].image.cutmix" and "left at most right" in error.message
    gone = "store:images/gone.png"
    error = await error_of(stub, request(item(image=mixup(0.5, PHOTO, gone)), model="unclip"))
    assert "images/gone.png" in error.message
