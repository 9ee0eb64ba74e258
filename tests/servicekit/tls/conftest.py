"""Two authorities, and folders with certificates of the first."""

import pytest

from tests.authority import Authority, Mounted


@pytest.fixture(scope="session")
def authority():
    return Authority("ours")


@pytest.fixture(scope="session")
def stranger():
    return Authority("a stranger")


@pytest.fixture
def mounted(tmp_path, authority):
    """Makes folders with a certificate, its key and an authority."""

    def make(name, issued, ca=authority.certificate):
        return Mounted(tmp_path / name, issued, ca)

    return make
