"""The parts of the recipe that hold its promises: mixing, noising, starting points, the loop."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from models.nano.recipe import __main__ as recipe
from models.nano.recipe import diffusion, evaluate, metrics, pix2pix, principal, unclip, vae
from models.nano.recipe.training import Schedule, Trainer


def test_mixing_takes_every_entry_from_the_group_at_the_same_place() -> None:
    group = torch.randn(5, 32, 16)
    mixed = pix2pix.mix(group, torch.Generator().manual_seed(0))
    assert mixed.shape == group.shape
    assert bool((mixed[:, None] == group[None]).any(1).all())
    assert not torch.equal(mixed, group)


def test_mixing_repeats_itself_with_the_same_seed() -> None:
    group = torch.randn(4, 8, 8)
    first, second = (pix2pix.mix(group, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_group_of_one_is_mixed_with_itself_and_stays() -> None:
    group = torch.randn(1, 8, 8)
    assert torch.equal(pix2pix.mix(group, torch.Generator().manual_seed(0)), group)


def test_the_encoder_starts_as_principal_components() -> None:
    images = nn.functional.interpolate(torch.randn(40, 3, 8, 8), size=32, mode="bicubic").tanh()
    model = AutoencoderKL(**vae.MODEL)
    principal.start(model, images)
    mean, directions, deviations = principal.components(images)
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(40, 64, 48)
    kept = directions[:8].flatten(1) / deviations[:8, None] ** 0.5
    wanted = ((patches - mean) @ kept.T).transpose(1, 2).view(40, 8, 8, 8)
    with torch.no_grad():
        found = model.encode(images).latent_dist.mode()
    assert float((found - wanted).abs().mean()) < 0.03 * float(wanted.abs().mean())


def test_normalising_changes_the_latents_scale_and_not_the_pictures() -> None:
    model, images = AutoencoderKL(**vae.MODEL), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = model.encode(images).latent_dist.mode()
        picture = model.decode(before).sample
        vae.normalise(model, 4.0)
        after = model.encode(images).latent_dist.mode()
    assert torch.allclose(after * 4, before, atol=1e-4)
    assert torch.allclose(model.decode(after).sample, picture, atol=1e-3)


def test_the_grown_networks_start_as_the_text_model() -> None:
    source = UNet2DConditionModel(**diffusion.UNET).eval()
    latents, text, step = torch.randn(2, 8, 8, 8), torch.randn(2, 32, 128), torch.tensor([5, 9])
    with torch.no_grad():
        wanted = source(latents, step, text).sample
        wide = pix2pix.grown(source).eval()(torch.cat([latents, latents], 1), step, text).sample
        labels = torch.randn(2, 2 * unclip.DIMENSION)
        labelled = unclip.grown(source).eval()(latents, step, text, class_labels=labels).sample
    assert torch.allclose(wide, wanted, atol=1e-5)
    assert torch.allclose(labelled, wanted, atol=1e-5)


def test_blending_lies_between_the_text_model_and_the_tuned_one() -> None:
    source = UNet2DConditionModel(**diffusion.UNET)
    tuned = unclip.grown(source)
    with torch.no_grad():
        tuned.conv_in.bias += 1
        tuned.class_embedding.linear_2.bias += 1
    unclip.blend(tuned, source, 0.75)
    assert torch.allclose(tuned.conv_in.bias, source.conv_in.bias + 0.75, atol=1e-6)
    assert torch.allclose(tuned.class_embedding.linear_2.bias, torch.tensor(0.75))


def test_training_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    def run(minutes: float) -> int:
        torch.manual_seed(0)
        module = nn.Linear(4, 1)
        schedule = Schedule(minutes, batch_size=2, learning_rate=0.1)
        trainer = Trainer(module, schedule, tmp_path / "line.pt")
        return trainer.run(lambda g: module(torch.randn(2, 4, generator=g)).square().mean()).samples

    first = run(0.003)
    assert run(0.006) > first > 0
    assert run(0.003) > first  # spent already: nothing is added to what the checkpoint holds


def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    trainer = Trainer(module, Schedule(1, 1, 0.1), tmp_path / "bad.pt")
    with pytest.raises(FloatingPointError, match="loss became nan"):
        trainer.run(lambda _: module(torch.full((1, 1), torch.nan)).sum())


def test_a_folder_without_photographs_is_refused_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipe.main(["--photos", str(tmp_path)]) == 2
    assert "test.parquet not found" in capsys.readouterr().err
    assert evaluate.main(["--photos", str(tmp_path)]) == 2


def test_an_unknown_stage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--photos", str(tmp_path), "--only", "clop"]) == 2
    assert "clop" in capsys.readouterr().err


def test_every_stage_comes_after_what_it_needs() -> None:
    order = list(recipe.STAGES)
    assert all(order.index(n) < order.index(s) for s, needs in recipe.STAGES.items() for n in needs)


def test_the_frechet_distance_of_equal_sets_is_zero_and_grows_with_a_shift() -> None:
    features = torch.randn(500, 8)
    assert metrics.frechet(features, features) == pytest.approx(0, abs=1e-3)
    assert metrics.frechet(features, features + 1) == pytest.approx(8, abs=1e-2)


def test_recall_is_one_on_itself_and_zero_far_away() -> None:
    features = torch.randn(100, 4)
    assert metrics.recall(features, features) == 1
    assert metrics.recall(features + 100, features) == 0


def test_a_mirrored_copy_is_found_as_a_copy() -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    assert float(metrics.nearest(images.flip(3), images).max()) < 0.05


def test_the_guidance_nearest_to_the_photographs_above_the_floor_is_chosen() -> None:
    trials = {
        "1": {"class_share": 0.4, "frechet": 9.0},
        "2": {"class_share": 0.7, "frechet": 10.0},
        "3": {"class_share": 0.8, "frechet": 11.0},
    }
    assert evaluate.choose(trials) == "2"
    assert evaluate.choose({"1": trials["1"], "2": {"class_share": 0.5, "frechet": 12.0}}) == "2"
