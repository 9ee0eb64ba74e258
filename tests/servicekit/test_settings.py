from dataclasses import dataclass
from pathlib import Path

import pytest

from servicekit.devices import DEVICES, find_device
from servicekit.errors import Precondition
from servicekit.places import SERVICES, port_of
from servicekit.settings import SettingsError, describe, load, setting


@dataclass(frozen=True)
class Example:
    folder: Path
    size: int = 3
    rate: float = 0.5
    fast: bool = False
    names: tuple[str, ...] = ()
    colour: str = setting("red", "What it is painted in.", choices=("red", "green"))
    count: int = setting(2, "How many there are.", least=1)
    device: str = setting("auto", "Where.", limits=DEVICES)
    port: int = 7


def test_fields_are_read_with_the_prefix_and_cast():
    environ = {"EX_FOLDER": "/a", "EX_SIZE": "7", "EX_FAST": "yes", "EX_NAMES": "a, b", "OTHER": ""}
    assert load(Example, environ, "EX") == Example(Path("/a"), 7, 0.5, True, ("a", "b"))


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "EX_FOLDER is not set"),
        ({"EX_SIZE": "many"}, "EX_SIZE has the value 'many', which is not a whole number"),
        ({"EX_FAST": "maybe"}, "EX_FAST has the value 'maybe'"),
        ({"EX_SIZ": "1"}, "EX_SIZ is not a setting; did you mean EX_SIZE?"),
        ({"EX_WHATEVER": "1"}, "EX_WHATEVER is not a setting; known are EX_COLOUR, EX_COUNT"),
        ({"EX_COLOUR": "blue"}, "EX_COLOUR is 'blue'; use red or green"),
        ({"EX_COUNT": "0"}, "EX_COUNT is '0'; it must be at least 1"),
        ({"EX_RATE": "nan"}, "EX_RATE is 'nan'; use a finite number"),
        ({"EX_DEVICE": "bogus"}, "EX_DEVICE is 'bogus'; use auto, cpu, cuda, or cuda:0"),
        ({"EX_DEVICE": ""}, "EX_DEVICE is ''; use auto"),
    ],
)
def test_a_bad_setting_is_named_with_its_value(environ, sentence):
    whole = {"EX_FOLDER": "/a", **environ} if environ else environ
    with pytest.raises(SettingsError, match=sentence.replace("?", r"\?")):
        load(Example, whole, "EX")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("EX_SERVICE_HOST", "10.0.0.1"),
        ("EX_SERVICE_PORT", "50051"),
        ("EX_SERVICE_PORT_GRPC", "50051"),
        ("EX_PORT", "tcp://10.0.0.1:50051"),
        ("EX_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ("EX_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("EX_PORT_50051_TCP_PROTO", "tcp"),
        ("EX_HEADLESS_SERVICE_HOST", "10.0.0.1"),
        ("EX_HEADLESS_PORT", "tcp://10.0.0.1:50051"),
    ],
)
def test_what_kubernetes_says_of_a_service_of_that_name_is_passed_over(key, text):
    assert load(Example, {"EX_FOLDER": "/a", key: text}, "EX") == Example(Path("/a"))


@pytest.mark.parametrize("name", [*SERVICES, "server"])
def test_every_service_starts_beside_the_variables_of_others(name):
    from embedded.configuration import settings_class

    others = {
        f"{name.upper()}_SERVICE_HOST": "10.0.0.1",
        f"{name.upper()}_PORT": "tcp://10.0.0.1:50051",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "nginx",
        "SERVER_NAME": "localhost",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_ADDR": "127.0.0.1",
    }
    kind = settings_class(name)
    assert load(kind, others, name) == kind()


@pytest.mark.parametrize("name", [*SERVICES, "server"])
def test_help_has_every_setting_with_its_default_and_meaning(name):
    from dataclasses import fields

    from embedded.configuration import settings_class

    kind = settings_class(name)
    text = describe(kind, name)
    for field in fields(kind):
        assert f"  {name}_{field.name}".upper() + "\n" in text.upper()
        assert field.metadata["meaning"], f"{field.name} has no meaning"


def test_every_service_has_a_port_of_its_own():
    assert [port_of(name) for name in SERVICES] == list(range(50051, 50057))


def test_a_device_that_is_not_there_is_told_with_the_setting():
    import torch

    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(Precondition, match=f"GENERATOR_DEVICE is '{missing}', and") as caught:
        find_device(missing, "GENERATOR_DEVICE")
    assert caught.value.exit_code == 3
    assert find_device("cpu", "X").type == "cpu"
