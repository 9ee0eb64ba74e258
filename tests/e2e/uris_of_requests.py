"""A request for every field that takes a URI, and a host that nobody named."""

import asyncio
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor

# Stands for the URI of somebody else, and for those of ours.
FOREIGN = "foreign:"
IMAGE, MANIFEST = "store:a.png", "store:datasets/tested/manifest.parquet"
PHOTOS = "file:///photos"
_ARTEFACT = {"uri": FOREIGN, "sha256": "0" * 64, "kind": "ARTEFACT_KIND_TOKENS"}
_RUN = {"manifestUri": MANIFEST, "strategy": "real", "classifier": "cnn4"}
_STUDY = {"dataset": "datasets/tested", "imagesPerClass": 1, "seeds": [0]}
_TESTS = [{"name": "other", "manifestUri": FOREIGN}]
_SOURCE = {"trainUri": PHOTOS}


def _generated(model: str = "text", **fields: Any) -> dict[str, Any]:
    item = {"itemId": "a", "text": {"prompt": "a dog"}}
    if image := fields.pop("image", None):
        item["image"] = image
    return {"model": model, "sampling": {"steps": 1}, "items": [item], **fields}


def _mixed(**images: str) -> dict[str, Any]:
    return {"firstImageUri": IMAGE, "secondImageUri": IMAGE, **images}


def _augmented(**fields: Any) -> dict[str, Any]:
    made = {"method": "simple", "imagesPerClass": 1, **fields}
    return {"parent": "datasets/tested", "augmentationId": "a", "augmentation": made}


def _studied(method: str = "simple", arm: dict[str, Any] | None = None, **fields: Any) -> Any:
    return {"study": {**_STUDY, "arms": [{"method": method, **(arm or {})}], **fields}}


_AREA = {"left": 0.2, "top": 0.2, "right": 0.8, "bottom": 0.8}
# By service and method.
REQUESTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "captioner": [
        ("CaptionImage", {"imageUri": FOREIGN}),
        ("StreamCaptions", {"itemId": "a", "request": {"imageUri": FOREIGN}}),
    ],
    "generator": [
        ("EncodeImages", {"model": "unclip", "imageUris": [FOREIGN]}),
        *(
            ("GenerateImages", one)
            for one in (
                _generated(image={"start": {"imageUri": FOREIGN, "strength": 0.5}}),
                _generated("pix2pix", image={"concat": {"imageUri": FOREIGN}}),
                _generated("unclip", image={"unclip": {"imageUri": FOREIGN}}),
                # Refused before: no model that ships has an adapter.
                _generated(image={"adapter": {"imageUri": FOREIGN}}),
                *(
                    _generated("unclip", image={kind: {**_mixed(**{side: FOREIGN}), **share}})
                    for kind, share in (("mixup", {"share": 0.5}), ("cutmix", _AREA))
                    for side in ("firstImageUri", "secondImageUri")
                ),
                _generated(outputUri=FOREIGN),
                _generated(artefacts=[_ARTEFACT]),
            )
        ),
    ],
    "retriever": [
        ("EmbedImages", {"imageUris": [FOREIGN]}),
        ("CreateIndex", {"indexId": "foreign", "poolUri": FOREIGN}),
        *(
            ("SearchImages", {"index": "indexes/searched", "hitCount": 1, **one})
            for one in (
                {"queries": [{"imageUri": FOREIGN}]},
                {"queries": [{"text": "a dog"}], "drop": {"protectedManifestUri": FOREIGN}},
            )
        ),
        ("ScreenImages", {"candidates": [{"imageUri": FOREIGN}]}),
        (
            "ScreenImages",
            {"candidates": [{"imageUri": IMAGE}], "protectedManifestUri": FOREIGN},
        ),
    ],
    "trainer": [
        *(
            ("CreateTrainingRun", {"trainingRunId": "foreign", "trainingRun": {**_RUN, **one}})
            for one in (
                {"manifestUri": FOREIGN},
                {"syntheticManifestUri": FOREIGN, "strategy": "combined"},
                {"initialWeightsUri": FOREIGN},
                {"testSets": _TESTS},
            )
        ),
        (
            "CreateTuning",
            {
                "tuningId": "foreign",
                "tuning": {
                    "manifestUri": FOREIGN,
                    "method": "textual_inversion",
                    "model": "text",
                    "classNames": ["dog"],
                },
            },
        ),
    ],
    "gateway": [
        *(
            ("ImportDataset", {"datasetId": "foreign", "source": {**_SOURCE, **one}})
            for one in ({"trainUri": FOREIGN}, {"testUri": FOREIGN})
        ),
        ("CreateAugmentation", _augmented(method="retrieval", poolUri=FOREIGN)),
        ("CreateAugmentation", _augmented(rejectionsUri=FOREIGN)),
        *(
            ("CreateStudy", {"studyId": "foreign", **one})
            for one in (
                _studied("retrieval", poolUri=FOREIGN),
                _studied("theirs", {"addedManifestUri": FOREIGN}),
                _studied(training={"initialWeightsUri": FOREIGN}),
            )
        ),
    ],
}


def filled(body: Any, values: dict[str, str]) -> Any:
    """Returns a body with the URIs that the texts in it stand for."""
    if isinstance(body, dict):
        return {key: filled(value, values) for key, value in body.items()}
    if isinstance(body, list):
        return [filled(value, values) for value in body]
    return values.get(body, body) if isinstance(body, str) else body


def fields_of(kind: Descriptor, body: Any) -> Iterator[tuple[str, str]]:
    """Yields the fields, each with the name of its message, that the foreign URI is put into."""
    names = {field.json_name: field for field in kind.fields}
    for key, value in body.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and names[key].message_type:
                yield from fields_of(names[key].message_type, one)
            elif one == FOREIGN:
                yield kind.full_name, names[key].name


class Listener:
    """Somebody else's host: counts who connects to it."""

    def __init__(self) -> None:
        self.connections = 0

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()

    async def __aenter__(self) -> "Listener":
        self._server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self.place = "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()

    def uris(self) -> list[str]:
        """Returns URIs that lead to it, in the forms that programs know."""
        schemes = ("http", "https", "ftp", "s3", "hf", "file", "store")
        return [
            *(f"{scheme}://{self.place}/a" for scheme in schemes),
            f"s3://bucket/a?endpoint={self.place}&secure=false",
            f"store:a?endpoint={self.place}",
            f"//{self.place}/a",
        ]
