"""The options and credentials of an S3 store, and the connections that follow from them."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

import certifi
import urllib3
from minio import Minio
from minio import time as minio_time
from minio.credentials import Credentials, StaticProvider
from minio.signer import sign_v4_s3

from servicekit.errors import InvalidArgument

# Less than the 60 seconds that callers wait for an answer, so that they hear what is wrong.
_PATIENCE = 45.0
_CONNECTIONS = 32
_REGION = "us-east-1"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_OPTIONS = {"endpoint", "secure", "region", "style", "ca", "connections", "patience"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}
_FORM = (
    "an S3 store is s3://BUCKET?endpoint=HOST:PORT, and if needed &secure=false, &region=NAME, "
    "&style=virtual, &ca=FILE, &connections=NUMBER, &patience=SECONDS"
)


@dataclass(frozen=True)
class S3Connection:
    """A client, the pool of connections that it uses, and seconds to wait for a lost server.

    `bucket` is the bucket's address, `credentials` are None where requests are not signed.
    """

    client: Minio
    pool: urllib3.PoolManager
    patience: float
    bucket: SplitResult
    region: str
    credentials: Credentials | None

    def send(
        self, method: str, key: str, body: bytes | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Sends one request for an object as it is, and returns the whole answer.

        It is for what the client has no call for, and for what is done a thousand times.
        """
        url = self.bucket._replace(path=self.bucket.path + quote(key))
        if self.credentials is not None:
            now = minio_time.utcnow()
            headers |= {
                "Host": url.netloc,
                "x-amz-content-sha256": _UNSIGNED,
                "x-amz-date": minio_time.to_amz_date(now),
            }
            if self.credentials.session_token:
                headers["x-amz-security-token"] = self.credentials.session_token
            headers = sign_v4_s3(
                method=method,
                url=url,
                region=self.region,
                headers=headers,
                credentials=self.credentials,
                content_sha256=_UNSIGNED,
                date=now,
            )
        return self.pool.urlopen(method, urlunsplit(url), body=body, headers=headers)


def connect(bucket: str, options: Mapping[str, str], environ: Mapping[str, str]) -> S3Connection:
    """Returns the connection to a bucket; nothing is sent yet.

    `endpoint` is HOST:PORT. `secure` (true) speaks TLS, trusting the authorities of the file `ca`
    or else the usual ones. `style` is "path" (HOST/BUCKET, the default) or "virtual" (BUCKET.HOST).
    `region` is us-east-1 by default. The credentials are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    and maybe AWS_SESSION_TOKEN; without them requests are not signed. Raises InvalidArgument.
    """
    unknown = sorted(set(options) - _OPTIONS)
    if unknown or not options.get("endpoint") or not bucket:
        raise _bad(f"there is no option {unknown[0]!r}: {_FORM}" if unknown else _FORM)
    if not _BUCKET.fullmatch(bucket):
        raise _bad(f"{bucket!r} is not a bucket name; it has 3 to 63 of a-z, 0-9, - and .")
    if not _ENDPOINT.fullmatch(options["endpoint"]):
        raise _bad(f"{options['endpoint']!r} is not an endpoint; write HOST:PORT")
    style = options.get("style", "path")
    if style not in ("path", "virtual"):
        raise _bad(f"style is {style!r}; it is path or virtual")
    provider = _provider(environ)
    region = options.get("region", _REGION)
    pool = _pool(options, int(_number(options, "connections", _CONNECTIONS)))
    try:
        client = Minio(
            options["endpoint"],
            secure=_flag(options, "secure"),
            region=region,
            http_client=pool,
            credentials=provider,
        )
    except ValueError as error:
        raise _bad(
            f"{options['endpoint']!r} is not an endpoint: {error}; write HOST:PORT"
        ) from error
    if style == "virtual":
        client.enable_virtual_style_endpoint()
    else:
        client.disable_virtual_style_endpoint()
    patience = _number(options, "patience", _PATIENCE)
    credentials = provider.retrieve() if provider else None
    return S3Connection(client, pool, patience, _address(client, bucket), region, credentials)


def _provider(environ: Mapping[str, str]) -> StaticProvider | None:
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        absent = "AWS_SECRET_ACCESS_KEY" if key else "AWS_ACCESS_KEY_ID"
        raise _bad(f"{absent} is not set; set both or neither of the S3 credentials")
    token = environ.get("AWS_SESSION_TOKEN")
    return StaticProvider(key, secret, token) if key and secret else None


def _address(client: Minio, bucket: str) -> SplitResult:
    """Returns the address of a bucket, ending in "/": the client knows the styles and AWS."""
    link = urlsplit(client.get_presigned_url("GET", bucket, "-"))
    return link._replace(path=link.path.removesuffix("-"), query="")


def _pool(options: Mapping[str, str], connections: int) -> urllib3.PoolManager:
    authorities = options.get("ca") or os.environ.get("SSL_CERT_FILE") or certifi.where()
    try:
        ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise _bad(f"{authorities} is not a PEM file of certificates: {error}") from error
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5, read=60),
        maxsize=connections,
        block=True,  # One more request than connections waits.
        cert_reqs="CERT_REQUIRED",
        ca_certs=authorities,
        retries=False,  # The store tries again itself, also where a body was cut off.
    )


def _flag(options: Mapping[str, str], name: str) -> bool:
    text = options.get(name, "true").lower()
    if text not in _TRUE | _FALSE:
        raise _bad(f"{name} is {text!r}; it is true or false")
    return text in _TRUE


def _number(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise _bad(f"{name} is {options[name]!r}; it is a number above 0 and at most 3600")
    return value


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, field="store", reason="BAD_STORE")
