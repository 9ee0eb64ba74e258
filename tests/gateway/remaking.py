"""Makes an item for the generator out of a row of an augmentation's manifest, and nothing else.

What a lineage must say is what this reads. Images are found by the ids of the parents, which the
manifest of the dataset has.
"""

import json

import numpy as np
from variegate.artefacts.v1 import artefacts_pb2 as artefacts_pb
from variegate.generator.v1 import generator_pb2 as pb

from gateway.clients.tensors import to_array, to_tensor
from gateway.methods.mixing.embedding import Dropout, EmbedCutMix, EmbedMixUp

_OF_TEXT = (artefacts_pb.ARTEFACT_KIND_TOKENS, artefacts_pb.ARTEFACT_KIND_CONDITIONING)


async def request_of(row, uris, stub):
    """The call that makes the image of a row again. `uris` are those of the dataset's images."""
    lineage = json.loads(row["lineage"])
    item = pb.Item(item_id="again", seed=row["seed"])
    parents = [uris[parent] for parent in row["parents"]]
    _set_text(item.text, row, lineage)
    if parents:
        await _set_image(item.image, row, lineage, parents, stub)
    if negative := lineage.get("negative_prompt"):
        item.negative.prompt = negative
    if not row["prompt"]:
        item.ClearField("text")
    artefacts = [_artefact(**one) for one in lineage.get("artefacts", ())]
    if of_text := [one for one in artefacts if one.kind in _OF_TEXT]:
        item.text.artefacts.extend(of_text)
    request = pb.GenerateImagesRequest(model=row["model"], items=[item], output_uri="store:again")
    request.artefacts.extend(one for one in artefacts if one.kind not in _OF_TEXT)
    request.sampling.steps = row["steps"]
    request.sampling.guidance_scale = row["guidance_scale"]
    request.sampling.deterministic = lineage["deterministic"]
    return request


def _artefact(uri, sha256, kind, **others):
    return artefacts_pb.Artefact(uri=uri, sha256=sha256, kind=f"ARTEFACT_KIND_{kind}")


def _set_text(text, row, lineage):
    if not (mix := lineage.get("mix")):
        text.prompt = row["prompt"]
        return
    numbers = sorted(mix["captions"], key=int)
    places = {int(number): place for place, number in enumerate(numbers)}
    text.mix.captions.extend(mix["captions"][number] for number in numbers)
    text.mix.start = places[mix["start"]]
    for source, first, end in mix["coarse"]:
        text.mix.coarse.add(source=places[source], first=first, end=end)
    for source, place, first, end in mix["fine"]:
        text.mix.fine.add(source=places[source], row=place, first=first, end=end)


async def _set_image(image, row, lineage, parents, stub):
    if "concat_sha256" in lineage:
        image.concat.image_uri = parents[0]
    elif "strength" in lineage:
        image.start.image_uri, image.start.strength = parents[0], lineage["strength"]
    elif "lambda" in lineage and "embed" not in row["method"]:
        await _set_pixel_mix(image, row, lineage, parents, stub)
    else:
        vectors, encoder = await _embeddings(row["model"], parents, stub)
        vector = _dropped(row, lineage, _blended(lineage, vectors))
        image.unclip.embedding.CopyFrom(to_tensor(vector, encoder))
        image.unclip.noise_level = lineage["noise_level"]


async def _set_pixel_mix(image, row, lineage, parents, stub):
    if "box" in lineage:
        mix = image.cutmix
        mix.left, mix.top, mix.right, mix.bottom = lineage["box"]
    else:
        mix = image.mixup
        mix.share = lineage["lambda"]
    mix.first_image_uri, mix.second_image_uri = parents
    mix.noise_level = lineage["noise_level"]
    vectors, _ = await _embeddings(row["model"], parents[:1], stub)
    ones = np.ones_like(vectors[0])
    mix.zeroed_features.extend(np.flatnonzero(_dropped(row, lineage, ones) == 0).tolist())


async def _embeddings(model, uris, stub):
    request = pb.EncodeImagesRequest(model=model, image_uris=uris)
    found = (await stub.EncodeImages(request, timeout=60)).embeddings
    return [to_array(tensor) for tensor in found], found[0].encoder


def _blended(lineage, vectors):
    if "cut" in lineage:
        return EmbedCutMix(lineage["lambda"], *lineage["cut"]).apply(*vectors)
    return EmbedMixUp(lineage["lambda"]).apply(*vectors) if "lambda" in lineage else vectors[0]


def _dropped(row, lineage, vector):
    return Dropout(row["seed"], lineage.get("dropout", 0.0)).apply(vector)
