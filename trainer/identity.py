"""What results depend on besides the request: the code, as digests that comments do not change."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_PACKAGES = Path(__file__).parent.parent
_PIXELS = ("imaging/*.py", "trainer/data.py")
_TRAINING = (
    *_PIXELS,
    "trainer/loop.py",
    "trainer/distribution.py",
    "trainer/evaluation.py",
    "trainer/classifiers/*.py",
    "trainer/policies/*.py",
    "trainer/strategies/*.py",
)


@cache
def pixels_digest() -> str:
    """Stands for the code that turns files into the pixels that are trained on."""
    return _digest(_PIXELS)


@cache
def training_digest() -> str:
    """Stands for the code that turns a request into weights and a test result."""
    return _digest(_TRAINING)


def _digest(patterns: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for pattern in patterns:
        for file in sorted(_PACKAGES.glob(pattern)):
            digest.update(f"{file.relative_to(_PACKAGES)}\n{_meaning(file)}\n".encode())
    return digest.hexdigest()


def _meaning(file: Path) -> str:
    """The syntax tree as text, without docstrings, comments and layout."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
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
