"""ScreenImages over a real server."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import grpc
import pytest
from command_line import ROOT
from PIL import Image, ImageOps

from imaging.decode import decode_image
from imaging.hashing import perceptual_hash, pixel_sha256
from servicekit.statuses import from_rpc_error
from servicekit.storage import MemoryStore, to_uri
from tests.retriever.conftest import SETTINGS, Client, put_image, put_table, serving


def put_manifest(store: MemoryStore, files: list[bytes], name: str = "d") -> str:
    """Stores a dataset manifest: the second half of the images is the test split."""
    half = len(files) // 2
    return put_table(
        store,
        f"datasets/{name}/manifest.parquet",
        {
            "image_uri": [put_image(store, data) for data in files],
            "split": ["train"] * half + ["test"] * (len(files) - half),
        },
    )


async def test_nothing_asked_for_gives_fingerprints_and_accepts(
    client: Client, photographs: list[bytes]
):
    (verdict,) = await client.screen([put_image(client.store, photographs[0])])
    image = decode_image(photographs[0])
    assert verdict.accepted and not verdict.reasons
    assert (verdict.unsafe_score, verdict.clip_score) == (-1.0, -2.0)
    assert verdict.pixel_sha256 == pixel_sha256(image)
    assert verdict.perceptual_hash == perceptual_hash(image)
    assert (verdict.duplicate_of_uri, verdict.duplicate_of_split) == ("", "")


async def test_safety_is_scored_and_rejects_above_the_threshold(
    client: Client, photographs: list[bytes]
):
    uris = [put_image(client.store, data) for data in photographs[:10]]
    scored = await client.screen(uris, max_unsafe_score=1.0)
    assert all(verdict.accepted and 0 <= verdict.unsafe_score <= 1 for verdict in scored)
    assert len({verdict.unsafe_score for verdict in scored}) > 5  # a model looked at them
    cut = sorted(verdict.unsafe_score for verdict in scored)[5]
    judged = await client.screen(uris, max_unsafe_score=cut)
    for before, after in zip(scored, judged, strict=True):
        assert after.unsafe_score == pytest.approx(before.unsafe_score, abs=1e-4)
        assert ("UNSAFE" in after.reasons) == (after.unsafe_score > cut + 1e-6)


async def test_photographs_of_animals_and_vehicles_are_safe(
    client: Client, photographs: list[bytes]
):
    uris = [put_image(client.store, data) for data in photographs[:16]]
    verdicts = await client.screen(uris, max_unsafe_score=0.8)
    assert sum(verdict.accepted for verdict in verdicts) >= 15


async def test_the_clip_score_is_given_and_rejects_only_below_a_threshold(
    client: Client, photographs: list[bytes]
):
    uri = put_image(client.store, photographs[0])
    (free,) = await client.screen([uri], text="a photo of a dog")
    assert free.accepted and -1 <= free.clip_score <= 1
    (kept,) = await client.screen([uri], text="a photo of a dog", min_clip_score=-1.0)
    (lost,) = await client.screen([uri], text="a photo of a dog", min_clip_score=1.0)
    assert kept.accepted and not lost.accepted and list(lost.reasons) == ["LOW_CLIP_SCORE"]
    (unasked,) = await client.screen([uri], min_clip_score=1.0)
    assert unasked.accepted and unasked.clip_score == -2.0


async def test_an_unreadable_image_is_rejected_and_the_others_are_judged(
    client: Client, photographs: list[bytes]
):
    good, bad = put_image(client.store, photographs[0]), put_image(client.store, b"no image")
    verdicts = await client.screen([bad, good, "store:images/none.png"], max_unsafe_score=1.0)
    assert [list(verdict.reasons) for verdict in verdicts] == [["UNREADABLE"], [], ["UNREADABLE"]]
    assert [verdict.accepted for verdict in verdicts] == [False, True, False]


async def test_the_same_pixels_in_another_file_are_an_exact_copy_whatever_the_split(
    client: Client, photographs: list[bytes]
):
    manifest = put_manifest(client.store, photographs[:20])
    copies = [put_image(client.store, decode_image(photographs[row])) for row in (3, 15)]
    other = put_image(client.store, photographs[30])
    train, test, fresh = await client.screen([*copies, other], protected=manifest)
    assert (list(train.reasons), train.duplicate_of_split) == (["EXACT_DUPLICATE"], "train")
    assert (list(test.reasons), test.duplicate_of_split) == (["EXACT_DUPLICATE"], "test")
    assert test.duplicate_of_uri == put_image(client.store, photographs[15])
    assert fresh.accepted and fresh.duplicate_of_uri == ""


async def test_changed_copies_are_near_copies_and_say_of_what(
    client: Client, photographs: list[bytes]
):
    manifest = put_manifest(client.store, photographs[:20])
    image = decode_image(photographs[15])
    cropped = image.crop((1, 1, 31, 31)).resize(image.size, Image.Resampling.BICUBIC)
    changed = [ImageOps.mirror(image), cropped, image.resize((64, 64)), ImageOps.mirror(cropped)]
    uris = [put_image(client.store, one) for one in changed]
    for verdict in await client.screen(uris, protected=manifest):
        assert list(verdict.reasons) == ["NEAR_DUPLICATE"]
        assert verdict.duplicate_of_uri == put_image(client.store, photographs[15])
        assert verdict.duplicate_of_split == "test"


async def test_distance_nought_still_finds_exact_copies_but_not_crops(
    client: Client, photographs: list[bytes]
):
    manifest = put_manifest(client.store, photographs[:20])
    image = decode_image(photographs[4])
    cropped = image.crop((0, 2, 27, 29)).resize(image.size, Image.Resampling.BICUBIC)
    uris = [put_image(client.store, one) for one in (image, cropped)]
    exact, crop = await client.screen(uris, protected=manifest, max_duplicate_distance=0)
    assert list(exact.reasons) == ["EXACT_DUPLICATE"] and crop.accepted


class CountingStore(MemoryStore):
    """A store that counts reads of images."""

    image_reads = 0

    def get(self, key: str) -> bytes:
        self.image_reads += key.startswith("images/")
        return super().get(key)


async def test_fingerprints_of_a_manifest_are_made_once_and_outlive_the_process(
    photographs: list[bytes],
):
    store = CountingStore()
    manifest = put_manifest(store, photographs[:100])
    uri = put_image(store, photographs[200])
    async with serving(store) as client:
        await asyncio.gather(*(client.screen([uri], protected=manifest) for _ in range(4)))
        assert store.image_reads == 100 + 4
    async with serving(store) as client:
        (copy,) = await client.screen([put_image(store, photographs[60])], protected=manifest)
    assert store.image_reads == 100 + 4 + 1
    assert list(copy.reasons) == ["EXACT_DUPLICATE"]


async def test_a_manifest_that_was_replaced_is_read_again(client: Client, photographs: list[bytes]):
    uri = put_image(client.store, photographs[9])
    manifest = put_manifest(client.store, photographs[:5])
    (before,) = await client.screen([uri], protected=manifest)
    assert put_manifest(client.store, photographs[5:10]) == manifest
    (after,) = await client.screen([uri], protected=manifest)
    assert before.accepted and list(after.reasons) == ["EXACT_DUPLICATE"]


async def test_a_manifest_that_cannot_be_used_is_named(client: Client, photographs: list[bytes]):
    uri = put_image(client.store, photographs[0])
    client.store.put("datasets/text/manifest.parquet", b"hello")
    lost = put_table(
        client.store,
        "datasets/lost/manifest.parquet",
        {"image_uri": ["store:images/none.png"], "split": ["test"]},
    )
    columns = put_table(client.store, "datasets/columns/manifest.parquet", {"name": ["a"]})
    expected = {
        "store:datasets/none/manifest.parquet": grpc.StatusCode.NOT_FOUND,
        "store:datasets/text/manifest.parquet": grpc.StatusCode.INVALID_ARGUMENT,
        columns: grpc.StatusCode.INVALID_ARGUMENT,
        lost: grpc.StatusCode.FAILED_PRECONDITION,
    }
    for manifest, code in expected.items():
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.screen([uri], protected=manifest)
        assert caught.value.code() is code
        assert "store:" in from_rpc_error(caught.value).message or "datasets/" in str(caught.value)


async def test_several_reasons_are_listed_together(client: Client, photographs: list[bytes]):
    manifest = put_manifest(client.store, photographs[:4])
    uri = put_image(client.store, photographs[1])
    (verdict,) = await client.screen(
        [uri], text="a ship", protected=manifest, min_clip_score=1.0, max_unsafe_score=0.0
    )
    assert list(verdict.reasons) == ["UNSAFE", "LOW_CLIP_SCORE", "EXACT_DUPLICATE"]


async def test_a_manifest_is_read_once_and_its_fingerprints_are_mapped_by_the_next_process(
    photographs: list[bytes], tmp_path
):
    class Store(MemoryStore):
        reads: ClassVar[list[str]] = []

        def get(self, key: str) -> bytes:
            self.reads.append(key)
            return super().get(key)

    store = Store()
    settings = replace(SETTINGS, cache=tmp_path)
    manifest = put_manifest(store, photographs[:30])
    uri = put_image(store, photographs[200])
    for expected in (1, 2):
        async with serving(store, settings) as client:
            for _ in range(3):
                assert (await client.screen([uri], protected=manifest))[0].accepted
        assert store.reads.count("datasets/d/manifest.parquet") == expected
    assert not [key for key in store.reads if key.startswith("fingerprints/")]
    assert len([key for key in store.reads if key.startswith("images/")]) == 30 + 6


async def test_fingerprints_unused_longest_make_room_and_are_not_made_anew_from_images(
    photographs: list[bytes], tmp_path
):
    store = MemoryStore()
    settings = replace(SETTINGS, cache=tmp_path, fingerprint_gigabytes=0)
    cache, copy = tmp_path / "protected", [put_image(store, photographs[3])]
    first = put_manifest(store, photographs[:20], "first")
    async with serving(store, settings) as client:
        [verdict] = await client.screen(copy, protected=first)
    [old] = cache.iterdir()
    os.utime(old, (0, 0))
    second = put_manifest(store, photographs[20:40], "second")
    async with serving(store, settings) as client:
        await client.screen(copy, protected=second)
        [new] = cache.iterdir()
        assert new != old
        for key in [key for key in store.list("images/") if to_uri(key) not in copy]:
            store.delete(key)
        assert await client.screen(copy, protected=first) == [verdict]
    assert not verdict.accepted
    assert set(cache.iterdir()) == {old, new}, "both were in use"


def test_the_safety_classifier_reports_to_nobody_and_leaves_nothing_at_home(tmp_path):
    """The runtime sends usage to its maker unless it is told not to."""
    program = (
        "from PIL import Image\n"
        "from retriever.screening.safety import SafetyCheck\n"
        "assert 0 <= SafetyCheck()._score([Image.new('RGB', (32, 32))])[0] <= 1\n"
    )
    kept = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ = {**kept, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    path = [str(ROOT), str(ROOT / "protos" / "gen")]
    environ["PYTHONPATH"] = os.pathsep.join(path)
    subprocess.run([sys.executable, "-c", program], check=True, env=environ, timeout=120)
    assert list(tmp_path.rglob("*")) == []
