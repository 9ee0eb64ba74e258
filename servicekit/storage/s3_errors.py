"""What S3 servers answer when something is wrong, as sentences that say what to do."""

import ssl
import time
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import ParseError

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from servicekit.errors import Exhausted, Precondition, ServiceError, Unavailable
from servicekit.storage.base import missing

_ABSENT = {"NoSuchKey", "NoSuchObject", "NotFound"}
# Conflicts of racing writers, and a body that was damaged on its way.
_PASSING = {
    "SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict", "BadDigest",
    "NoSuchUpload",
}  # fmt: skip
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"}
_REFUSED = {
    "AccessDenied": "its user may not do this; allow it in the bucket's policy, or name the user "
    "with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where they are not set",
    "InvalidAccessKeyId": "it does not know AWS_ACCESS_KEY_ID; correct that",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID; "
    "correct it",
    "ExpiredToken": "the session token has expired; get a new one",
    "InvalidToken": "the session token is not valid; get a new one",
}
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
# S3 servers refuse what was signed further away from their own time.
_SKEW_SECONDS = 15 * 60


def answer_error(response: urllib3.BaseHTTPResponse) -> Exception:
    """Returns the error in an answer that is none of the expected ones."""
    try:
        return S3Error.fromxml(response)
    except (ParseError, UnicodeDecodeError):
        return ServerError(f"the server answered {response.status}", response.status)


def is_absent(error: Exception) -> bool:
    """Says whether the object does not exist."""
    return isinstance(error, S3Error) and error.code in _ABSENT


def is_refused(error: Exception) -> bool:
    """Says whether the server refused the credentials."""
    return isinstance(error, S3Error) and error.response.status == 403


def is_passing(error: Exception) -> bool:
    """Says whether the same request may work later."""
    if isinstance(error, S3Error):
        status = error.response.status
        return error.code in _PASSING or status == 429 or (status >= 500 and status != 501)
    if isinstance(error, urllib3.exceptions.SSLError):
        return False
    # An answer that is not S3's comes from something in between.
    kinds = (urllib3.exceptions.HTTPError, InvalidResponseError, ServerError, OSError)
    return isinstance(error, kinds)


def was_answered(error: Exception) -> bool:
    """Says whether the error came from an S3 server, and not from the way to it."""
    return isinstance(error, S3Error)


def translate(error: Exception, bucket: str, key: str) -> Exception:
    """Returns the ServiceError for an error of the client; others as they are."""
    if isinstance(error, S3Error):
        return _of_server(error, bucket, key)
    if isinstance(error, urllib3.exceptions.SSLError):
        return _of_tls(error, bucket)
    if is_passing(error):
        return _unreachable(error, bucket, key)
    return error


def _of_server(error: S3Error, bucket: str, key: str) -> ServiceError:
    if error.code in _ABSENT:
        return missing(key)
    if error.code == "NoSuchBucket":
        return Precondition(
            f"the bucket {bucket} does not exist; create it, or correct its name in the store's "
            "URL",
            subject=bucket,
            reason="BUCKET_MISSING",
        )
    skew = _skew(error)
    if error.code in _SKEWED or (is_refused(error) and skew > _SKEW_SECONDS):
        by = f" by {skew / 60:.0f} minutes" if skew > 60 else ""
        return Precondition(
            f"the store {bucket} refuses requests because its clock and ours differ{by}; set the "
            "clock of this machine, for example with NTP",
            subject=bucket,
            reason="STORE_CLOCK_SKEW",
        )
    if error.code in _REFUSED:
        return Precondition(
            f"the store refuses these credentials for {bucket}/{key} ({error.code}): "
            f"{_REFUSED[error.code]}",
            subject=bucket,
            reason="STORE_ACCESS_DENIED",
        )
    if error.code in _FULL or error.response.status == 507:
        return Exhausted(
            f"the store has no space left for {bucket}/{key}; free some space and run the same "
            "command again, nothing that was finished is lost",
            reason="STORE_FULL",
            retry_after=30.0,
        )
    return _unreachable(error, bucket, key)


def _of_tls(error: Exception, bucket: str) -> Precondition:
    trusted = isinstance(error.args[0] if error.args else None, ssl.SSLCertVerificationError)
    remedy = (
        "name the file of its authority with &ca=FILE, or correct the endpoint's name"
        if trusted
        else "if it speaks plain HTTP, add &secure=false to the store's URL"
    )
    return Precondition(
        f"no secure connection to the store {bucket}: {error}; {remedy}",
        subject=bucket,
        reason="STORE_TLS",
    )


def _skew(error: S3Error) -> float:
    """Returns by how many seconds the server's clock differs from ours; 0 if it does not tell."""
    date = error.response.headers.get("Date")
    try:
        return abs(parsedate_to_datetime(date).timestamp() - time.time()) if date else 0.0
    except ValueError:
        return 0.0


def neither_there_nor_free(bucket: str, key: str) -> Unavailable:
    """Returns the error for a key that the server refuses to store under and finds nothing at."""
    return Unavailable(
        f"the store says that {bucket}/{key} exists, and that it does not; its server may keep a "
        f"folder of that name: remove what is under {key}/, or try again in some minutes",
        reason="STORE_UNREACHABLE",
    )


def _unreachable(error: Exception, bucket: str, key: str) -> Unavailable:
    return Unavailable(
        f"the store cannot be reached for {bucket}/{key}: {error}; check that its server runs, and "
        "the endpoint in the store's URL",
        reason="STORE_UNREACHABLE",
    )
