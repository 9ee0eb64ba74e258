"""The error of a Job that ended without a result, for whoever asked for the run."""

from collections.abc import Iterator, Sequence

from servicekit.errors import (
    DeadlineExceeded,
    Exhausted,
    Internal,
    Precondition,
    ServiceError,
)
from trainer.launchers.kubernetes.api import Manifest
from trainer.launchers.kubernetes.manifests import CONTAINER
from trainer.record import RunRecord

_OUT_OF_MEMORY = "OOMKilled"


def deleted(name: str, record: RunRecord) -> ServiceError:
    """The error of a Job that is gone: its own, if it had failed, else that somebody deleted it."""
    return record.failure() or Precondition(
        f"somebody deleted the Job {name} of this run while it trained; ask again to go on from "
        "its last checkpoint",
        subject=name,
        reason="JOB_DELETED",
    )


def failed(
    job: Manifest, end: Manifest, pods: Sequence[Manifest], record: RunRecord
) -> ServiceError:
    """The error of a Job that has ended: the worker's own, wherever there is one."""
    name, spec = job["metadata"]["name"], job["spec"]
    if error := record.failure():
        return error
    if end["type"] == "Complete":
        return Internal(
            f"the Job {name} completed, and there is no result in the store; do its pods have the "
            "same SERVER_STORE as the trainer?"
        )
    if end.get("reason") == "DeadlineExceeded":
        return DeadlineExceeded(
            f"the Job {name} took longer than its {spec.get('activeDeadlineSeconds')} seconds; ask "
            "again to go on from the last checkpoint, or give the template more "
            "(activeDeadlineSeconds)"
        )
    ended = list(_ended(pods))
    if any(state["reason"] == _OUT_OF_MEMORY for state in ended):
        return Exhausted(
            f"the pods of the Job {name} were killed for lack of memory, and so were those that "
            "took their place; use a smaller batch_size or image_size, or give the template more "
            "memory",
            reason="WORKER_KILLED",
            retry_after=5.0,
        )
    if error := record.interruption():
        return error
    last = next((state["message"] for state in ended if state["message"]), "")
    said = f" The last of them said: {last.strip().splitlines()[-1]}." if last.strip() else ""
    return Internal(
        f"the Job {name} gave up ({end.get('reason', 'Failed')}): its pods ended before they could "
        f"say why.{said} Ask again to go on from the last checkpoint; `kubectl logs job/{name}` "
        "says more"
    )


def waiting(pods: Sequence[Manifest]) -> str:
    """Why pods do not run, in the cluster's words; "" if all do."""
    for pod in pods:
        status = pod.get("status", {})
        for condition in status.get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message", condition.get("reason", "")))
        for container in status.get("containerStatuses", ()):
            state = container.get("state", {}).get("waiting", {})
            if state.get("reason", "ContainerCreating") != "ContainerCreating":
                return f"{state['reason']}: {state.get('message', '')}".rstrip(": ")
    return ""


def _ended(pods: Sequence[Manifest]) -> Iterator[dict[str, str]]:
    """Yields reason and message of each end of the container that trains, the latest first."""
    states = [
        container["state"]["terminated"]
        for pod in pods
        for container in pod.get("status", {}).get("containerStatuses", ())
        if container["name"] == CONTAINER and "terminated" in container.get("state", {})
    ]
    for state in sorted(states, key=lambda one: str(one.get("finishedAt", "")), reverse=True):
        yield {"reason": state.get("reason", ""), "message": state.get("message", "")}
