import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.augment.diversity import distinct, first_of_alike, mean_distance
from gateway.augment.senses import Sense, choose, parse_pins, pinned
from gateway.clients.prompter import Prompter as PrompterClient
from gateway.clients.prompter import PromptRequest
from gateway.methods.base import ClassMaterial, Slot, StyledPrompt
from gateway.methods.registry import method_of
from gateway.settings import GatewaySettings
from servicekit.errors import InvalidArgument
from servicekit.server import Service, running
from tests.gateway.doubles import Trouble, add_to
from tests.gateway.pictures import write_folder
from tests.gateway.system import FIVE, open_system, rows_of

SENSES = [Sense("crane.n.04", "a machine"), Sense("crane.n.05", "a bird"), Sense("", "a poet")]


def images(*centre, count=20, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    vectors = np.array(centre) + noise * rng.standard_normal((count, 3))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


TEXTS = np.eye(3, dtype=np.float32)


def test_the_sense_that_the_images_look_like_wins_with_its_margin_and_all_scores():
    choice = choose(SENSES, TEXTS, images(0.1, 1, 0.3))
    assert (choice.sense.name, choice.ambiguous, choice.pinned) == ("crane.n.05", False, False)
    assert [label for label, _ in choice.scores] == ["crane.n.05", "a poet", "crane.n.04"]
    assert choice.margin == pytest.approx(choice.scores[0][1] - choice.scores[1][1], abs=1e-4)
    assert choice.lineage()["scores"] == dict(choice.scores)


def test_of_senses_as_near_as_each_other_the_commoner_is_taken_and_called_ambiguous():
    choice = choose(SENSES, TEXTS, images(1, 1.005, 0))
    assert (choice.sense.name, choice.ambiguous) == ("crane.n.04", True)
    assert choice.scores[0][0] == "crane.n.05"


def test_a_difference_within_the_scatter_of_the_images_is_ambiguous_and_the_commonest_is_taken():
    vectors = np.concatenate([images(1, 0, 0, count=3), images(0, 1, 0, count=4)])
    choice = choose(SENSES, TEXTS, vectors)
    assert (choice.sense.name, choice.ambiguous) == ("crane.n.04", True)
    assert choice.scores[0][0] == "crane.n.05"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.integers(2, 32))
def test_an_unsure_choice_is_the_commonest_and_another_needs_a_clear_lead(seed, lead, count):
    choice = choose(SENSES, TEXTS, images(1, 1 + lead, 0.2, count=count, noise=0.2, seed=seed))
    scores = dict(choice.scores)
    if choice.ambiguous:
        assert choice.sense == SENSES[0]
    elif choice.sense != SENSES[0]:
        assert scores[choice.sense.label] - scores["crane.n.04"] >= 0.05 - 1e-4


def test_few_images_must_agree_more_than_many():
    near = np.concatenate([images(0.1, 1, 0, count=1), images(0.7, 1, 0, count=1)])
    assert choose(SENSES, TEXTS, near).ambiguous
    assert not choose(SENSES, TEXTS, np.repeat(near, 8, axis=0)).ambiguous
    assert choose(SENSES, TEXTS, near[:1]).ambiguous


def test_a_text_that_suits_another_class_better_does_not_decide():
    birds, ships = images(0.1, 1, 0.3), images(0, 1, 0, noise=0.01)
    assert not choose(SENSES, TEXTS, birds, [images(1, 0, 0)]).ambiguous
    choice = choose(SENSES, TEXTS, birds, [images(1, 0, 0), ships])
    assert (choice.sense.name, choice.ambiguous) == ("crane.n.04", True)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 32])
def test_chance_alone_hardly_ever_decides_however_few_images_there_are(count):
    rng = np.random.default_rng(count)
    choices = [
        choose(SENSES[:2], TEXTS[:2], images(1, 1, 0, count=count, noise=0.3, seed=seed))
        for seed in rng.integers(0, 2**32, 1000)
    ]
    assert sum(not choice.ambiguous for choice in choices) <= 65  # 4.6 % by chance


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(3)), st.integers(0, 1000))
def test_the_order_of_the_senses_does_not_matter_where_the_images_decide(order, seed):
    vectors = images(0.2, 1, 0.4, seed=seed)
    choice = choose([SENSES[i] for i in order], TEXTS[list(order)], vectors)
    assert choice.sense.name == "crane.n.05" and not choice.ambiguous


def test_senses_are_pinned_by_name_or_in_words():
    pins = parse_pins(" crane=crane.n.05; mail bag = a bag for letters;", ["crane", "mail bag"])
    assert pins == {"crane": "crane.n.05", "mail bag": "a bag for letters"}
    assert parse_pins("", ["crane"]) == {}
    for text in ("crane", "crane=", "dog=dog.n.01"):
        with pytest.raises(InvalidArgument, match="CLASS=SENSE") as caught:
            parse_pins(text, ["crane"])
        assert caught.value.field == "augmentation.parameters.senses"


def test_a_pin_is_a_known_sense_or_another_one_of_wordnet_or_words():
    assert pinned("crane.n.05", SENSES).sense == SENSES[1]
    assert pinned("a poet", SENSES).sense == SENSES[2]
    assert pinned("wader.n.01", SENSES).sense == Sense("wader.n.01", "")
    assert pinned("a paper bird", SENSES).sense == Sense("", "a paper bird")
    assert all(pinned(pin, SENSES).pinned for pin in ("crane.n.05", "a paper bird"))


def test_distinct_n_counts_different_n_grams():
    assert distinct(["a red dog", "A red cat."], 1) == pytest.approx(4 / 6)
    assert distinct(["a red dog", "a red cat"], 2) == pytest.approx(3 / 4)
    assert distinct([], 1) == distinct(["dog"], 2) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_what_is_kept_is_apart_and_what_is_dropped_is_near(count, seed, least):
    vectors = np.random.default_rng(seed).standard_normal((count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = first_of_alike(vectors, least)
    distances = 1 - vectors @ vectors.T
    pairs = [(i, j) for i in kept for j in kept if i < j]
    assert kept[0] == 0 and all(distances[i, j] >= least - 1e-9 for i, j in pairs)
    for number in set(range(count)) - set(kept):
        assert min(distances[number, i] for i in kept if i < number) < least
    rows = [distances[i, j] for i in range(count) for j in range(i)]
    assert mean_distance(vectors) == pytest.approx(np.mean(rows))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 0.5), st.integers(1, 200))
def test_styled_images_never_have_more_than_their_share(share, count):
    method = method_of("contextual+stylized")
    styled = tuple(StyledPrompt(f"a toy {i}", "llm", "toy") for i in range(3))
    material = ClassMaterial("dog", 0, prompts=("a photo",), prompt_models=("llm",), styled=styled)
    drafts = [
        method.draft(Slot("dog", 0, i, i % 3, i), material, {"style_share": share})
        for i in range(count)
    ]
    shown = [draft.lineage.get("style") == "toy" for draft in drafts]
    assert sum(shown) == int(count * share)
    assert all(
        (draft.prompt != "a photo") == is_toy for draft, is_toy in zip(drafts, shown, strict=True)
    )


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train")
    return tmp_path


async def augmented(system, root, **fields):
    await system.import_folder(root / "train")
    return await system.augment(**{"method": "contextual", "images_per_class": 4, **fields})


async def test_the_sense_is_in_every_lineage_and_its_scores_in_the_result(root):
    async with open_system(root / "state", root) as system:
        made = await augmented(system, root, class_names=["cat"])
        rows = rows_of(system.store, made.result.manifest_uri)
        [request] = system.doubles["prompter"].requests
        names = system.doubles["prompter"].names[request.class_names_digest]
    [cat] = made.result.prompts
    assert cat.clip_cut_count == 1
    assert cat.sense.sense == "cat.n.02" and not cat.sense.ambiguous
    assert [score.sense for score in cat.sense.scores] == ["cat.n.02", "cat.n.01"]
    assert {json.loads(row["lineage"])["sense"]["sense"] for row in rows} == {"cat.n.02"}
    assert (request.sense, names) == ("cat.n.02", ["cat", "dog"])


async def test_a_pinned_sense_is_not_looked_for(root):
    async with open_system(root / "state", root) as system:
        made = await augmented(system, root, parameters={"senses": "cat=a loud guitar"})
        requests = {one.class_name: one for one in system.doubles["prompter"].requests}
    [cat, dog] = made.result.prompts
    assert cat.sense.pinned and not cat.sense.scores and cat.sense.sense == "a loud guitar"
    assert (requests["cat"].meaning, requests["cat"].sense) == ("a loud guitar", "")
    assert not dog.sense.pinned and dog.sense.scores


async def test_a_pin_of_an_unknown_class_is_refused_at_once(root, fails):
    async with open_system(root / "state", root) as system:
        await system.import_folder(root / "train")
        parameters = {"senses": "crane=crane.n.05"}
        error = await fails(system.start(method="contextual", parameters=parameters))
    assert (error.code.name, error.field) == (
        "INVALID_ARGUMENT",
        "augmentation.parameters.senses",
    )


async def test_prompts_that_failed_or_say_the_same_are_replaced_and_counted(root):
    async with open_system(root / "state", root) as system:
        system.trouble.failed_prompts = 1
        made = await augmented(system, root)
    for one in made.result.prompts:
        assert one.failed_count >= 1 and one.prompt_count == 3
        assert one.clip_cut_count == 0  # The double's CLIP cuts prompt 0, which failed here.
        assert 0 < one.distinct_1 < 1 and 0 < one.mean_distance < 2
    async with open_system(root / "other", root) as system:
        system.trouble.prompts_alike = True
        made = await augmented(system, root)
        rows = rows_of(system.store, made.result.manifest_uri)
    assert {one.prompt_count for one in made.result.prompts} == {1}
    assert {one.repeated_count for one in made.result.prompts} == {3 + 3 + 3}
    assert len(rows) == 8


async def test_a_class_without_any_prompt_falls_short_and_says_why(root):
    async with open_system(root / "state", root) as system:
        system.trouble.failed_prompts = 100
        made = await augmented(system, root)
    assert made.result.accepted_count == 0
    reasons = {short.reason for short in made.result.shortfalls}
    assert reasons == {"the language model failed to write any of 12 prompts"}


async def test_a_share_of_the_images_is_styled(root):
    async with open_system(root / "state", root) as system:
        made = await augmented(system, root, method="stylized", images_per_class=8)
        rows = rows_of(system.store, made.result.manifest_uri)
    lineages = [json.loads(row["lineage"]) for row in rows]
    assert sum("style" in lineage for lineage in lineages) == 4
    assert {one["llm"] for one in lineages if "style" in one} == {"double-llm"}


@pytest.fixture
async def prompter(tmp_path):
    """A prompter, and a client of it."""
    made = {}

    async def nothing():
        pass

    def add(server):
        made.update(add_to(server, None, Trouble()))

    async with running(Service("doubles", (), add, nothing, nothing)) as others:
        client = PrompterClient(GatewaySettings(**dict.fromkeys(FIVE, others.target)), None)
        yield made["prompter"], client
        await client.close()


async def ask(client, count):
    """Asks for the senses and a prompt of each of so many classes."""
    names = tuple(f"class {number:06}" for number in range(count))
    for name in names:
        await client.senses(name, name, names)
        await client.write(PromptRequest(name, "contextual", 1, 0, class_names=names))


async def test_the_bytes_that_a_prompter_is_sent_grow_with_the_classes_and_not_faster(prompter):
    double, client = prompter
    received = []
    for count in (50, 200):
        before = double.received
        await ask(client, count)
        received.append(double.received - before)
    assert received[1] < 4.2 * received[0]


async def test_names_that_a_prompter_has_forgotten_are_said_again(prompter):
    double, client = prompter
    await ask(client, 2)
    double.names.clear()
    await ask(client, 2)
    assert [list(names) for names in double.names.values()] == [["class 000000", "class 000001"]]
