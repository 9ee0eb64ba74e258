"""What an augmentation or a study is made with besides its request: models, and settings.

It is part of what was asked for. Work that was begun with other models is not gone on with: its
images would be of both.
"""

from collections.abc import Iterable, Mapping, Sequence

from gateway.api.resources import Augmentation, Study
from gateway.clients import Clients
from gateway.clients.generator import Served
from gateway.context import Context
from gateway.methods.base import Method
from gateway.methods.composition import methods_in
from gateway.plan import GeneratorModel
from gateway.settings import GatewaySettings
from servicekit.errors import Precondition

# Values by role; a diffusion model's role has its name.
Models = Mapping[str, str]

_CLIP, _SAFETY, _LIMITS = "CLIP", "safety classifier", "limits"
_CAPTIONER, _LANGUAGE, _TRAINING = "captioner", "language model", "training code"
_TUNING = "tuning code"


def roles_of(methods: Iterable[Method]) -> set[str]:
    """Returns the roles of what methods use."""
    roles = {_CLIP, _SAFETY, _LIMITS}
    for method in methods:
        if method.model:
            roles.add(_diffusion(method.model))
        if method.needs.captions:
            roles.add(_CAPTIONER)
        if method.needs.senses:
            roles.add(_LANGUAGE)
        if method.needs.tuning:
            roles.add(_TUNING)
    return roles


def models_of(method: str, models: Models) -> dict[str, str]:
    """Returns those of a study's models that one of its methods, or a mix of them, uses."""
    roles = roles_of(methods_in(method))
    return {role: value for role, value in models.items() if role in roles}


async def used_models(
    clients: Clients,
    settings: GatewaySettings,
    methods: Iterable[str],
    *,
    deterministic: bool,
    trains: bool = False,
) -> dict[str, str]:
    """Returns what methods or mixes use now, and what trains classifiers if that is asked for.

    Raises Precondition for a diffusion model that is missing or cannot be used.
    """
    chosen = [method for text in methods for method in methods_in(text)]
    roles = roles_of(chosen)
    clip = await clients.retriever.models()
    await clients.screener.check(clip)
    found = {
        _CLIP: f"{clip.encoder} {clip.engine}".strip(),
        _SAFETY: clip.safety,
        _LIMITS: _limits(settings),
    }
    makers = {method.model: method for method in chosen if method.model}
    if makers:
        served = await clients.generator.served()
        engine = served.deterministic_engine if deterministic else served.engine
        for name, method in sorted(makers.items()):
            found[_diffusion(name)] = f"{need_model(served, method).digest} {engine}".strip()
    if _CAPTIONER in roles:
        found[_CAPTIONER] = await clients.captioner.model()
    if _LANGUAGE in roles:
        found[_LANGUAGE] = await clients.prompter.language_model()
    if _TUNING in roles:
        found[_TUNING] = await clients.tunings.code_digest()
    if trains:
        found[_TRAINING] = await clients.trainer.code_digest()
    return found


async def check_models(context: Context, resource: Augmentation | Study) -> None:
    """Raises Precondition if work was begun with other models than would go on with it.

    Asked anew each time that the work starts, and not written down as a step.
    """
    if not resource.models:
        return
    recipe = resource.recipe if isinstance(resource, Augmentation) else resource
    now = await used_models(
        context.clients,
        context.settings,
        methods_of(resource),
        deterministic=recipe.deterministic,
        trains=isinstance(resource, Study),
    )
    if changed := differences(resource.models, now):
        raise Precondition(
            f"{resource.name} was started with other models: {changed}. Start the services with "
            "those again to go on with it, or make it under another id",
            subject=resource.name,
            reason="MODELS_CHANGED",
        )


def methods_of(resource: Augmentation | Study) -> Sequence[str]:
    """Returns the methods of a request, each an id or a mix."""
    if isinstance(resource, Augmentation):
        return [resource.recipe.method]
    return [arm.method for arm in resource.arms if not arm.images.added_manifest_uri]


def differences(then: Models, now: Models) -> str:
    """Says what of `then` is another now; "" if nothing is."""
    changed = [role for role in sorted({*then, *now}) if then.get(role) != now.get(role)]
    return "; ".join(
        f"the {role} was {then.get(role) or 'none'} and is {now.get(role) or 'none'}"
        for role in changed
    )


def need_model(served: Served, method: Method) -> GeneratorModel:
    """Returns the diffusion model that a method names.

    Where there is none of that name, a method that needs image embeddings takes the one model that
    does: Stable unCLIP, or one with an IP-Adapter. Raises Precondition with the reason if there is
    none that can be used.
    """
    name = method.model
    if name in served.models:
        return served.models[name]
    if name in served.refused:
        raise Precondition(
            f"the method needs the model {name!r}, which the generator refuses: "
            f"{served.refused[name]}",
            subject=name,
            reason="MODEL_REFUSED",
        )
    others = _embedding(served) if method.needs.image_embeddings else []
    if len(others) == 1:
        return others[0]
    known = ", ".join(served.models) or "none"
    remedy = "add it, or choose a method that does not need it"
    if others:
        names = " and ".join(repr(model.name) for model in others)
        remedy = f"{names} take image embeddings, too: name the folder of one of them {name!r}"
    raise Precondition(
        f"the generator has no model {name!r}, only {known}; {remedy}",
        subject=name,
        reason="MODEL_MISSING",
    )


def _embedding(served: Served) -> list[GeneratorModel]:
    """Returns the models that are conditioned on image embeddings."""
    return [m for m in served.models.values() if {"unclip", "adapter"} & set(m.image_conditions)]


def _diffusion(name: str) -> str:
    return f"diffusion model {name}"


def _limits(settings: GatewaySettings) -> str:
    return f"unsafe {settings.max_unsafe_score}, prompts {settings.least_prompt_distance}"
