"""Becomes the Triton server of a container: `python -m generator.triton.container [ARGUMENT ...]`.

The paths are those of the image. Triton reads no variables of ours, so what it has to know of them
is given to it here: where traces go. Further arguments are passed on.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from servicekit.collectors import http_endpoint
from servicekit.settings import SettingsError

SERVER = "/opt/triton/server/bin/tritonserver"
ARGUMENTS = (
    "--model-repository=/opt/variegate/generator/triton/models",
    "--backend-directory=/opt/triton/backends",
    "--backend-config=python,stub-timeout-seconds=1800",
    "--disable-auto-complete-config",
    "--exit-timeout-secs=10",
)


def command(environ: Mapping[str, str], further: Sequence[str]) -> list[str]:
    """Returns the command line of Triton. Raises SettingsError."""
    # ServerSettings would need the packages of TLS, which Triton's environment has not.
    endpoint = http_endpoint(environ.get("SERVER_TRACE_ENDPOINT", ""), environ)
    return [SERVER, *ARGUMENTS, *trace_arguments(endpoint), *further]


def trace_arguments(url: str) -> list[str]:
    """Triton adds to the traces of its callers and begins none, as for our probes: a rate of 0.

    `url` is that of OTLP over HTTP, the only one that it speaks; nothing is traced without.
    """
    if not url:
        return []
    values = ["mode=opentelemetry", "rate=0", "level=TIMESTAMPS"]
    own = [f"url={url}", "resource=service.name=triton", "resource=service.namespace=variegate"]
    return [f"--trace-config={one}" for one in (*values, *(f"opentelemetry,{o}" for o in own))]


if __name__ == "__main__":
    try:
        words = command(os.environ, sys.argv[1:])
    except SettingsError as error:
        sys.exit(f"error: {error}")
    os.execv(words[0], words)
