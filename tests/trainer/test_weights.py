"""Networks that start from weights of their own architecture, and frozen ones."""

import pytest
import torch
from safetensors.torch import save_file

from trainer.classifiers.building import build
from trainer.classifiers.table import classifier_of, classifiers
from trainer.classifiers.timm_table import listed, timm_networks
from trainer.classifiers.weights import check_size, freeze, load_weights
from trainer.strategies.base import UnfitModelError

OF_TIMM = [one.id for one in classifiers().values() if one.library == "timm"]


def network(class_count=3, name="cnn4"):
    return build(classifiers()[name], class_count)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    kept = network().state_dict()
    save_file(kept, tmp_path / "kept.safetensors")
    return kept, tmp_path / "kept.safetensors"


def test_all_weights_are_loaded_where_the_classes_are_as_many(saved):
    kept, file = saved
    loaded = network()
    load_weights(loaded, file)
    assert all(torch.equal(value, kept[name]) for name, value in loaded.state_dict().items())


def test_the_head_is_new_where_they_are_not(saved):
    kept, file = saved
    loaded = network(5)
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    load_weights(loaded, file)
    head = [name for name, value in before.items() if value.shape[:1] == (5,)]
    assert len(head) == 2
    for name, value in loaded.state_dict().items():
        assert name in head or torch.equal(value, kept[name])


def test_a_new_head_is_small_however_the_network_begins(tmp_path):
    lite = classifier_of("timm:test_efficientnet")
    save_file(build(lite, 3).state_dict(), tmp_path / "kept.safetensors")
    loaded = build(lite, 2)
    load_weights(loaded, tmp_path / "kept.safetensors")
    head = loaded.classifier
    assert (
        head.weight.abs().max()
        <= head.in_features**-0.5
        < build(lite, 2).classifier.weight.abs().max()
    )


def test_weights_of_another_architecture_are_refused_and_leave_all_as_it_was(saved):
    other = network(3, "wrn_28_2")
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(UnfitModelError, match=r"another architecture: it lacks \d+ tensors \("):
        load_weights(other, saved[1])
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    saved[1].write_bytes(b"\x80\x04pickle")
    with pytest.raises(UnfitModelError, match="no safetensors file"):
        load_weights(network(), saved[1])


def test_a_frozen_network_has_one_layer_to_train_and_keeps_its_statistics():
    frozen = network()
    for module in freeze(frozen.train()):
        module.eval()
    trained = [name for name, value in frozen.named_parameters() if value.requires_grad]
    assert len(trained) == 2
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    optimizer = torch.optim.SGD(frozen.parameters(), 0.1)
    frozen(torch.randn(4, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    changed = {n for n, value in frozen.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == set(trained)


@pytest.mark.parametrize("name", OF_TIMM)
def test_a_network_of_timm_gives_a_logit_a_class_at_the_sizes_it_states(name):
    row = classifiers()[name]
    with torch.device("meta"):
        made = build(row, 7).eval()
        for size in (row.smallest_image, row.usual_image):
            assert made(torch.zeros(2, 3, size, size)).shape == (2, 7)
    has_norm = any(isinstance(module, torch.nn.BatchNorm2d) for module in made.modules())
    assert has_norm == row.has_batch_norm


def test_the_table_of_timm_is_what_timm_itself_tells():
    assert timm_networks() == listed()
    for row in classifiers().values():
        if row.library == "timm":
            own = timm_networks()[row.network]
            assert (row.id, row.mean, row.std) == (row.id, own.mean, own.std)


def test_a_network_of_timm_takes_pixels_as_it_was_trained_with_them():
    assert classifier_of("timm:convnext_tiny").network == "convnext_tiny"
    first, other = (classifier_of(f"timm:vit_base_patch16_224{tag}") for tag in ("", ".dino"))
    assert first.mean == (0.5, 0.5, 0.5) and other.mean == (0.485, 0.456, 0.406)
    assert first.smallest_image == first.largest_image == first.usual_image == 224
    with torch.device("meta"):
        assert build(classifier_of("timm:test_vit.r160_in1k"), 7).head.out_features == 7
    for wrong in ("timm:no_such_network", "timm:resnet50.no_such_tag"):
        with pytest.raises(KeyError):
            classifier_of(wrong)


def test_a_size_that_a_network_cannot_take_is_refused():
    name = "timm:vit_tiny_patch16_224"
    made = build(classifier_of(name), 3)
    check_size(made, name, 224)
    with pytest.raises(UnfitModelError, match="224' cannot take images of 64 x 64"):
        check_size(made, name, 64)
