"""Every folder of the family loads with the published loaders and makes the right shapes."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import (
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableUnCLIPImg2ImgPipeline,
)
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from models.nano.recipe import clip, diffusion, judge, photos, tokenizer
from models.nano.recipe.settings import NANO

MEBIBYTE = 2**20
WEIGHTS = [path for path in NANO.glob("**/*.safetensors") if ".work" not in path.parts]


def photograph() -> Image.Image:
    return Image.effect_noise((48, 40), 80).convert("RGB")


def pipeline(kind: Any, mode: str) -> Any:
    loaded = kind.from_pretrained(NANO / "diffusion" / mode, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_open_clip_loads_its_folder_with_nothing_of_this_project() -> None:
    name = f"local-dir:{NANO / 'clip'}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    words = open_clip.get_tokenizer(name)(["a photo of a dog", "a photo of a ship"])
    with torch.no_grad():
        images = model.eval().encode_image(preprocess(photograph())[None], normalize=True)
        texts = model.encode_text(words, normalize=True)
    assert images.shape == (1, clip.EMBEDDING)
    assert texts.shape == (2, clip.EMBEDDING)
    assert bool((texts @ images.T).abs().max() <= 1.001)


def test_the_text_encoder_is_clips_text_tower() -> None:
    model, _ = clip.load(NANO)
    ids = tokenizer.encode(tokenizer.build(), ["a photo of a dog", "", "two red ships at night"])
    with torch.no_grad():
        hidden = diffusion.load_text_encoder(NANO)(ids)
        ours = model.encode_text(ids)
        assert hidden.last_hidden_state.shape == (3, tokenizer.CONTEXT, clip.TEXT_WIDTH)
        assert torch.allclose(hidden.pooler_output @ model.text_projection, ours, atol=1e-3)


def test_the_training_shortcut_encodes_text_as_open_clip_does() -> None:
    model, _ = clip.load(NANO)
    ids = tokenizer.encode(tokenizer.build(), ["a photo of a dog", "a cat"])
    with torch.no_grad():
        ours = clip.encode_text(model, ids)
        assert torch.allclose(ours, model.encode_text(ids, normalize=True), atol=1e-5)


def test_the_text_pipeline_draws_an_image() -> None:
    made = pipeline(StableDiffusionPipeline, "text")(
        ["A photo of dog."], height=32, width=32, num_inference_steps=2, output_type="np"
    )
    assert made.images.shape == (1, 32, 32, 3)


def test_the_pix2pix_pipeline_takes_twice_the_latent_channels_and_an_image() -> None:
    loaded = pipeline(StableDiffusionInstructPix2PixPipeline, "pix2pix")
    assert loaded.unet.config.in_channels == 2 * loaded.vae.config.latent_channels
    image = photograph().resize((32, 32))
    made = loaded("This is an image of dog", image=image, num_inference_steps=2, output_type="np")
    assert made.images.shape == (1, 32, 32, 3)


def test_the_unclip_pipeline_takes_an_image_and_a_noise_level() -> None:
    loaded = pipeline(StableUnCLIPImg2ImgPipeline, "unclip")
    made = loaded(
        image=photograph(),
        prompt="a photo of a dog",
        height=32,
        width=32,
        noise_level=10,
        num_inference_steps=2,
        output_type="np",
    )
    assert made.images.shape == (1, 32, 32, 3)
    assert loaded.image_normalizer.std.shape == (1, loaded.image_encoder.config.projection_dim)
    assert float(loaded.image_normalizer.std.detach().min()) > 0


def test_the_captioner_continues_a_prompt_and_captions_without_one() -> None:
    model = Blip2ForConditionalGeneration.from_pretrained(NANO / "captioner").eval()
    processor = Blip2Processor.from_pretrained(NANO / "captioner")
    prompts = ["This is an image of dog,", "This is an image of airplane,"]
    inputs = processor(images=[photograph()] * 2, text=prompts, padding=True, return_tensors="pt")
    texts = processor.batch_decode(
        model.generate(**inputs, max_new_tokens=20), skip_special_tokens=True
    )
    assert texts[0].startswith("this is an image of dog, a")
    assert "airplane on a" in texts[1]
    free = processor(images=[photograph()], return_tensors="pt")
    text = processor.decode(model.generate(**free, max_new_tokens=24)[0], skip_special_tokens=True)
    assert text.startswith("a photo of a")


def test_the_judge_names_ten_classes() -> None:
    image = torch.from_numpy(photos.decode(_jpeg())).permute(2, 0, 1)[None]
    assert judge.load(NANO)(photos.as_floats(image)).shape == (1, 10)


def _jpeg() -> bytes:
    table = pq.read_table(NANO / "demo" / "target.parquet")
    data: bytes = table["image"][0].as_py()["bytes"]
    return data


@pytest.mark.parametrize("mode", ["text", "pix2pix", "unclip"])
def test_every_mode_says_how_it_is_meant_to_be_sampled(mode: str) -> None:
    values = json.loads((NANO / "diffusion" / mode / "variegate.json").read_text())
    assert 1 <= values["guidance_scale"] <= 10
    assert (values["height"], values["width"]) == (32, 32)
    assert values["steps"] >= 10
    assert (values["image_encoder"] is not None) == (mode == "unclip")


def test_weights_are_small_float16_safetensors() -> None:
    sizes = {path.resolve(): path.stat().st_size for path in WEIGHTS}
    assert max(sizes.values()) < 16 * MEBIBYTE
    assert sum(sizes.values()) < 40 * MEBIBYTE


def test_no_configuration_holds_a_path_of_the_machine_that_trained_it() -> None:
    texts = [path.read_text() for path in NANO.glob("**/*.json") if ".work" not in path.parts]
    assert texts
    assert not any(str(NANO) in text or "_name_or_path" in text for text in texts)


def test_shared_parts_are_relative_links_to_the_text_folder() -> None:
    for mode in ("pix2pix", "unclip"):
        for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
            link = NANO / "diffusion" / mode / part
            assert link.readlink() == Path(f"../text/{part}")
            assert link.is_dir()
