"""The gateway's admission, as the settings have it."""

import logging
from pathlib import Path

from gateway.auth.admission import Gatekeeper
from gateway.auth.allowance import Allowances
from gateway.auth.audit import Audit
from gateway.auth.principals import Authenticator
from gateway.auth.tokens import TokenFile
from gateway.settings import GatewaySettings
from servicekit.gate import Admission, admit_all
from servicekit.places import SERVICES
from servicekit.settings import SettingsError
from servicekit.targets import Target

_log = logging.getLogger(__name__)


def open_admission(settings: GatewaySettings) -> Admission:
    """Returns who is let in: everyone, if neither tokens nor an issuer are set.

    Raises SettingsError for settings that contradict each other and for files that cannot be used.
    """
    own = TokenFile(Path(settings.auth_tokens)) if settings.auth_tokens else None
    issuer = _issuer(settings)
    if own is None and issuer is None:
        return admit_all
    _warn_of_open_services(settings)
    allowances = Allowances(settings.auth_calls_per_second, settings.auth_calls_in_flight)
    return Gatekeeper(own, issuer, allowances, Audit(settings.auth_audit_file)).admit


def _warn_of_open_services(settings: GatewaySettings) -> None:
    """Who has no token could call the services themselves, unless they answer the gateway alone."""
    places = [getattr(settings, name) for name in (*SERVICES[1:], "screener")]
    away = [place for place in places if place and not Target.of(place).is_loopback()]
    if away and not settings.tls_certificate:
        _log.warning(
            "callers of the gateway need a token, and whoever reaches %s needs none; set "
            "GATEWAY_TLS_CERTIFICATE here and SERVER_TLS_PEERS there, so that the gateway alone is "
            "answered",
            ", ".join(away),
        )


def _issuer(settings: GatewaySettings) -> Authenticator | None:
    if not settings.auth_issuer:
        for name in ("auth_audience", "auth_keys"):
            if getattr(settings, name):
                raise SettingsError(
                    f"GATEWAY_{name.upper()} is set and GATEWAY_AUTH_ISSUER is not; set that, too"
                )
        return None
    if not settings.auth_audience:
        raise SettingsError(
            "GATEWAY_AUTH_ISSUER is set and GATEWAY_AUTH_AUDIENCE is not; without it tokens that "
            "were made for other programs would count"
        )
    # Not at the top: cryptography takes a while, and a laptop needs none of it.
    from gateway.auth.keys import Keys, KeySource
    from gateway.auth.oidc import Issuer, OidcTokens

    source = KeySource(settings.auth_issuer, settings.auth_keys, settings.auth_keys_seconds)
    issuer = Issuer(
        settings.auth_issuer,
        settings.auth_audience,
        settings.auth_scope_claim,
        settings.auth_owner_claim,
        settings.auth_leeway_seconds,
    )
    return OidcTokens(issuer, Keys(source))
