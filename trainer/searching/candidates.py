"""Which policy to try next: Optuna's tree-structured Parzen estimator over candidates.

A candidate is five sub-policies of two changes (Lim et al., section 3.2). The next one depends on
the losses of those before it and on a seed, and on no state of the sampler: a search that was
interrupted goes on as if nothing had been.
"""

from collections.abc import Iterable

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from trainer.searching.found import Change, SubPolicy
from trainer.searching.operations import NAMES

SUB_POLICIES, CHANGES = 5, 2
Candidate = tuple[SubPolicy, ...]

_PLACES = [(number, place) for number in range(SUB_POLICIES) for place in range(CHANGES)]
_DISTRIBUTIONS = {
    f"{part}_{number}_{place}": distribution
    for number, place in _PLACES
    for part, distribution in (
        ("operation", CategoricalDistribution(NAMES)),
        ("probability", FloatDistribution(0.0, 1.0)),
        ("magnitude", FloatDistribution(0.0, 1.0)),
    )
}


def next_candidate(tried: Iterable[tuple[Candidate, float]], seed: int) -> Candidate:
    """The candidate to try after those that were tried, each with its loss."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=_params(candidate), distributions=dict(_DISTRIBUTIONS), value=loss
            )
            for candidate, loss in tried
        ]
    )
    params = study.ask(dict(_DISTRIBUTIONS)).params
    return tuple(
        tuple(
            Change(*(params[f"{part}_{number}_{place}"] for part in Change._fields))
            for place in range(CHANGES)
        )
        for number in range(SUB_POLICIES)
    )


def _params(candidate: Candidate) -> dict[str, str | float]:
    return {
        f"{part}_{number}_{place}": value
        for number, place in _PLACES
        for part, value in candidate[number][place]._asdict().items()
    }
