"""Models of a hub, through huggingface_hub: hub:OWNER/NAME@REVISION.

HF_ENDPOINT and HF_TOKEN are that library's own. Its downloads begin anew when they were
interrupted, so files are read here, in ranges.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from gateway.cli.weights.base import Listing, RemoteFile, is_wanted
from servicekit.errors import InvalidArgument, NotFound, Precondition, ServiceError, Unavailable

SCHEME = "hub:"
_FORM = re.compile(r"hub:([^/@]+/[^/@]+)@([^@]+)")
_TIMEOUT = httpx2.Timeout(10, read=60)
_PASSING = (408, 429, 500, 502, 503, 504)


class HubSource:
    """One model of a hub, at a revision."""

    def __init__(self, text: str) -> None:
        found = _FORM.fullmatch(text)
        if not found:
            raise InvalidArgument(
                f"the source {text!r} is not hub:OWNER/NAME@REVISION; the revision is best a "
                "commit, for a branch moves",
                field="source",
                reason="BAD_SOURCE",
            )
        self._repository, self._revision = found[1], found[2]
        self._commit = ""

    def listing(self, patterns: tuple[str, ...]) -> Listing:
        try:
            facts = HfApi().model_info(
                self._repository, revision=self._revision, files_metadata=True, timeout=30
            )
        except Exception as error:
            raise self._translated(error, self._repository) from error
        self._commit = str(facts.sha)
        siblings = [one for one in facts.siblings or () if is_wanted(one.rfilename, patterns)]
        return Listing(tuple(map(_remote, siblings)), self._commit)

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        url = hf_hub_url(self._repository, file.name, revision=self._commit)
        # Compressed by the server, a range would be one of the compressed bytes.
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as answer:
                hf_raise_for_status(answer)
                begins = start if answer.status_code == 206 else 0
                yield begins, answer.iter_bytes()
        except (httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise self._translated(error, f"{self._repository}/{file.name}") from error

    def _translated(self, error: Exception, what: str) -> Exception:
        """Returns the ServiceError of an error of the library; others as they are."""
        if isinstance(error, OfflineModeIsEnabled):
            return Precondition(
                "HF_HUB_OFFLINE is set, so the hub is not asked; unset it for this command",
                subject=what,
                reason="HUB_OFFLINE",
            )
        if isinstance(error, HFValidationError):
            return InvalidArgument(f"{what}: {error}", field="source", reason="BAD_SOURCE")
        if isinstance(error, HfHubHTTPError):
            return self._refused(error, what)
        if isinstance(error, httpx2.HTTPError):
            return Unavailable(
                f"the hub {constants.ENDPOINT} cannot be reached for {what}: "
                f"{error or type(error).__name__}; check the network, and HF_ENDPOINT",
                reason="HUB_UNREACHABLE",
            )
        return error

    def _refused(self, error: HfHubHTTPError, what: str) -> ServiceError:
        status = error.response.status_code
        if isinstance(error, RevisionNotFoundError):
            return NotFound(
                f"{self._repository} has no revision {self._revision}; name another",
                resource=what,
                reason="REVISION_MISSING",
            )
        if isinstance(error, GatedRepoError):
            return _denied(
                f"{what} is given only to those who accepted its terms: accept them at "
                f"{constants.ENDPOINT}/{self._repository}, and set HF_TOKEN to a token of "
                "such an account",
                what,
            )
        if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
            # A hub answers 401 for a model that does not exist, too.
            return _denied(
                f"the hub {constants.ENDPOINT} refuses access to {what} ({status}): correct its "
                "name, or, if it is private, set HF_TOKEN to a token that may read it",
                what,
            )
        if status in _PASSING:
            return Unavailable(
                f"the hub {constants.ENDPOINT} answered {status} for {what}",
                reason="HUB_UNREACHABLE",
            )
        if status == 404:
            return NotFound(f"the hub has no {what}", resource=what, reason="FILE_MISSING")
        return Precondition(
            f"the hub {constants.ENDPOINT} answered {status} for {what}: {error}",
            subject=what,
            reason="HUB_REFUSED",
        )


def _denied(message: str, what: str) -> Precondition:
    return Precondition(message, subject=what, reason="HUB_ACCESS_DENIED")


def _remote(one: Any) -> RemoteFile:
    sha256 = one.lfs.sha256 if one.lfs else ""
    size = one.lfs.size if one.lfs else one.size
    return RemoteFile(one.rfilename, int(size), sha256, "" if sha256 else str(one.blob_id))
