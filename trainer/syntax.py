"""The syntax trees of our own files."""

import ast
import threading
from pathlib import Path

# Python 3.11 counts how deep it is in a tree for all threads together. If a callback of the garbage
# collector lets another thread parse meanwhile, both can end in "SystemError: AST constructor
# recursion depth mismatch".
_ONE_AT_A_TIME = threading.Lock()


def tree_of(file: Path) -> ast.Module:
    """Returns the syntax tree of a file of Python; for several threads at a time."""
    text = file.read_text(encoding="utf-8")
    with _ONE_AT_A_TIME:
        return ast.parse(text)
