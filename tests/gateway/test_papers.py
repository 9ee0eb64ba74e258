"""Every method and every training strategy of the four papers is there."""

from pathlib import Path

import pytest

from gateway.methods.registry import all_methods
from trainer.recipes import recipes

METHODS = {
    "BURG": (
        "simple", "simple_no_ws", "clip_templates", "sariyildiz", "boomerang", "ft_conditioning",
        "ft_cluster_conditioning", "imagic", "textual_inversion", "pseudoword_dm", "retrieval",
    ),
    "MVC": ("mvc", "mvc+pretrained"),
    "AUGCOND": (
        "cond_image", "cond_dropout", "cond_mixup", "cond_cutmix", "cond_embed_mixup",
        "cond_embed_cutmix", "cond_mixup_dropout", "cond_cutmix_dropout",
        "cond_embed_mixup_dropout", "cond_embed_cutmix_dropout",
    ),
    "DIVERSIFY": ("contextual", "stylized", "contextual+stylized"),
}  # fmt: skip
STRATEGIES = ("real", "combined", "rsp", "two_phase", "half_half", "aux_bn")
POLICIES = ("none", "standard", "autoaugment", "randaugment", "fast_autoaugment",
            "mixup", "cutmix")  # fmt: skip


@pytest.mark.parametrize("paper", METHODS)
def test_the_methods_of_a_paper_are_registered_and_name_it(paper):
    for name in METHODS[paper]:
        assert all_methods()[name].source.startswith(paper), name


def test_the_training_strategies_and_policies_of_the_papers_are_registered():
    assert set(STRATEGIES) <= set(recipes("strategies"))
    assert set(POLICIES) <= set(recipes("policies"))


def test_the_readme_names_every_method():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    table = text.split("## Methods")[1].split("\n## ")[0]
    assert {name for name in all_methods() if f"`{name}`" not in table} == set()
