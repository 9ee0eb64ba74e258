"""Configuration as a value: environment variables into a frozen dataclass."""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from servicekit.layout import wrapped

T = TypeVar("T")

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_KINDS = {int: "whole number", float: "number", bool: "yes or no", Path: "path", str: "text"}

# Variables that others set and that look like ours: patterns of the name and of the value.
_FOREIGN = tuple(
    (re.compile(name), re.compile(value, re.DOTALL))
    for name, value in (
        # Addresses of services, from Kubernetes (and Docker's links).
        (r".+_SERVICE_HOST", r".*"),
        (r".+_SERVICE_PORT(_.+)?", r".*"),
        (r".+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?", r".*"),
        (r".+_PORT", r"(tcp|udp|sctp)://.*"),
        (r".+_ENV_.+", r".*"),
        # What a web server tells the programs that it calls (CGI).
        (r"GATEWAY_INTERFACE", r".*"),
        (r"SERVER_(SOFTWARE|NAME|PROTOCOL|ADDR|ADMIN|SIGNATURE)", r".*"),
    )
)


class SettingsError(ValueError):
    """A setting is missing or has a bad value; the sentence names the key and the value."""

    # Of a process that ends with this error.
    exit_code = 2


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the value of a setting may be, besides its type.

    `form` is a pattern of the whole text and `words` says it to people.
    """

    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    form: str = ""
    words: str = ""

    def of(self, kind: str) -> str:
        """Returns what the value may be, in words; `kind` is its type in words."""
        if self.choices or self.words:
            return " or ".join(self.choices) or self.words
        if self.least is not None and self.most is not None:
            return f"{kind} from {self.least:g} to {self.most:g}"
        bound = "" if self.least is None else f" of at least {self.least:g}"
        return kind + (bound if self.most is None else f" of at most {self.most:g}")

    def fault(self, value: Any) -> str:
        """Returns what the value should be; "" if it is that."""
        if self.choices and value not in self.choices:
            return f"use {' or '.join(self.choices)}"
        if self.form and not re.fullmatch(self.form, str(value)):
            return f"use {self.words}"
        if isinstance(value, float) and not math.isfinite(value):
            return "use a finite number"
        if self.least is not None and value < self.least:
            return f"it must be at least {self.least:g}"
        if self.most is not None and value > self.most:
            return f"it must be at most {self.most:g}"
        return ""


def setting(
    default: Any,
    meaning: str,
    *,
    limits: Limits | None = None,
    least: float | None = None,
    choices: tuple[str, ...] = (),
    shown: str = "",
) -> Any:
    """Returns a dataclass field with its meaning for people: one source for code and `--help`.

    `shown` stands for a default that is found out when the service starts.
    """
    limits = limits or Limits(choices, least)
    metadata = {"meaning": meaning, "limits": limits, "shown": shown}
    return dataclasses.field(default=default, metadata=metadata)


def load(cls: type[T], environ: Mapping[str, str], prefix: str) -> T:
    """Returns `cls` filled from `environ`, where the field `max_batch` is PREFIX_MAX_BATCH.

    Fields may be str, int, float, bool, Path or tuple[str, ...] (comma-separated). Raises
    SettingsError for a bad value, a missing required one or an unknown key with the prefix;
    variables that Kubernetes or a web server sets under such names are passed over.
    """
    return create(cls, read(cls, environ, prefix), prefix)


def read(cls: type[Any], environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Returns the values that `environ` sets, by field. Raises SettingsError as `load` does."""
    hints = typing.get_type_hints(cls)
    known = {_key(prefix, field.name): field for field in dataclasses.fields(cls)}
    own = {
        key: text
        for key, text in environ.items()
        if key.startswith(f"{prefix}_".upper()) and not _is_foreign(key, text, known)
    }
    for key in sorted(own):
        if key not in known:
            raise SettingsError(unknown_key(key, known))
    return {known[key].name: _cast(key, text, hints[known[key].name]) for key, text in own.items()}


def create(cls: type[T], values: Mapping[str, Any], prefix: str) -> T:
    """Returns `cls` with these values by field. Raises SettingsError for one that is not allowed
    or missing; `prefix` is for its sentence."""
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        key = _key(prefix, field.name)
        if field.name in values:
            fault = field.metadata.get("limits", Limits()).fault(values[field.name])
            if fault:
                raise SettingsError(f"{key} is {_text(values[field.name])!r}; {fault}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{key} is not set; it has no default")
    return cls(**values)


def unknown_key(key: str, known: typing.Iterable[str]) -> str:
    """Returns the sentence about a variable that is no setting, with the nearest that is."""
    names = sorted(known)
    near = get_close_matches(key, names, n=1, cutoff=0.7)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}."
    return (
        f"{key} is not a setting; {meant} If another program needs it, take it out of the "
        f"environment for this one: env -u {key} ..."
    )


def describe(cls: type[Any], prefix: str, **shown: str) -> str:
    """Returns what `--help` says of the settings: each with type, default and meaning.

    `shown` are defaults that the caller knows better, by field.
    """
    hints = typing.get_type_hints(cls)
    lines = []
    for field in dataclasses.fields(cls):
        default = shown.get(field.name) or field.metadata.get("shown") or _text(field.default)
        kind = field.metadata.get("limits", Limits()).of(_kind(hints[field.name]))
        facts = f"[{kind}; {f'default: {default}' if default else 'empty by default'}]"
        lines.append(f"  {_key(prefix, field.name)}")
        lines.append(wrapped(f"{field.metadata.get('meaning', '')} {facts}", 6))
    return "\n".join(lines)


def is_foreign(key: str, text: str) -> bool:
    """Says whether Kubernetes, Docker or a web server sets this variable by its own rules."""
    return any(name.fullmatch(key) and value.fullmatch(text) for name, value in _FOREIGN)


def _is_foreign(key: str, text: str, known: Mapping[str, Any]) -> bool:
    # The address of a Kubernetes service named "server" would be taken for SERVER_PORT.
    is_address = "://" in text and key.endswith("_PORT")
    return is_foreign(key, text) and (key not in known or is_address)


def _key(prefix: str, name: str) -> str:
    return f"{prefix}_{name}".upper()


def _kind(kind: Any) -> str:
    return _KINDS.get(kind, "list, separated by commas")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return ",".join(map(str, value)) if is_list else str(value)


def _cast(key: str, text: str, kind: Any) -> Any:
    try:
        if kind is bool:
            if text.lower() not in _TRUE | _FALSE:
                raise ValueError
            return text.lower() in _TRUE
        if typing.get_origin(kind) is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return Path(text).expanduser() if kind is Path else kind(text)
    except (ValueError, RuntimeError):
        raise SettingsError(f"{key} has the value {text!r}, which is not a {_kind(kind)}") from None
