"""Configuration as a value: environment variables into a frozen dataclass."""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class SettingsError(ValueError):
    """A setting is missing or has a bad value; the sentence names the key and the value."""

    # Of a process that ends with this error.
    exit_code = 2


def load(cls: type[T], environ: Mapping[str, str], prefix: str) -> T:
    """Returns `cls` filled from `environ`, where the field `max_batch` is PREFIX_MAX_BATCH.

    Fields may be str, int, float, bool, Path or tuple[str, ...] (comma-separated). Raises
    SettingsError for a bad value, a missing required one or an unknown key with the prefix.
    """
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    known = {f"{prefix}_{field.name}".upper(): field for field in fields}
    unknown = sorted(k for k in environ if k.startswith(f"{prefix}_".upper()) and k not in known)
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a setting; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for key, field in known.items():
        if key in environ:
            values[field.name] = _cast(key, environ[key], hints[field.name])
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{key} is not set; it has no default")
    return cls(**values)


def _cast(key: str, text: str, kind: Any) -> Any:
    try:
        if kind is bool:
            if text.lower() not in _TRUE | _FALSE:
                raise ValueError
            return text.lower() in _TRUE
        if typing.get_origin(kind) is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return Path(text) if kind is Path else kind(text)
    except ValueError:
        name = getattr(kind, "__name__", str(kind))
        raise SettingsError(f"{key} has the value {text!r}, which is not a {name}") from None
