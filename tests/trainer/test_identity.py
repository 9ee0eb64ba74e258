"""The code as a digest: what changes results changes it, and nothing else does."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

from trainer import identity
from trainer.identity import _meaning


def meaning(tmp_path, text):
    file = tmp_path / "code.py"
    file.write_text(text)
    return _meaning(file)


def test_comments_docstrings_and_layout_do_not_count_and_numbers_do(tmp_path):
    plain = meaning(tmp_path, "def f(x):\n    return x * 2\n")
    told = '"""What it is."""\n\n\ndef f(x):\n    """Doubles."""\n    return (x * 2)  # twice\n'
    assert meaning(tmp_path, told) == plain
    assert meaning(tmp_path, "def f(x):\n    return x * 3\n") != plain


def test_several_threads_read_the_code_while_the_collector_of_garbage_calls_python():
    # As metrics do; the interpreter then goes to another thread in the middle of a tree.
    gc.callbacks.append(callback := lambda phase, facts: time.sleep(1e-6))
    try:
        with ThreadPoolExecutor(4) as threads:
            found = [threads.submit(identity._digest, ["trainer/data/*.py"]) for _ in range(4)]
            assert len({one.result() for one in found}) == 1
    finally:
        gc.callbacks.remove(callback)
