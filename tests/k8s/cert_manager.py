"""What cert-manager.io/v1 takes, as far as the manifests use it, after its API reference."""

from typing import Any

_TEXT = {"type": "string", "minLength": 1}
# As Go's time.ParseDuration reads them.
_DURATION = {"type": "string", "pattern": r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2}
_USAGES = [
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement",
    "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any",
    "server auth", "client auth", "code signing", "email protection", "s/mime",
    "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
]  # fmt: skip


def _object(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


_SPECS = {
    "Certificate": _object(
        ("secretName", "issuerRef"),
        secretName=_TEXT,
        # The group is cert-manager.io by default.
        issuerRef=_object(
            ("name",), name=_TEXT, kind={"enum": ["Issuer", "ClusterIssuer"]}, group=_TEXT
        ),
        commonName={"type": "string", "maxLength": 64},
        dnsNames={"type": "array", "items": _TEXT},
        isCA={"type": "boolean"},
        duration=_DURATION,
        renewBefore=_DURATION,
        usages={"type": "array", "items": {"enum": _USAGES}},
        privateKey=_object(
            algorithm={"enum": ["RSA", "ECDSA", "Ed25519"]},
            encoding={"enum": ["PKCS1", "PKCS8"]},
            rotationPolicy={"enum": ["Never", "Always"]},
            size={"type": "integer", "minimum": 0},
        ),
    ),
    # Exactly one way of signing.
    "Issuer": {
        **_object(selfSigned=_object(), ca=_object(("secretName",), secretName=_TEXT)),
        "minProperties": 1,
        "maxProperties": 1,
    },
}
_METADATA = _object(("name", "namespace"), name=_TEXT, namespace=_TEXT, labels={"type": "object"})
SCHEMAS = {
    kind: _object(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "cert-manager.io/v1"},
        kind={"const": kind},
        metadata=_METADATA,
        spec=spec,
    )
    for kind, spec in _SPECS.items()
}
