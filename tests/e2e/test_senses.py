"""Class names are disambiguated by photographs: the prompter's WordNet and the retriever's CLIP.

Nano CLIP knows ten classes, so photographs of those are given names that mean other things, too.
"""

from contextlib import AsyncExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import models
from gateway.augment.lengths import most_of_name, shorter_names
from gateway.augment.meanings import IMAGES
from gateway.augment.senses import choose
from gateway.clients import Clients
from gateway.clients.prompter import PromptRequest
from gateway.datasets.display_names import display_names
from gateway.settings import GatewaySettings
from generator.settings import GeneratorSettings
from generator.wiring import create_service as create_generator
from prompter.settings import PrompterSettings
from prompter.wiring import create_service as create_prompter
from retriever.settings import RetrieverSettings
from retriever.wiring import create_service as create_retriever
from servicekit.server import running
from servicekit.storage import MemoryStore

NANO = Path(models.__file__).parent / "nano"
SHOWN = {
    "boxer": ("dog", "boxer.n.04"),
    "setter": ("dog", "setter.n.02"),
    "chestnut": ("horse", "chestnut.n.06"),
    "fighter": ("airplane", "fighter.n.02"),
    "tanker": ("ship", "oil_tanker.n.01"),
    "liner": ("ship", "liner.n.04"),
    "pickup": ("truck", "pickup.n.01"),
    "kitty": ("cat", "kitty.n.04"),
}
SHOWN_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
# Photographs and a name, of none of whose senses nano CLIP has ever read a word.
UNHEARD_OF = {
    "barnacle": "bird",
    "gobbler": "bird",
    "lhasa": "dog",
    "secretariat": "horse",
    "submarine": "ship",
    "fanjet": "airplane",
}


@pytest.fixture
async def found():
    """Returns a function: the choice for a name, given photographs of a CIFAR class."""
    store = MemoryStore()
    rows = pq.read_table(NANO / "demo" / "target.parquet").to_pylist()
    uris = {}
    for number, row in enumerate(rows):
        key = f"photos/{number}.jpg"
        store.put(key, row["image"]["bytes"])
        uris.setdefault(row["class_name"], []).append(f"store:{key}")
    async with AsyncExitStack() as stack:
        retriever = create_retriever(RetrieverSettings(clip=NANO / "clip"), store)
        prompter = create_prompter(PrompterSettings(llm="none"), store)
        servers = [await stack.enter_async_context(running(s)) for s in (prompter, retriever)]
        clients = Clients.of(
            GatewaySettings(prompter=servers[0].target, retriever=servers[1].target)
        )
        stack.push_async_callback(clients.close)

        async def choice(name, shown, count=IMAGES, beside=tuple(SHOWN_CLASSES)):
            senses = await clients.prompter.senses(name, name, ())
            texts = await clients.retriever.embed_texts([sense.text for sense in senses])
            images = {
                label: await clients.screener.embed_images(photos[:count])
                for label, photos in uris.items()
                if label in (shown, *beside)
            }
            own = images.pop(shown)
            return choose(senses, texts, own, list(images.values()))

        yield choice


async def test_photographs_tell_which_sense_is_meant(found):
    chosen = {name: await found(name, shown) for name, (shown, _) in SHOWN.items()}
    assert {name: one.sense.name for name, one in chosen.items()} == {
        name: sense for name, (_, sense) in SHOWN.items()
    }
    assert not any(one.ambiguous for one in chosen.values())
    assert all(one.margin >= 0.04 for one in chosen.values())


async def test_names_that_clip_has_never_heard_are_not_decided(found):
    for name, shown in UNHEARD_OF.items():
        assert (await found(name, shown)).ambiguous, name


@pytest.mark.parametrize("count", [4, 8, 16])
async def test_a_boat_is_no_gravy_boat_a_bird_no_meat_and_a_strawberry_no_birthmark(found, count):
    shown = {"boat": ["ship"], "bird": ["bird"], "strawberry": ["automobile", "truck", "ship"]}
    for name, classes in shown.items():
        for own in classes:
            for other in ("airplane", "frog", "horse"):  # One other class says the least.
                choice = await found(name, own, count, (other,))
                assert choice.sense.name == f"{name}.n.01", (name, own, other, choice)


async def test_the_classes_of_the_nano_models_mean_what_everybody_means(found):
    for name in ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"):
        choice = await found(name, name)
        assert choice.sense.name.endswith(".n.01")
        assert choice.ambiguous or len(choice.scores) == 1


LONG = [
    "Donaudampfschiffahrtsgesellschaftskapitaen",
    "Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris",
    "very_long_name_of_a_bird_that_nobody_has_ever_seen_on_this_side_of_the_river",
    "prunus_alleghaniensis",
    "automobile",
]


@pytest.mark.parametrize("strategy", ["simple", "simple_no_ws", "clip_templates"])
async def test_no_text_encoder_cuts_the_name_of_a_class(strategy):
    """Nano models read 32 tokens, fewer than any; each letter of a strange word may be one."""
    store = MemoryStore()
    async with AsyncExitStack() as stack:
        generator = create_generator(
            GeneratorSettings(models_folder=NANO / "diffusion", models=("text",)), store
        )
        prompter = create_prompter(PrompterSettings(llm="none"), store)
        servers = [await stack.enter_async_context(running(s)) for s in (generator, prompter)]
        clients = Clients.of(
            GatewaySettings(generator=servers[0].target, prompter=servers[1].target)
        )
        stack.push_async_callback(clients.close)
        count = clients.generator.count_tokens
        for name, made in display_names(LONG).items():
            called, (lengths, limit) = made.text, await count("text", [made.text])
            if lengths[0] > most_of_name(limit):
                choices = shorter_names(called)
                lengths, _ = await count("text", choices)
                fits = zip(choices, lengths, strict=True)
                called = next(text for text, n in fits if n <= most_of_name(limit))
            wanted = PromptRequest(name, strategy, 40, 1, display_name=called)
            prompts, _ = await clients.prompter.write(wanted)
            key = called if strategy == "simple" else "".join(called.split())
            ends = [one.text.lower().index(key.lower()) + len(key) for one in prompts]
            heads = [one.text[:end] for one, end in zip(prompts, ends, strict=True)]
            heads += [f"This is an image of {called}", f"a photo of a {called}"]
            lengths, _ = await count("text", heads)
            assert max(lengths) <= limit, (name, called)
