"""Embedding of texts and images over a real server."""

import asyncio

import grpc
import numpy as np
import pytest
from PIL import Image
from variegate.retriever.v1 import retriever_pb2 as pb

from servicekit.statuses import from_rpc_error
from servicekit.storage import MemoryStore
from tests.retriever.conftest import Client, put_image, vector_of


async def embed_texts(client: Client, *texts: str) -> list[np.ndarray]:
    response = await client.retriever.EmbedTexts(pb.EmbedTextsRequest(texts=texts), timeout=30)
    return [vector_of(embedding) for embedding in response.embeddings]


async def embed_images(client: Client, *uris: str) -> list[np.ndarray]:
    request = pb.EmbedImagesRequest(image_uris=uris)
    response = await client.retriever.EmbedImages(request, timeout=30)
    return [vector_of(embedding) for embedding in response.embeddings]


async def test_texts_and_images_become_unit_vectors_of_one_encoder(
    client: Client, photographs: list[bytes]
):
    uris = [put_image(client.store, data) for data in photographs[:3]]
    texts = await client.retriever.EmbedTexts(pb.EmbedTextsRequest(texts=["a", "b"]), timeout=30)
    images = await client.retriever.EmbedImages(pb.EmbedImagesRequest(image_uris=uris), timeout=30)
    every = [*texts.embeddings, *images.embeddings]
    assert len({embedding.encoder for embedding in every}) == 1
    assert "@" in every[0].encoder
    for embedding in every:
        assert np.linalg.norm(vector_of(embedding)) == pytest.approx(1.0, abs=1e-5)


async def test_answers_are_in_order_and_do_not_depend_on_company(
    client: Client, photographs: list[bytes]
):
    uris = [put_image(client.store, data) for data in photographs[:70]]
    together = await embed_images(client, *uris)
    for index in (0, 33, 69):
        (alone,) = await embed_images(client, uris[index])
        np.testing.assert_allclose(alone, together[index], atol=1e-5)


async def test_many_clients_meet_in_few_batches(client: Client, photographs: list[bytes]):
    uris = [put_image(client.store, data) for data in photographs[:32]]
    alone = [await embed_images(client, uri) for uri in uris]
    together = await asyncio.gather(*(embed_images(client, uri) for uri in uris))
    np.testing.assert_allclose(alone, together, atol=1e-5)


async def test_texts_longer_than_the_context_are_cut_off(client: Client):
    (vector,) = await embed_texts(client, "a photo of a dog " * 200)
    assert np.isfinite(vector).all()


async def test_texts_that_were_cut_are_told_by_their_place(client: Client):
    exact = " ".join(["dog"] * 30)  # with begin and end the 32 tokens of nano CLIP
    texts = ["a", exact, f"{exact} dog", "a photo of a dog", "dog " * 500]
    request = pb.EmbedTextsRequest(texts=texts)
    response = await client.retriever.EmbedTexts(request, timeout=30)
    assert list(response.cut_texts) == [2, 4]
    whole, longer = (vector_of(response.embeddings[at]) for at in (2, 4))
    np.testing.assert_array_equal(whole, longer)


async def test_the_event_loop_turns_while_images_are_embedded(
    client: Client, photographs: list[bytes]
):
    uris = [put_image(client.store, data) for data in photographs[:100]]
    work = asyncio.ensure_future(embed_images(client, *uris))
    longest, before = 0.0, asyncio.get_running_loop().time()
    while not work.done():
        await asyncio.sleep(0.005)
        now = asyncio.get_running_loop().time()
        longest, before = max(longest, now - before), now
    assert len(work.result()) == 100
    assert longest < 0.5


async def test_a_missing_image_is_named(client: Client, photographs: list[bytes]):
    good = put_image(client.store, photographs[0])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embed_images(client, good, "store:images/none.png")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "images/none.png" in from_rpc_error(caught.value).message


@pytest.mark.parametrize(
    ("data", "reason"), [(b"no image", "NOT_AN_IMAGE"), (b"", "EMPTY"), ("half", "TRUNCATED")]
)
async def test_a_damaged_image_is_named_with_its_field(
    client: Client, photographs: list[bytes], data: bytes | str, reason: str
):
    content = photographs[1][:-200] if isinstance(data, str) else data
    good, bad = put_image(client.store, photographs[0]), put_image(client.store, content)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await embed_images(client, good, bad)
    error = from_rpc_error(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.reason, error.metadata["image_uri"]) == (reason, bad)
    assert error.field == "image_uris[1]"


async def test_a_path_outside_the_store_is_refused(client: Client):
    for uri in ("file:///etc/passwd", "store:../secret", "/etc/passwd"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await embed_images(client, uri)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_images_of_any_shape_and_mode_are_embedded(client: Client, store: MemoryStore):
    shapes = [Image.new("RGB", (1, 1)), Image.new("RGB", (500, 3)), Image.new("RGB", (300, 200))]
    vectors = await embed_images(client, *(put_image(store, image) for image in shapes))
    assert all(np.isfinite(vector).all() for vector in vectors)
