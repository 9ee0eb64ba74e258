"""Methods that condition on image embeddings: on Stable unCLIP or a model with an IP-Adapter."""

from contextlib import asynccontextmanager

import pytest

from gateway.augment.used_models import need_model
from gateway.clients.generator import Generator, ImageRequest, Sampling
from gateway.clients.image_conditions import ImageEmbedding
from gateway.methods.base import PixelMix
from gateway.methods.mixing.embedding import Dropout
from gateway.methods.mixing.pixels import CutMix, MixUp
from gateway.methods.registry import all_methods, method_of
from gateway.settings import GatewaySettings
from generator.settings import GeneratorSettings
from generator.wiring import create_service
from imaging.encode import encode_png
from servicekit.errors import Precondition
from servicekit.server import running
from servicekit.storage import MemoryStore, to_key
from tests.generator import tiny
from tests.generator.conftest import picture

FIRST, SECOND = "store:images/first.png", "store:images/second.png"
METHODS = [one.id for one in all_methods().values() if one.needs.image_embeddings]
BOX = CutMix(0.5, 0.0, 0.25, 0.5, 1.0)
SAMPLING = Sampling(steps=2, guidance_scale=3.0)


@asynccontextmanager
async def client_of(folder, artefacts=None):
    """The gateway's client of a real generator that serves the models of a folder.

    `artefacts` are files by what comes after store:artefacts/ in their URIs.
    """
    store = MemoryStore()
    for name, data in (artefacts or {}).items():
        store.put(f"artefacts/{name}", data)
    for seed, uri in enumerate((FIRST, SECOND)):
        store.put(to_key(uri), encode_png(picture(seed)))
    settings = GeneratorSettings(models_folder=folder, threads=1)
    async with running(create_service(settings, store)) as server:
        client = Generator(GatewaySettings(generator=server.target), None)
        try:
            yield client
        finally:
            await client.close()


@pytest.mark.parametrize("kind", ["adapter", "unclip"])
async def test_every_such_method_makes_images_with_either_model(tmp_path, kind):
    if kind == "adapter":
        tiny.save_adapter(tiny.save_text(tmp_path / "mine"))
    else:
        tiny.save_unclip(tmp_path / "unclip")
    tiny.save_text(tmp_path / "text")
    async with client_of(tmp_path) as client:
        served = await client.served()
        [name] = {need_model(served, method_of(method)).name for method in METHODS}
        model = served.models[name]
        assert name == ("mine" if kind == "adapter" else "unclip")
        vectors = await client.encode_images(name, [FIRST, SECOND])
        assert vectors.shape == (2, model.image_dimension)
        requests = [
            ImageRequest("embedding", 1, "a dog", ImageEmbedding(vectors[0], 0)),
            ImageRequest("other", 1, "a dog", ImageEmbedding(vectors[1], 0)),
            ImageRequest("mixed", 1, "a dog", PixelMix((FIRST, SECOND), MixUp(0.4))),
            ImageRequest("cut", 1, "a dog", PixelMix((FIRST, SECOND), BOX)),
            ImageRequest("dropped", 1, "a dog", PixelMix((FIRST, SECOND), BOX, Dropout(5))),
        ]
        made = await client.generate(model, requests, SAMPLING)
        assert len({image.sha256 for image in made.values()}) == len(requests)
        if kind == "adapter":
            for image in (
                ImageEmbedding(vectors[0], 9),
                PixelMix((FIRST, SECOND), BOX, noise_level=9),
            ):
                noised = [ImageRequest("noised", 1, "a dog", image)]
                with pytest.raises(Precondition, match="noise_level is 9; leave it at 0"):
                    await client.generate(model, noised, SAMPLING)


async def test_which_of_several_models_is_taken_is_not_guessed(tmp_path):
    method = method_of("cond_mixup")
    tiny.save_text(tmp_path / "text")
    async with client_of(tmp_path) as client:
        with pytest.raises(Precondition, match="has no model 'unclip', only text; add it"):
            need_model(await client.served(), method)
    for name in ("one", "two"):
        tiny.save_adapter(tiny.save_text(tmp_path / name))
    async with client_of(tmp_path) as client:
        with pytest.raises(Precondition, match="'one' and 'two' take image embeddings, too"):
            need_model(await client.served(), method)
    tiny.save_unclip(tmp_path / "unclip")
    async with client_of(tmp_path) as client:
        assert need_model(await client.served(), method).name == "unclip"
