"""Between two samples that join or leave, no step waits for the device."""

import dataclasses

import pytest
import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion.registry import scan
from generator.engine.conditions.adapter import Adapter
from generator.engine.conditions.concat import Concat
from generator.engine.conditions.start import Start
from generator.engine.conditions.text import TextAlone
from generator.engine.conditions.unclip import Unclip
from generator.engine.denoising import Denoising
from generator.engine.line import Ticket
from generator.engine.model import LoadedModel
from generator.engine.settings import EngineSettings
from tests.generator import tiny
from tests.generator.conftest import picture
from tests.generator.test_engine import TEXT

# Methods that hand numbers of a tensor to Python, and operators whose result has a shape that only
# the numbers tell, or is a number. A copy to the CPU is one only where the tensor is elsewhere.
METHODS = {"item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__"}
METHODS |= {"__index__", "__array__", "__contains__"}
OPERATORS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2"}
OPERATORS |= {"repeat_interleave.Tensor"}


class Methods(TorchFunctionMode):
    """Notes the methods of tensors that wait for the device."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        name = (resolve_name(function) or "").rpartition(".")[2]
        # New tensors of Python's numbers are copied to the device, which waits as well.
        if name in METHODS or function in (torch.tensor, torch.as_tensor):
            self.seen.append(name)
        return function(*arguments, **(options or {}))


class Operators(TorchDispatchMode):
    """Notes the operators that wait for the device, whoever calls them."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        options = options or {}
        name = operator.name().removeprefix("aten::")
        if name in OPERATORS or name.partition(".")[0] in OPERATORS:
            self.seen.append(name)
        if name == "_to_copy" and str(options.get("device", "")) == "cpu":
            self.seen.append(name)
        if name == "index.Tensor" and any(is_mask(index) for index in arguments[1]):
            self.seen.append(name)
        return operator(*arguments, **options)


def is_mask(index):
    """Says whether so many numbers are chosen as a tensor holds truths."""
    return index is not None and index.dtype in (torch.bool, torch.uint8)


def waits_of(action):
    """Returns what waited for the device."""
    with Methods() as methods, Operators() as operators:
        action()
    return methods.seen + operators.seen


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory):
    adapted = tmp_path_factory.mktemp("adapted")
    tiny.save_adapter(tiny.save_xl(adapted / "xl"), "ip-adapter_sdxl.safetensors")
    cards = {**scan(tiny_folder).cards, **scan(adapted).cards}
    return {name: LoadedModel(card, EngineSettings()) for name, card in cards.items()}


@pytest.mark.parametrize(
    ("model", "conditions"),
    [
        ("text", [TextAlone(), Start(picture(1), 0.6), TextAlone()]),
        ("pix2pix", [Concat(picture(1), 1.5), Concat(picture(2))]),
        ("unclip", [Unclip(picture(1)), Unclip(picture(2), 300)]),
        ("xl", [TextAlone(), Adapter(picture(1), scale=0.5), Start(picture(2), 0.7)]),
    ],
)
@pytest.mark.parametrize("fixed", [False, True])
def test_a_step_of_any_mix_of_samples_waits_for_nothing(models, model, conditions, fixed):
    items = [
        dataclasses.replace(
            TEXT, model=model, steps=8 + n, guidance_scale=(5.0, 1.0)[n % 2], condition=condition
        )
        for n, condition in enumerate(conditions)
    ]
    with torch.inference_mode():
        denoising = Denoising(models[model], fixed=fixed)
        denoising.admit([Ticket(item) for item in items])
        denoising.step()
        for _ in range(2):
            assert waits_of(denoising.step) == []
    assert len(denoising) == len(items)


@pytest.mark.parametrize(
    "wait",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: bool(tensor.any()),
        lambda tensor: tensor.cpu(),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: torch.tensor([1.0]),
    ],
)
def test_what_waits_is_noticed(wait):
    assert waits_of(lambda: wait(torch.ones(3)))


def test_finished_images_are_copied_once(models):
    items = [dataclasses.replace(TEXT, seed=n, steps=1) for n in range(3)]
    tickets = [Ticket(item) for item in items]
    with torch.inference_mode():
        denoising = Denoising(models["text"], fixed=False)
        denoising.admit(tickets)
        denoising.step()  # Lays the call out and ends all.
        assert all(ticket.future.done() for ticket in tickets)
        denoising.admit([again := Ticket(items[0]), Ticket(items[1])])
        waits = waits_of(denoising.step)
    assert again.future.done()
    assert [name for name in waits if name in ("cpu", "_to_copy")] == ["cpu"]
