"""What one method of an augmentation came to, and what all of them came to together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.api.resources import ClassPrompts, KeptImages, Shortfall
from gateway.augment.choice import PLACE, Choice
from gateway.augment.lengths import NO_PROMPTS, PromptLengths
from gateway.augment.output import Counts, Output, check_whole
from gateway.augment.parts import Source
from gateway.methods.base import ClassMaterial
from gateway.plan import Plan
from servicekit.storage import ObjectStore


@dataclass(frozen=True)
class MethodOutcome:
    """The images of a method, in a folder of the store, what is missing, and its prompts."""

    folder: str
    counts: Counts
    shortfalls: Sequence[Shortfall]
    lengths: PromptLengths = NO_PROMPTS
    prompts: tuple[ClassPrompts, ...] = ()
    choice: Choice | None = None


@dataclass(frozen=True)
class Made:
    """What an augmentation made: its images, what is missing, its prompts, and its classes."""

    output: Output
    shortfalls: tuple[Shortfall, ...]
    prompts: tuple[ClassPrompts, ...]
    lengths: PromptLengths
    materials: Mapping[str, ClassMaterial] = field(default_factory=dict)
    kept: KeptImages | None = None


def joined(
    store: ObjectStore,
    methods: Sequence[tuple[Plan, Mapping[str, ClassMaterial], MethodOutcome]],
) -> Made:
    """Returns what several methods made as one: the images of each class in one row."""
    counts, lengths = Counts.none(), NO_PROMPTS
    materials: dict[str, ClassMaterial] = {}
    for _, classes, outcome in methods:
        counts.add(outcome.counts)
        lengths = lengths.with_more(outcome.lengths) if outcome.lengths.token_limit else lengths
        materials |= {name: one for name, one in classes.items() if name not in materials}
    sources = [
        Source(one.folder, plan.places(classes.values()), one.choice)
        for plan, classes, one in methods
    ]
    return Made(
        Output(store, *sources, counts=counts),
        _shortfalls([(plan, outcome) for plan, _, outcome in methods], counts),
        tuple(one for _, _, outcome in methods for one in outcome.prompts),
        lengths,
        dict(sorted(materials.items(), key=lambda pair: pair[1].label)),
    )


def chosen(
    store: ObjectStore, plan: Plan, materials: Mapping[str, ClassMaterial], outcome: MethodOutcome
) -> MethodOutcome:
    """Returns what a method made with the choice of the best; reads the store."""
    score = plan.recipe.keep
    if not score:
        return outcome
    wanted = {one.label: plan.kept(one) for one in materials.values()}
    tables = Output(store, Source(outcome.folder)).accepted(*PLACE, score)
    made = Counter(
        {name: min(n, wanted[materials[name].label]) for name, n in outcome.counts.made.items()}
    )
    choice = Choice.of(tables, score, wanted)
    found = sum(len(ranks.numbers) for ranks in choice.classes.values())
    check_whole(outcome.folder, found, outcome.counts.accepted_count)
    return replace(outcome, counts=Counts(made, outcome.counts.reasons), choice=choice)


def _shortfalls(
    methods: Sequence[tuple[Plan, MethodOutcome]], counts: Counts
) -> tuple[Shortfall, ...]:
    """Returns one for each class, which says what each method lacks where there are several."""
    if len(methods) == 1:
        return tuple(methods[0][1].shortfalls)
    found: dict[str, Shortfall] = {}
    for plan, outcome in methods:
        for one in outcome.shortfalls:
            missing = f"{plan.method.id}: {one.made} of {one.wanted}, {one.reason}"
            before = found.get(one.class_name)
            reason = f"{before.reason}; {missing}" if before else missing
            lacking = one.wanted - one.made + (before.wanted - before.made if before else 0)
            made = counts.made[one.class_name]
            found[one.class_name] = replace(one, wanted=made + lacking, made=made, reason=reason)
    return tuple(found.values())
