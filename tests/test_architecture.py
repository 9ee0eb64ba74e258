"""The arrows between packages, and the house sizes."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVICES = ["captioner", "prompter", "generator", "retriever", "trainer", "gateway"]
SHARED = {"servicekit", "imaging", "datafiles"}
# What more than one service may need, and not all: by those that may.
ROOMS = {"diffusion": {"generator", "trainer"}}
PACKAGES = [*SERVICES, *sorted(SHARED), *ROOMS, "embedded", "models"]
OWN = set(PACKAGES)


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def own_imports(package):
    for path in sources(package):
        for name in imported(path):
            top = name.split(".")[0]
            if top in OWN and top != package:
                yield path.relative_to(ROOT), name


@pytest.mark.parametrize("package", SERVICES)
def test_services_import_only_what_is_shared(package):
    allowed = {*SHARED, *(room for room, services in ROOMS.items() if package in services)}
    strangers = [
        (str(path), name)
        for path, name in own_imports(package)
        if name.split(".")[0] not in allowed and name != "models.torchvision_cpu"
    ]
    assert strangers == []


def test_shared_packages_import_no_service():
    assert list(own_imports("imaging")) == []
    assert list(own_imports("servicekit")) == []
    found = {name.split(".")[0] for room in ROOMS for _, name in own_imports(room)}
    assert found <= {*SHARED, "models"}


def test_of_the_files_of_data_sets_only_places_know_the_store_and_its_errors():
    found = {(path.parts[1], name.split(".")[0]) for path, name in own_imports("datafiles")}
    assert found == {("places", "servicekit"), ("places", "imaging")}


def test_the_command_line_is_a_client_of_the_protos():
    """It may use what writes outputs (gateway.export) and reads mixes, which people write here and
    in requests alike; `embedded` is found by name, in one file."""
    allowed = {*SHARED, "gateway.cli", "gateway.export", "gateway.mixes"}
    found = {
        (str(path.relative_to(ROOT)), ".".join(name.split(".")[:2]))
        for path in sources("gateway/cli")
        for name in imported(path)
        if name.split(".")[0] in OWN
    }
    strangers = [one for one in sorted(found) if not {one[1], one[1].split(".")[0]} & allowed]
    assert strangers == []
    by_name = [path.name for path in sources("gateway/cli") if '"embedded.' in path.read_text()]
    assert by_name == ["root.py"]


def test_what_writes_outputs_knows_nothing_of_the_service():
    rooms = {
        ".".join(name.split(".")[:3])
        for path in sources("gateway/export")
        for name in imported(path)
        if name.split(".")[0] == "gateway" and name.split(".")[1] != "export"
    }
    assert rooms <= {"gateway.augment.tables", "gateway.digests"}


def test_nothing_imports_the_composition_root():
    for package in PACKAGES:
        assert not [n for _, n in own_imports(package) if n.split(".")[0] == "embedded"]


def test_servicekit_is_a_closed_list_that_its_docstring_repeats():
    text = ast.get_docstring(ast.parse((ROOT / "servicekit/__init__.py").read_text()))
    listed = text.split("closed list:")[1].split(".")[0].replace("\n", " ").split(",")
    places = {path.relative_to(ROOT / "servicekit").parts[0] for path in sources("servicekit")}
    modules = {place.removesuffix(".py") for place in places} - {"__init__"}
    assert {name.strip() for name in listed} == modules


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_files_and_functions_keep_to_the_house_sizes(package):
    for path in sources(package):
        text = path.read_text()
        assert len(text.splitlines()) <= 300, f"{path} has more than 300 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # The parameters of a command are a table of its options, and not counted.
                size = node.end_lineno - node.body[0].lineno + 1
                assert size <= 60, f"{path}:{node.lineno} {node.name} has {size} lines"


def test_there_is_no_drawer():
    drawers = {"utils.py", "common.py", "helpers.py", "misc.py"}
    assert [p for package in PACKAGES for p in sources(package) if p.name in drawers] == []
