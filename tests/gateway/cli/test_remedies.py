"""Errors of services name fields of requests; people are told the options that set them."""

import pytest
import typer

from gateway.cli.execute import settle
from gateway.cli.options import Common
from servicekit.errors import Precondition


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "node_count is 2 and gpus_per_node is 4, and this trainer trains in one process",
            "--nodes is 2 and --gpus-per-node is 4, and this trainer trains in one process.",
        ),
        ("cond_mixup searches a pool; give pool_uri", "cond_mixup searches a pool; give --pool."),
        ("/tmp/image_size is not there", "/tmp/image_size is not there."),
        ("there is no column 'batch_size'", "There is no column 'batch_size'."),
    ],
)
def test_fields_of_requests_are_named_by_their_options(capsys, message, said):
    def fail():
        raise Precondition(message, subject="X", reason="Y")

    with pytest.raises(typer.Exit) as ended:
        settle(Common(json=False, debug=False), fail)
    assert ended.value.exit_code
    assert " ".join(said.split()) in " ".join(capsys.readouterr().err.split())
