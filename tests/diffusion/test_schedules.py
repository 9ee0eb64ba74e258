"""Steps as coefficients go where diffusers' own schedulers go, in any mix of samples."""

import re
from typing import NamedTuple

import diffusers
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from diffusion.schedules.schedules import Schedules
from diffusion.schedules.steps import Steps
from diffusion.schedules.tables import version_of, why_no_table

SHAPE = (1, 4, 3, 3)
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SPACINGS = ["leading", "trailing", "linspace"]
BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
COMMON = {
    "timestep_spacing": st.sampled_from(SPACINGS),
    "steps_offset": st.integers(0, 1),
    "beta_schedule": st.sampled_from(["scaled_linear", "linear"]),
}
SIGMAS = {
    "prediction_type": st.sampled_from(PREDICTIONS),
    "use_karras_sigmas": st.booleans(),
    "final_sigmas_type": st.sampled_from(["zero", "sigma_min"]),
}
OPTIONS = {
    "DDIMScheduler": {
        # Others lose all digits of float32 where this one ends: noise 20,000 times the image.
        "beta_schedule": st.sampled_from(["scaled_linear", "squaredcos_cap_v2"]),
        "prediction_type": st.sampled_from(PREDICTIONS),
        "set_alpha_to_one": st.booleans(),
        "clip_sample": st.booleans(),
        "clip_sample_range": st.sampled_from([0.5, 1.0]),
    },
    "PNDMScheduler": {
        "prediction_type": st.sampled_from(PREDICTIONS[:2]),
        "set_alpha_to_one": st.booleans(),
        "skip_prk_steps": st.just(True),
    },
    "EulerDiscreteScheduler": SIGMAS
    | {"interpolation_type": st.sampled_from(["linear", "log_linear"])},
    "DPMSolverMultistepScheduler": SIGMAS
    | {
        "solver_order": st.sampled_from([1, 2]),
        "solver_type": st.sampled_from(["midpoint", "heun"]),
        "lower_order_final": st.booleans(),
        "euler_at_final": st.booleans(),
    },
}


class Run(NamedTuple):
    """A sample: its number of steps, and how many are skipped."""

    steps: int
    skipped: int
    seed: int

    def begin(self):
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


RUNS = st.integers(1, 30).flatmap(
    lambda steps: st.builds(Run, st.just(steps), st.integers(0, steps - 1), st.integers(0, 99))
)


def model(latents, times):
    """Says something of a latent, as a U-Net would, each row by itself."""
    return torch.tanh(latents * 0.7 + (times / 500 - 1).reshape(-1, 1, 1, 1))


def by_diffusers(kind, config, run):
    """Returns the latents after every step, beginning before the first."""
    scheduler = getattr(diffusers, kind)(**config)
    scheduler.set_timesteps(run.steps)
    clean, noise = run.begin()
    times = scheduler.timesteps[run.skipped :]
    latent = noise * scheduler.init_noise_sigma
    if run.skipped:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(run.skipped)
        latent = scheduler.add_noise(clean, noise, times[:1])
    latents = [latent]
    for time in times:
        output = model(scheduler.scale_model_input(latent, time), time)
        latent = scheduler.step(output, time, latent, return_dict=False)[0]
        latents.append(latent)
    return latents


def by_table(kind, config, runs, begins):
    """Moves all samples together. Returns the latents of each, as those of `by_diffusers`."""
    found = Schedules(getattr(diffusers, kind)(**config), "m", torch.device("cpu")).tables
    tables = [found.rows(run.steps, run.skipped) for run in runs]
    latents = torch.cat(begins)
    past = found.solver.new_past(latents)
    courses = [[latent] for latent in latents[:, None]]
    for position in range(max(map(len, tables))):
        rows = torch.stack([table[min(position, len(table) - 1)] for table in tables])
        steps = Steps.at(rows)
        outputs = model(latents * steps.input_scale, steps.time)
        latents, past = found.solver.move(steps, latents, outputs, past)
        for course, latent, table in zip(courses, latents[:, None], tables, strict=True):
            if position < len(table):
                course.append(latent)
    return courses


@st.composite
def samplings(draw, kind):
    options = {name: draw(values) for name, values in (COMMON | OPTIONS[kind]).items()}
    return BETAS | options, draw(st.lists(RUNS, min_size=1, max_size=4))


@pytest.mark.parametrize("kind", OPTIONS)
def test_steps_of_any_mix_of_samples_are_those_of_the_scheduler(kind):
    @settings(
        max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(samplings(kind))
    def check(sampling):
        config, runs = sampling
        expected = [by_diffusers(kind, config, run) for run in runs]
        assume(all(latent.isfinite().all() for course in expected for latent in course))
        found = by_table(kind, config, runs, [course[0] for course in expected])
        for one, other in zip(expected, found, strict=True):
            for here, there in zip(one, other, strict=True):
                torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)

    check()


def test_the_steps_of_ddim_with_v_prediction_are_the_same_to_the_bit():
    config = {"prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False}
    config |= {"timestep_spacing": "trailing", "beta_schedule": "squaredcos_cap_v2"}
    runs = [Run(25, 0, 1), Run(25, 10, 2), Run(7, 0, 3)]
    expected = [by_diffusers("DDIMScheduler", config, run) for run in runs]
    found = by_table("DDIMScheduler", config, runs, [course[0] for course in expected])
    for one, other in zip(expected, found, strict=True):
        assert all(torch.equal(here, there) for here, there in zip(one, other, strict=True))


def test_steps_that_are_not_the_same_to_the_bit_have_another_version():
    exact = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    assert version_of(exact) == version_of({"_class_name": "HeunDiscreteScheduler"}) == 1
    assert version_of(exact | {"prediction_type": "epsilon"}) == 2
    assert version_of(exact | {"_class_name": "PNDMScheduler"}) == 2


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("HeunDiscreteScheduler", {}, "HeunDiscreteScheduler has none; there are those of DDIM"),
        ("EulerAncestralDiscreteScheduler", {}, "EulerAncestralDiscreteScheduler has none"),
        ("DDIMScheduler", {"thresholding": True}, "for thresholding=False, not True"),
        ("PNDMScheduler", {}, "for skip_prk_steps=True, not False"),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "for solver_order=1 or 2, not 3"),
        (
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "sde-dpmsolver++"},
            "for algorithm_type='dpmsolver\\+\\+', not 'sde",
        ),
    ],
)
def test_what_has_no_table_says_why(kind, options, why):
    scheduler = getattr(diffusers, kind)(**options)
    assert re.search(why, why_no_table(scheduler))
    assert Schedules(scheduler, "m", torch.device("cpu")).tables is None
