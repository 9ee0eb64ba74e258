"""The gateway's client has a real generator use artefacts of every kind."""

from dataclasses import replace

import pytest
import torch

from diffusion.artefacts.facts import Facts, Kind
from diffusion.artefacts.files import digest_of, write
from gateway.clients.generator import ImageRequest, Sampling
from gateway.clients.image_conditions import ImageEmbedding
from gateway.methods.artefacts import Artefact, ArtefactKind
from servicekit.errors import InvalidArgument
from tests.e2e.test_image_embeddings import FIRST, client_of
from tests.generator import learned, tiny

SAMPLING = Sampling(steps=2, guidance_scale=3.0)
FILE = "ip-adapter_sd15.safetensors"


@pytest.fixture
def kept(tmp_path):
    """A model with an image encoder, and a file of each kind that was made for it."""
    folder = tiny.save_adapter(tiny.save_text(tmp_path / "models" / "mine"), FILE)
    adapter = learned.without_adapter(folder, FILE)
    width = tiny.WIDTH
    return tmp_path / "models", {
        "UNET": write(Facts(Kind.UNET), {"conv_out.bias": torch.full((4,), 0.3)}),
        "TOKENS": learned.word_file(Facts(Kind.TOKENS, word="<cat>")),
        "CONDITIONING": write(
            Facts(Kind.CONDITIONING), {"text": torch.ones(tiny.TOKENS, width) / 3}
        ),
        "ADAPTER": adapter,
    }


async def test_every_kind_is_used_and_only_what_changes_the_model_divides_calls(kept, monkeypatch):
    folder, files = kept
    calls = []
    request = Sampling.request

    def counted(self, model, items, artefacts):
        calls.append(([one.kind for one in artefacts], len(items)))
        return request(self, model, items, artefacts)

    monkeypatch.setattr(Sampling, "request", counted)
    async with client_of(folder, files) as client:
        artefact = {
            kind: Artefact(f"store:artefacts/{kind}", digest_of(data), ArtefactKind(kind))
            for kind, data in files.items()
        }
        model = (await client.served()).models["mine"]
        [vector] = await client.encode_images("mine", [FIRST])
        image = ImageEmbedding(vector, 0)
        unet, adapter = artefact["UNET"], artefact["ADAPTER"]
        requests = [
            ImageRequest("plain", 1, "a <cat>", None),
            ImageRequest("word", 1, "a <cat>", None, (artefact["TOKENS"],)),
            ImageRequest("learned", 1, None, None, (artefact["CONDITIONING"],)),
            ImageRequest("unet", 1, "a <cat>", None, (unet,)),
            ImageRequest("both", 1, "a <cat>", None, (unet, artefact["TOKENS"])),
            ImageRequest("adapter", 1, "a <cat>", image, (adapter,)),
        ]
        made = await client.generate(model, requests, SAMPLING)
        counts, _ = await client.count_tokens("mine", ["<cat>"], [artefact["TOKENS"]])
        wrong = replace(unet, sha256="0" * 64)
        refused = await client.generate(
            model, [ImageRequest("wrong", 1, "a", None, (wrong,))], SAMPLING
        )
    assert len({image.sha256 for image in made.values()}) == len(requests)
    assert calls[:3] == [([], 3), (["UNET"], 2), (["ADAPTER"], 1)]
    assert {
        name: image.model_digest == model.digest_with(wanted.artefacts)
        for wanted, (name, image) in zip(requests, made.items(), strict=True)
    } == dict.fromkeys(made, True)
    assert made["word"].model_digest == model.digest != made["unet"].model_digest
    assert counts == [4]
    assert isinstance(refused["wrong"], InvalidArgument)
