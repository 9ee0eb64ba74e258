"""Lets in who has a token that counts, no more often than allowed, and notes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from gateway.auth.allowance import Allowances
from gateway.auth.audit import Audit
from gateway.auth.principals import (
    Authenticator,
    Call,
    Principal,
    current_call,
    scope_for,
)
from servicekit.errors import PermissionDenied, ServiceError, Unauthenticated
from servicekit.tokens import PREFIX

_BEARER = "bearer "


class Gatekeeper:
    """The gateway's admission. Our own tokens go to `own`, all others to `issuer`."""

    def __init__(
        self,
        own: Authenticator | None,
        issuer: Authenticator | None,
        allowances: Allowances,
        audit: Audit,
    ) -> None:
        self._own, self._issuer = own, issuer
        self._allowances, self._audit = allowances, audit

    @asynccontextmanager
    async def admit(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """Encloses a call.

        Raises Unauthenticated, PermissionDenied or Exhausted; see servicekit.gate.Admission
        """
        principal: Principal | None = None
        resources: list[str] = []
        code = grpc.StatusCode.OK
        try:
            principal = await self._principal(context)
            _check_scope(principal, method)
            with self._allowances.call(principal.name):
                current_call.set(Call(principal, method, resources))
                yield
        except BaseException as error:
            code = _code_of(error)
            raise
        finally:
            self._audit.note(principal, method, resources, code, context.peer())

    async def _principal(self, context: grpc.aio.ServicerContext) -> Principal:
        token = _token_of(context)
        authenticator = self._own if token.startswith(PREFIX) else self._issuer
        if authenticator is None:
            raise Unauthenticated(
                "tokens of this kind do not count here; ask whoever runs the gateway for one",
                reason="TOKEN_UNKNOWN",
            )
        return await authenticator.principal(token)


def _token_of(context: grpc.aio.ServicerContext) -> str:
    metadata = context.invocation_metadata() or ()
    found = [value for key, value in metadata if key == "authorization"]
    if not found:
        raise Unauthenticated(
            "the call has no token; send `authorization: Bearer TOKEN` (on the command line "
            "VARIEGATE_TOKEN)",
            reason="NO_TOKEN",
        )
    text = found[0] if isinstance(found[0], str) else ""
    if len(found) > 1 or not text.lower().startswith(_BEARER):
        raise Unauthenticated(
            "the metadata authorization has to be one text, Bearer TOKEN", reason="TOKEN_MALFORMED"
        )
    return text[len(_BEARER) :].strip()


def _check_scope(principal: Principal, method: str) -> None:
    needed = scope_for(method)
    if principal.scope < needed:
        raise PermissionDenied(
            f"{principal.name} has the scope {principal.scope.name.lower()}, and "
            f"{method.rpartition('/')[2]} needs {needed.name.lower()}",
            reason="SCOPE_TOO_SMALL",
        )


def _code_of(error: BaseException) -> grpc.StatusCode:
    if isinstance(error, ServiceError):
        return error.code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED
    return grpc.StatusCode.INTERNAL
