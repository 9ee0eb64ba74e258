"""Principals, their scopes, and the call that one of them makes."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol


class Scope(IntEnum):
    """What a principal may do; each includes those before it."""

    READ = 1
    CREATE = 2
    ADMIN = 3


SCOPES = {scope.name.lower(): scope for scope in Scope}
# Methods whose names begin so change nothing.
_READING = ("Get", "List", "Plan", "Wait")


@dataclass(frozen=True)
class Principal:
    """Who calls. What is made belongs to `owner`: a team, or the principal alone."""

    name: str
    owner: str
    scope: Scope


@dataclass
class Call:
    """A call of a principal, and the names of the resources that it is about."""

    principal: Principal
    method: str
    resources: list[str] = field(default_factory=list)


class Authenticator(Protocol):
    """Knows principals by their tokens."""

    async def principal(self, token: str) -> Principal:
        """Returns whose token it is. Raises Unauthenticated, or Unavailable if that cannot be
        found out now."""
        ...


# The call that is being answered; None where nobody is asked who they are.
current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)


def scope_for(method: str) -> Scope:
    """Returns what a method (/PACKAGE.SERVICE/METHOD) needs."""
    name = method.rpartition("/")[2]
    return Scope.READ if name.startswith(_READING) else Scope.CREATE
