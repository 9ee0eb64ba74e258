"""Tokens of an OpenID Connect issuer: JWTs, verified against its keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from gateway.auth.keys import Keys
from gateway.auth.principals import SCOPES, Principal, Scope
from servicekit.errors import PermissionDenied, Unauthenticated

# Signatures that a public key verifies; never a shared secret, and never none.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
_REQUIRED = ("exp", "iss", "aud", "sub")
_SCOPE_PREFIX = "variegate."


@dataclass(frozen=True)
class Issuer:
    """Whose tokens count, and what in them says who calls.

    `leeway_seconds` is how far clocks may differ. The claim `scope_claim` is a list, or a text of
    words, with variegate.read, variegate.create or variegate.admin in it; what is made belongs to
    the value of `owner_claim`.
    """

    issuer: str
    audience: str
    scope_claim: str = "scope"
    owner_claim: str = "sub"
    leeway_seconds: float = 60.0


class OidcTokens:
    """Authenticates by JWTs."""

    def __init__(self, issuer: Issuer, keys: Keys) -> None:
        self._issuer, self._keys = issuer, keys

    async def principal(self, token: str) -> Principal:
        """Returns whose token it is.

        Raises Unauthenticated for a token that does not count, Unavailable if the issuer's keys
        are not there, and PermissionDenied for a token without a scope of ours.
        """
        claims = await self._claims(token)
        name = str(claims["sub"])
        owner = claims.get(self._issuer.owner_claim)
        if not isinstance(owner, str) or not owner:
            raise PermissionDenied(
                f"the token of {name} has no text in the claim {self._issuer.owner_claim!r}, which "
                "says whom things belong to",
                reason="NO_OWNER",
            )
        return Principal(name, owner, self._scope(name, claims))

    def _scope(self, name: str, claims: Mapping[str, Any]) -> Scope:
        claim = claims.get(self._issuer.scope_claim, "")
        words = claim.split() if isinstance(claim, str) else claim
        words = words if isinstance(words, list) else []
        if found := [scope for text, scope in SCOPES.items() if _SCOPE_PREFIX + text in words]:
            return max(found)
        raise PermissionDenied(
            f"the token of {name} has none of the scopes "
            f"{', '.join(_SCOPE_PREFIX + one for one in SCOPES)} in its claim "
            f"{self._issuer.scope_claim!r}",
            reason="NO_SCOPE",
        )

    async def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.key(header.get("kid"))
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._issuer.audience,
                issuer=self._issuer.issuer,
                leeway=self._issuer.leeway_seconds,
                options={"require": list(_REQUIRED)},
            )
        except jwt.PyJWTError as error:
            raise _refusal(error, self._issuer) from None
        return claims


def _refusal(error: jwt.PyJWTError, issuer: Issuer) -> Unauthenticated:
    """Returns what is wrong with a token, in a sentence."""
    reasons: dict[type[Exception], tuple[str, str]] = {
        jwt.ExpiredSignatureError: ("TOKEN_EXPIRED", "the token has expired; get a new one"),
        jwt.ImmatureSignatureError: (
            "TOKEN_NOT_YET_VALID",
            "the token counts only from a later time on; compare the clocks of its issuer and of "
            "the gateway",
        ),
        jwt.InvalidIssuerError: (
            "TOKEN_OF_ANOTHER_ISSUER",
            f"the token is of another issuer than {issuer.issuer}; get one there",
        ),
        jwt.InvalidAudienceError: (
            "TOKEN_FOR_ANOTHER_AUDIENCE",
            f"the token is for another audience than {issuer.audience}; ask for one for that",
        ),
        jwt.MissingRequiredClaimError: ("TOKEN_INCOMPLETE", f"{error}, which is required"),
        jwt.InvalidAlgorithmError: (
            "TOKEN_MALFORMED",
            f"the token is not signed with one of {', '.join(_ALGORITHMS)}",
        ),
        jwt.InvalidSignatureError: (
            "TOKEN_FORGED",
            f"the signature is not that of {issuer.issuer}; get a new token",
        ),
    }
    kind = type(error)
    reason, text = reasons.get(
        kind, ("TOKEN_MALFORMED", "the token is no JWT; send it as its issuer gave it")
    )
    return Unauthenticated(text, reason=reason)
