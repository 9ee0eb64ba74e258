"""What study files may name: the methods of this installation."""

import pytest

from gateway.cli.root import own_methods
from gateway.cli.study_file.names import Known


@pytest.fixture(scope="session")
def known():
    return Known(own_methods())
