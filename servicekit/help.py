"""What `--help` of a service prints."""

from typing import Any

from servicekit.layout import command, entries, wrapped
from servicekit.places import address_of, port_of
from servicekit.settings import describe


def help_of(settings: type[Any], server_settings: type[Any], name: str) -> str:
    """Returns what the service is for, and every setting with type, default and meaning."""
    meaning = (
        f"Run the {name} until SIGTERM or Ctrl-C. It listens on {address_of(name)} unless told "
        "otherwise, and takes its settings from the environment. With a wrong one it ends at "
        "start-up, says why, and exits with code 2."
    )
    return "\n\n".join(
        (
            f"Usage: variegate serve {name}",
            wrapped(meaning),
            f"Example:\n{command(f'SERVER_PORT={port_of(name) + 100} variegate serve {name}')}",
            f"Options:\n{entries([('-h, --help', 'Show this message and exit.')])}",
            f"Settings of the {name}:\n{describe(settings, name)}",
            "Settings of every service:\n"
            + describe(server_settings, "SERVER", port=str(port_of(name))),
        )
    )
