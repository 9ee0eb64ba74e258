"""The code as a digest: what changes results changes it, and nothing else does."""

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
