"""Two images whose pixels are mixed before they are embedded, whatever makes the image."""

import pytest
from PIL import Image
from variegate.generator.v1 import generator_pb2 as pb

from imaging.encode import encode_png
from servicekit.storage import to_key
from tests.generator.calls import PHOTO, answers, error_of, item, models_of, request
from tests.generator.conftest import picture

OTHER, BLEND = "store:images/other.png", "store:images/blend.png"


@pytest.fixture
def store(store, photo):
    """The photo, another, and three parts of the first with seven of the other."""
    store.put(to_key(OTHER), encode_png(picture(5)))
    store.put(to_key(BLEND), encode_png(Image.blend(picture(5), photo, 0.3)))
    return store


def mixup(share, first=PHOTO, second=OTHER):
    message = pb.MixUpImage(first_image_uri=first, second_image_uri=second, share=share)
    return pb.ImageCondition(mixup=message)


def unclip(uri):
    return pb.ImageCondition(unclip=pb.UnclipImage(image_uri=uri))


async def test_it_is_the_image_of_the_mixed_picture(stub):
    conditions = {
        "first": (mixup(1.0), unclip(PHOTO)),
        "second": (mixup(0.0), unclip(OTHER)),
        "both": (mixup(0.3), unclip(BLEND)),
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
    assert len(set(shas.values())) == 3


async def test_share_and_order_are_in_the_key(stub):
    conditions = [mixup(0.3), mixup(0.4), mixup(0.3, OTHER, PHOTO), unclip(BLEND)]
    items = [item(str(number), image=one) for number, one in enumerate(conditions)]
    made = await answers(stub, request(*items, model="unclip"))
    assert len({answer.image.uri for answer in made.values()}) == len(conditions)


async def test_models_without_image_embeddings_do_not_take_it_and_a_missing_image_is_named(stub):
    models = await models_of(stub)
    assert list(models["unclip"].image_conditions) == ["mixup", "unclip"]
    assert list(models["text"].image_conditions) == ["start"]
    assert list(models["pix2pix"].image_conditions) == ["concat"]
    error = await error_of(stub, request(item(image=mixup(0.5))))
    assert error.field == "items[0].image.mixup" and "mode 'unclip'" in error.message
    gone = "store:images/gone.png"
    error = await error_of(stub, request(item(image=mixup(0.5, PHOTO, gone)), model="unclip"))
    assert "images/gone.png" in error.message
