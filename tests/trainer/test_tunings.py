"""What tunings learn: with the nano models, on a few photographs of one class.

They are frogs, and called airplanes: so few images would teach nothing more to a model that knows
their class, and a few steps teach much to one that is told another.
"""

import copy
import dataclasses
import hashlib
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffusion.artefacts.facts import Artefact, Kind
from diffusion.artefacts.files import read
from diffusion.artefacts.unet import read_change
from diffusion.card import read_card
from imaging.decode import decode_image
from trainer.distribution import Share
from trainer.jobs import tune
from trainer.launchers.groups import Group, run_group
from trainer.training import LossNotFiniteError, train
from trainer.tunings import kmeans
from trainer.tunings.methods import METHODS
from trainer.tunings.texts.matrix import simple_prompt
from trainer.tunings.texts.word import first_word, word_of
from trainer.tunings.values import TuneSpec, TuningResult

MODELS = Path("models/nano/diffusion")
IMAGES, HELD_OUT = 7, 2
PARTS = ("unet", "vae", "text_encoder")


@pytest.fixture(autouse=True)
def one_thread():
    """As a worker of these specs; and what it sets for the whole process is put back."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def images(tmp_path_factory, photos):
    """The folder that a tuning of frogs reads."""
    folder = tmp_path_factory.mktemp("frogs")
    rows = [row for row in photos.train if row["class_name"] == "frog"][:IMAGES]
    keys = [row["image_uri"].removeprefix("store:") for row in rows]
    np.save(folder / "images.npy", np.stack([decode_image(photos.files[key], key) for key in keys]))
    return folder


def spec_of(images, folder, method="ft_conditioning", held_out=HELD_OUT, **values):
    row = METHODS[method]
    model, features = MODELS / row.mode, MODELS / "unclip"
    np.savez(
        folder / "rows.npz",
        path=str(images / "images.npy"),
        rows=np.arange(IMAGES),
        labels=np.zeros(IMAGES, np.int64),
        keys=np.arange(IMAGES, dtype=np.uint64),
        train_count=IMAGES - held_out,
    )
    plain = {
        "step_count": 8, "epoch_step_count": 4, "patience": 5, "batch_size": 4, "seed": 2**64 - 1,
        "learning_rate": row.learning_rate, "threads": 1, "checkpoint_seconds": 1e9,
        "device": "cpu", "image_size": 32, "cluster_count": 3, "rank": 2, "data_digest": "d" * 64,
        "class_names": ("frog",), "class_texts": ("aircraft, airplane",),
        "templates": ("a photo of a {}.", "a bad photo of the {}."),
    }  # fmt: skip
    return TuneSpec(
        folder=str(folder),
        method=method,
        model_folder=str(model),
        model_digest=read_card(model).digest,
        feature_folder=str(features),
        feature_digest=read_card(features).digest,
        **plain | values,
    )


def ignore(event):
    pass


@pytest.fixture(scope="module")
def tuned(images, tmp_path_factory):
    """Does a method once: its job, its result, and what the model's parts were before."""
    known = {}

    def tuned(method):
        if method not in known:
            spec = spec_of(images, tmp_path_factory.mktemp(method), method)
            torch.set_num_threads(1)
            job = tune.create(spec, Share(), torch.device("cpu"))
            parts = {part: getattr(job.setting.pipeline, part) for part in PARTS}
            before = {part: digest_of(module) for part, module in parts.items()}
            for step, batch in enumerate(job.batches(0)):
                job.update(step, batch)
            after = {part: digest_of(module) for part, module in parts.items()}
            known[method] = SimpleNamespace(
                job=job, spec=spec, before=before, after=after, result=job.finish((1.0,), 1.0)
            )
        return known[method]

    return tuned


def digest_of(module):
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def learned(done, kind, checkpoint="validation"):
    """The facts and tensors of the artefacts of a kind."""
    for one in done.result.artefacts:
        if (one.kind, one.checkpoint) == (kind, checkpoint):
            data = (Path(done.spec.folder) / one.name).read_bytes()
            yield read(data, Artefact("store:it", one.sha256, Kind(one.kind)))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_and_what_is_frozen_does_not_change_by_a_bit(tuned, method):
    done = tuned(method)
    assert done.result.validation_loss < done.result.base_validation_loss
    assert done.result.best_epoch > 0 and done.result.epoch_count == 2
    is_whole = METHODS[method].network == "full"
    changed = {part for part in PARTS if done.before[part] != done.after[part]}
    assert changed == ({"unet"} if is_whole else set())


@pytest.mark.parametrize("method", METHODS)
def test_artefacts_say_what_they_are_of(tuned, method):
    done = tuned(method)
    kinds = {"word": "tokens", "matrix": "conditioning", "clusters": "conditioning"}
    expected = {kinds.get(METHODS[method].text, "unet")}
    expected |= {"unet"} if METHODS[method].network != "frozen" else set()
    of_validation = [one for one in done.result.artefacts if one.checkpoint == "validation"]
    assert {one.kind for one in of_validation} == expected
    for kind in expected:
        for facts, _ in learned(done, kind):
            assert (facts.method, facts.class_name) == (method, "frog")
            assert (facts.base, facts.data) == (done.spec.model_digest, "d" * 64)
    checkpoints = {one.checkpoint for one in done.result.artefacts}
    assert checkpoints == {"validation", "train", "epoch_1", "epoch_2"}


def test_a_word_is_learned_and_helps_in_a_template_that_it_never_met(tuned):
    done = tuned("textual_inversion")
    [(facts, tensors)] = learned(done, "tokens")
    assert facts.word == "<frog>" and tensors["text_encoder"].shape == (1, 128)
    job, text = done.job, done.job._text
    text._spec = dataclasses.replace(done.spec, templates=("an old painting with one {} in it",))
    with torch.no_grad():
        text.tensors[0].copy_(tensors["text_encoder"])
        with_word = job._validation_loss()
        text.tensors[0].copy_(type(text)(job.setting).tensors[0])
        assert with_word < job._validation_loss()


def test_a_word_begins_as_the_mean_of_the_last_word_of_the_first_lemma(tuned):
    setting = tuned("textual_inversion").job.setting
    assert first_word("fire truck, fire engine") == "truck"
    assert word_of("fire_truck (red)") == "<fire-truck--red->"
    pipeline = setting.pipeline
    table = pipeline.text_encoder.get_input_embeddings().weight
    for text in ("a frog, toad", "xylophonist"):
        ids = pipeline.tokenizer(first_word(text), add_special_tokens=False).input_ids
        spec = dataclasses.replace(setting.spec, class_texts=(text,))
        word = type(tuned("textual_inversion").job._text)(dataclasses.replace(setting, spec=spec))
        assert torch.equal(word.tensors[0], table[ids].mean(0, keepdim=True))
    assert len(ids) > 1, "the second has several tokens"


def test_a_conditioning_begins_as_the_prompt_without_white_space():
    assert simple_prompt("fire truck, fire engine") == "A photo of firetruck, fireengine."


def test_each_cluster_has_a_conditioning_of_its_own(tuned):
    done = tuned("ft_cluster_conditioning")
    found = [tensors["text"] for _, tensors in learned(done, "conditioning")]
    assert len(found) == 3
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(found, 2))
    counts = [one.image_count for one in done.result.artefacts if one.checkpoint == "validation"]
    assert sum(counts) == IMAGES - HELD_OUT and min(counts) > 0


def test_fewer_images_than_clusters_make_fewer_and_it_is_said(images, tmp_path):
    spec = spec_of(images, tmp_path, "ft_cluster_conditioning", cluster_count=9, step_count=4)
    result = train(spec, ignore)
    assert len([one for one in result.artefacts if one.checkpoint == "validation"]) == 5
    assert result.notes == ("5 clusters instead of 9: there are no more different images",)


def test_the_clusters_are_those_of_k_means():
    """No division of few points into three is better."""
    points = np.random.default_rng(3).normal(size=(8, 2))
    best = min(
        sum(
            np.square(own - own.mean(0)).sum()
            for own in (points[np.array(labels) == one] for one in range(3))
            if len(own)
        )
        for labels in itertools.product(range(3), repeat=len(points))
    )
    centres = kmeans.kmeans(points, 3, seed=0)
    assert kmeans.inertia(points, centres) == pytest.approx(best)
    assert set(kmeans.nearest(points, centres)) == {0, 1, 2}


def test_a_low_rank_change_gives_what_was_learned_once_it_is_merged(tuned):
    done = tuned("lora")
    [(_, tensors)] = learned(done, "unet")
    assert all(".lora_" in name for name in tensors)
    unet = tuned("ft_conditioning").job.setting.pipeline.unet  # of the same model, and as it is
    change, own = read_change(unet, tensors, "store:it"), unet.state_dict()
    merged = copy.deepcopy(unet)
    change.apply(merged)
    differs = {name for name, value in merged.state_dict().items() if (value != own[name]).any()}
    assert differs and differs == set(change.loras)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("method", ["textual_inversion", "lora"])
def test_a_tuning_killed_at_any_step_ends_with_the_same_bytes(images, tuned, tmp_path, method):
    spec = spec_of(images, tmp_path, method, checkpoint_seconds=0.0)
    for last in (1, 4, 7):

        def stop(event, last=last):
            if event["event"] == "checkpoint" and event["step"] == last:
                raise Interrupted

        with pytest.raises(Interrupted):
            train(spec, stop)
    resumed = train(dataclasses.replace(spec, checkpoint_seconds=1e9), ignore)
    digests = {one.name: one.sha256 for one in tuned(method).result.artefacts}
    assert {one.name: one.sha256 for one in resumed.artefacts} == digests


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", ["textual_inversion", "lora"])
async def test_two_processes_learn_what_one_does(images, tuned, tmp_path, method):
    """Floats are added in another order, and AdamW takes a whole step of what is but rounding."""
    spec = spec_of(images, tmp_path, method)
    spec.write(tmp_path / "spec.json")
    steps = []
    found = await run_group(
        Group(processes=2),
        tmp_path / "spec.json",
        lambda event: steps.append(event["step"]) if event["event"] == "metrics" else None,
    )
    assert steps == list(range(1, 9)), "one process reports, and every step"
    together = SimpleNamespace(spec=spec, result=TuningResult.of(found))
    alone = tuned(method)
    for name in ("base_validation_loss", "validation_loss"):
        losses = [getattr(one.result, name) for one in (alone, together)]
        assert losses[0] == pytest.approx(losses[1], rel=2e-3), name
    assert together.result.best_epoch == alone.result.best_epoch
    kind = {"textual_inversion": "tokens", "lora": "unet"}[method]
    for (_, ours), (_, theirs) in zip(learned(alone, kind), learned(together, kind), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            change = (value - theirs[name]).abs().mean()
            assert change < 0.03 * value.abs().mean() + 1e-4, name


def test_it_stops_when_the_held_out_images_gain_no_more(images, tmp_path):
    spec = spec_of(images, tmp_path, step_count=400, patience=2, learning_rate=3.0)
    result = train(spec, ignore)
    assert result.epoch_count == result.best_epoch + 2 < 100


def test_a_loss_that_is_not_finite_names_the_field_to_change(images, tmp_path):
    spec = spec_of(images, tmp_path, "pix2pix", step_count=60, learning_rate=10.0)
    with pytest.raises(LossNotFiniteError, match="use a learning_rate below 10") as ended:
        train(spec, ignore)
    assert ended.value.subject == "tuning.learning_rate"


def test_without_an_image_to_hold_out_the_loss_is_that_of_training_and_it_is_said(images, tmp_path):
    result = train(spec_of(images, tmp_path, held_out=0, step_count=4), ignore)
    assert result.validation_image_count == 0 and result.train_image_count == IMAGES
    assert result.notes[0].startswith("none of the 7 images is held out")
