import pickle
import shutil
from pathlib import Path

import pytest

from captioner.blip import BlipCaptioner
from captioner.captions import CaptionTask
from servicekit.errors import InvalidArgument, Precondition

PREFIXES = ["", "a", "This is an image of", "a photo of a brown dog on", "bright"]


def tasks_of(pictures):
    return [
        CaptionTask(picture, PREFIXES[i % len(PREFIXES)], 3 + 2 * (i % 4))
        for i, picture in enumerate(pictures)
    ]


def test_a_caption_depends_on_its_own_task_and_not_on_its_batch(tiny, pictures):
    tasks = tasks_of(pictures)
    alone = [tiny.caption([task])[0] for task in tasks]
    together = tiny.caption(tasks)
    backwards = tiny.caption(tasks[::-1])[::-1]
    assert len({caption.text for caption in alone}) > len(PREFIXES) - 1
    for one, other, third in zip(alone, together, backwards, strict=True):
        assert one.text == other.text == third.text
        assert one.mean_log_prob == pytest.approx(other.mean_log_prob, abs=1e-4)
        assert one.mean_log_prob == pytest.approx(third.mean_log_prob, abs=1e-4)


def test_captions_start_with_their_prefix_and_go_on(tiny, pictures):
    for task, caption in zip(tasks_of(pictures), tiny.caption(tasks_of(pictures)), strict=True):
        assert caption.text.startswith(task.prefix)
        assert caption.mean_log_prob <= 0


def test_more_tokens_only_make_a_caption_longer(tiny, pictures):
    short, long = (tiny.caption([CaptionTask(pictures[0], "a", n)])[0] for n in (2, 12))
    assert long.text.startswith(short.text)
    assert len(long.text) > len(short.text)


def test_the_log_probability_is_that_of_the_model(tiny, pictures):
    import torch

    [caption] = tiny.caption([CaptionTask(pictures[0], "a", 1)])
    ids, mask = tiny._padded([tiny._prompt_ids("a")])
    pixels = tiny._processor.image_processor(images=[pictures[0]], return_tensors="pt")
    with torch.no_grad():
        logits = tiny._model(**pixels, input_ids=ids, attention_mask=mask).logits[0, -1]
    assert caption.mean_log_prob == pytest.approx(logits.log_softmax(-1).max().item(), abs=1e-4)


def test_a_prefix_too_long_for_the_model_is_refused_and_spares_its_neighbours(tiny, pictures):
    long, short = " ".join("qxz" * 85), "a"
    tasks = [CaptionTask(pictures[0], prefix, 64) for prefix in (short, long, short)]
    first, refused, last = tiny.caption(tasks)
    assert first == last == tiny.caption(tasks[:1])[0]
    assert isinstance(refused, InvalidArgument)
    assert (refused.field, refused.reason) == ("prefix", "PREFIX_TOO_LONG")


def test_a_caption_ends_where_the_context_does(tiny, pictures):
    prefix = "q " * 55
    [caption] = tiny.caption([CaptionTask(pictures[0], prefix, 64)])
    assert caption.text.startswith(prefix.strip())
    assert len(caption.text) > len(prefix)


def test_the_id_follows_the_weights(tiny, tiny_folder, tmp_path):
    name, _, digest = tiny.id.partition("@")
    assert name == tiny_folder.name and len(digest) == 12
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    assert BlipCaptioner(copy, name="mine").id == f"mine@{digest}"
    (copy / "generation_config.json").write_text('{"max_length": 9}')
    assert BlipCaptioner(copy, name="mine").id != f"mine@{digest}"


def test_weights_that_are_not_safetensors_are_refused(tiny_folder, tmp_path):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(Precondition, match=r"no .*safetensors file") as caught:
        BlipCaptioner(copy)
    assert caught.value.reason == "MODEL_NOT_SAFETENSORS"


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("model.safetensors", cut, "model.safetensors is not a whole safetensors file .* get it"),
        (
            "model.safetensors",
            lambda file: file.write_bytes(pickle.dumps({"bias": 1.0})),
            "convert the model with save_pretrained if it is a pickle, which is never loaded",
        ),
        ("config.json", Path.unlink, "does not load as a BLIP-2 .*; point CAPTIONER_MODEL at"),
        ("config.json", cut, "does not load as a BLIP-2"),
        ("processor_config.json", Path.unlink, "does not load as a BLIP-2"),
        ("tokenizer.json", Path.unlink, "does not load as a BLIP-2"),
    ],
    ids=["cut off", "a pickle", "no config", "half a config", "no processor", "no tokenizer"],
)
def test_a_folder_that_is_not_whole_is_told(tiny_folder, tmp_path, name, spoil, words):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    spoil(copy / name)
    with pytest.raises(Precondition, match=words) as caught:
        BlipCaptioner(copy)
    assert caught.value.reason == "MODEL_BROKEN"
    assert str(copy) in caught.value.message and "\n" not in caught.value.message


def test_a_model_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(Precondition, match="nothing/here/at/all"):
        BlipCaptioner(tmp_path / "nothing/here/at/all")


def test_nano_captions_name_the_class_they_are_told(nano, photographs):
    from imaging.decode import decode_image

    tasks = [
        CaptionTask(decode_image(data), f"This is an image of {name}", 24)
        for data, name in photographs[:8]
    ]
    alone = [nano.caption([task])[0] for task in tasks]
    assert [c.text for c in nano.caption(tasks)] == [c.text for c in alone]
    assert all(c.text.startswith(t.prefix) for c, t in zip(alone, tasks, strict=True))
