"""What results depend on besides the request: the code, as digests that comments do not change."""

import ast
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from servicekit.together import once
from trainer.syntax import tree_of

_PACKAGES = Path(__file__).parent.parent
_PIXELS = ("imaging/*.py", *(f"trainer/data/{name}.py" for name in ("cache", "images", "keepers")))
_TRAINING = (
    "imaging/*.py",
    "trainer/data/*.py",
    "trainer/training.py",
    "trainer/jobs/base.py",
    "trainer/jobs/classify.py",
    "trainer/course.py",
    "trainer/distribution.py",
    "trainer/evaluation.py",
    "trainer/image_policies.py",
    "trainer/mixing.py",
    "trainer/precision.py",
    "trainer/schedules.py",
    "trainer/classifiers/*.py",
    "trainer/classifiers/*.toml",
    "trainer/jobs/search.py",
    "trainer/searching/*.py",
    "trainer/policies/*.py",
    "trainer/strategies/*.py",
)
_TUNING = (
    "imaging/*.py",
    "diffusion/**/*.py",
    "trainer/data/*.py",
    "trainer/training.py",
    "trainer/jobs/base.py",
    "trainer/jobs/tune.py",
    "trainer/distribution.py",
    "trainer/tunings/**/*.py",
)


@once
def pixels_digest() -> str:
    """Stands for the code that turns files into the pixels that are trained on."""
    return _digest(_PIXELS)


@once
def training_digest() -> str:
    """Stands for the code that turns a request into weights and a test result."""
    return _digest(_TRAINING)


def results_digest(deciding: Mapping[str, object]) -> str:
    """Stands for that code, and for the settings of a trainer that results depend on."""
    content = json.dumps([training_digest(), deciding], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


@once
def tuning_digest() -> str:
    """Stands for the code that turns a request into artefacts."""
    return _digest(_TUNING)


def _digest(patterns: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for pattern in patterns:
        for file in sorted(_PACKAGES.glob(pattern)):
            digest.update(f"{file.relative_to(_PACKAGES)}\n{_meaning(file)}\n".encode())
    return digest.hexdigest()


def _meaning(file: Path) -> str:
    """The syntax tree, or the values of a table, as text: without docstrings, comments, layout."""
    if file.suffix == ".toml":
        return repr(tomllib.loads(file.read_text(encoding="utf-8")))
    tree = tree_of(file)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
