"""Where traces go: what `servicekit.tracing` and programs that are not ours are told."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from servicekit.settings import SettingsError

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def is_wanted(endpoint: str, environ: Mapping[str, str]) -> bool:
    """Says whether traces go anywhere. Raises SettingsError for a protocol that is not spoken."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    if not endpoint and not any(environ.get(name) for name in _ENDPOINTS):
        return False
    for name in _PROTOCOLS:
        if environ.get(name, "grpc") != "grpc":
            raise SettingsError(
                f"{name} is {environ[name]!r}; traces are sent by grpc only, to a port such as 4317"
            )
    return True


def http_endpoint(endpoint: str, environ: Mapping[str, str]) -> str:
    """Returns where the collector takes OTLP over HTTP, for other programs; "" if it is not wanted.

    It has to listen on the usual port, 4318, since only the place for gRPC is known.
    """
    if not is_wanted(endpoint, environ):
        return ""
    given = endpoint or next(filter(None, map(environ.get, _ENDPOINTS)))
    parts = urlsplit(given if "//" in given else f"//{given}")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme or 'http'}://{host}:4318/v1/traces"
