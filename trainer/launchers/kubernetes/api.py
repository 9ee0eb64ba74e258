"""The few calls of the Kubernetes API that are needed, by the rights of this pod's account."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from httpx2 import AsyncClient, HTTPError, Response

from servicekit.errors import (
    AlreadyExists,
    NotFound,
    Precondition,
    ServiceError,
    Unavailable,
)
from servicekit.settings import SettingsError

Manifest = dict[str, Any]

JOBS, SERVICES, PODS, TEMPLATES = "batch/v1/jobs", "v1/services", "v1/pods", "batch/v1/cronjobs"

# Where Kubernetes mounts the token, certificate authority and namespace of a pod's account.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Access:
    """Where the API server is, and the folder of the account that calls it."""

    url: str
    account: Path

    @classmethod
    def of_pod(cls, environ: Mapping[str, str], account: Path = ACCOUNT) -> "Access":
        """Returns the access that Kubernetes gives a pod. Raises SettingsError outside of one."""
        host, port = environ.get(_HOST, ""), environ.get(_PORT, "443")
        if not host:
            raise SettingsError(
                f"TRAINER_LAUNCHER is 'kubernetes', but {_HOST} is not set: this is no pod; use "
                "'subprocess', or start the trainer in a cluster"
            )
        for name in ("token", "ca.crt", "namespace"):
            if not (account / name).is_file():
                raise SettingsError(
                    f"TRAINER_LAUNCHER is 'kubernetes', but there is no {account / name}: the "
                    "pod's account is not mounted; set automountServiceAccountToken, as "
                    "k8s/components/training-jobs does"
                )
        bracketed = f"[{host}]" if ":" in host else host
        return cls(f"https://{bracketed}:{port}", account)


class KubernetesApi:
    """Gets, creates, lists and deletes objects of this pod's namespace, as plain values.

    A kind is written as JOBS, SERVICES and so on are.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self.namespace = (access.account / "namespace").read_text(encoding="utf-8").strip()
        trusted = ssl.create_default_context(cafile=str(access.account / "ca.crt"))
        self._client = AsyncClient(
            base_url=access.url, verify=trusted, timeout=_TIMEOUT_SECONDS, trust_env=False
        )

    async def get(self, kind: str, name: str) -> Manifest:
        """Returns an object. Raises NotFound."""
        return await self._call("GET", kind, name)

    async def find(self, kind: str, name: str) -> Manifest | None:
        """Returns an object; None if there is none."""
        try:
            return await self.get(kind, name)
        except NotFound:
            return None

    async def list(self, kind: str, selector: str) -> "list[Manifest]":
        """Returns the objects with these labels."""
        found = await self._call("GET", kind, params={"labelSelector": selector})
        items: list[Manifest] = found["items"]
        return items

    async def create(self, kind: str, manifest: Manifest) -> Manifest:
        """Creates an object and returns it as it is then. Raises AlreadyExists."""
        return await self._call("POST", kind, body=manifest)

    async def delete(self, kind: str, name: str) -> None:
        """Begins to delete an object, which is there until all that it owns is gone."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        await self._call("DELETE", kind, name, body=options)

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def _call(
        self,
        method: str,
        kind: str,
        name: str = "",
        *,
        body: Manifest | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Manifest:
        group, _, plural = kind.rpartition("/")
        root = "api/v1" if group == "v1" else f"apis/{group}"
        path = f"/{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")
        # Read each time: the token is replaced long before it expires, within the hour.
        token = (self._access.account / "token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            response = await self._client.request(
                method, path, json=body, params=params, headers=headers
            )
        except HTTPError as error:
            raise Unavailable(
                f"the Kubernetes API at {self._access.url} does not answer "
                f"({type(error).__name__}: {error}); the trainer goes on when it does",
                reason="KUBERNETES_UNAVAILABLE",
                retry_after=_RETRY_SECONDS,
            ) from error
        if not response.is_success:
            raise self._error(response, f"{method} {path}", f"{plural} {name}".strip())
        answer: Manifest = response.json()
        return answer

    def _error(self, response: Response, call: str, subject: str) -> ServiceError:
        said = _message(response)
        match response.status_code:
            case 404:
                return NotFound(
                    f"there is no {subject} in the namespace {self.namespace}", resource=subject
                )
            case 409:
                return AlreadyExists(said, resource=subject)
            case 401:
                return Precondition(
                    "the Kubernetes API does not take the token of the trainer's account; is the "
                    f"pod older than its account? ({said})",
                    subject=subject,
                    reason="KUBERNETES_UNAUTHORIZED",
                )
            case 403:
                # The sentence names the account, and the right that it lacks or the policy or quota
                # that stands against it.
                return Precondition(
                    f"Kubernetes refuses {call}: {said}; the rights that the trainer needs are in "
                    "k8s/components/training-jobs",
                    subject=subject,
                    reason="KUBERNETES_FORBIDDEN",
                )
            case code if code == 429 or code >= 500:
                return Unavailable(
                    f"the Kubernetes API answers {call} with {code}: {said}",
                    reason="KUBERNETES_UNAVAILABLE",
                    retry_after=_RETRY_SECONDS,
                )
            case code:
                return Precondition(
                    f"Kubernetes does not take what {call} asks for ({code}): {said}; look at the "
                    "template of the trainings' Jobs (TRAINER_JOB_TEMPLATE)",
                    subject=subject,
                    reason="KUBERNETES_REFUSED",
                )


def _message(response: Response) -> str:
    """What a Status object says, or what else the answer is."""
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
