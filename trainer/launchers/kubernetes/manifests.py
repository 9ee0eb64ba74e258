"""The Job and the Service of a run, made of the template in the cluster.

The template is a CronJob that never runs: volumes, environment, sizes, time to live and retries are
in the manifests, where whoever runs the cluster changes them, and only what depends on the run is
added here.
"""

import hashlib
import re
from copy import deepcopy
from typing import Any

from servicekit.errors import Precondition
from trainer.kinds.registry import type_of
from trainer.launchers.kubernetes.api import Manifest
from trainer.runs import JobRequest

# The container of the template that trains.
CONTAINER = "trainer"
GPU = "nvidia.com/gpu"
RUN = "variegate/training-run"
MANAGED_BY = "app.kubernetes.io/managed-by=variegate-trainer"
# Of the processes of one run, which meet at the first pod.
_PORT = 29400
_LONGEST_SLUG = 30


def name_of(run: str) -> str:
    """The name of a run's Job and Service: readable, and of its own whatever is cut off.

    `run` is the run's name, "COLLECTION/ID".

    With "-INDEX" it is the host name of a pod, which has at most 63 characters.
    """
    run_id = run.partition("/")[2]
    slug = re.sub("[^a-z0-9]+", "-", run_id)[:_LONGEST_SLUG].strip("-")
    return f"{type_of(run).prefix}-{slug}-{hashlib.sha256(run_id.encode()).hexdigest()[:10]}"


def job_of(template: Manifest, run: str, request: JobRequest) -> Manifest:
    """Returns the Job of a run."""
    name, nodes = name_of(run), request.machines
    made = deepcopy(template["spec"]["jobTemplate"])
    metadata, spec = made.get("metadata", {}), made["spec"]
    spec |= {"completions": nodes, "parallelism": nodes, "completionMode": "Indexed"}
    pod = spec["template"]
    pod["spec"]["subdomain"] = name  # gives the pods names by which they find one another
    _labelled(pod.setdefault("metadata", {}), run)
    container = trains(template, pod["spec"])
    container["args"] = ["job", run, f"{name}-0.{name}:{_PORT}"]
    if request.gpus_per_node:
        limits = container.setdefault("resources", {}).setdefault("limits", {})
        limits[GPU] = str(request.gpus_per_node)
    own = {"name": name, "labels": metadata.get("labels", {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _labelled(own, run),
        "spec": spec,
    }


def service_of(job: Manifest) -> Manifest:
    """Returns the headless Service of a Job that exists; it goes with the Job."""
    metadata = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"]}
    own = {"name": metadata["name"], "ownerReferences": [{**owner, "uid": metadata["uid"]}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _labelled({**own, "labels": {}}, metadata["annotations"][RUN]),
        "spec": {
            "clusterIP": "None",
            "selector": {"batch.kubernetes.io/job-name": metadata["name"]},
            "publishNotReadyAddresses": True,  # they meet before they are ready
            "ports": [{"name": "rendezvous", "port": _PORT}],
        },
    }


def trains(template: Manifest, pod: Manifest) -> Manifest:
    """Returns the container that trains. Raises Precondition if the template has none."""
    found = [one for one in pod["containers"] if one["name"] == CONTAINER]
    if not found or pod.get("restartPolicy") != "Never":
        raise Precondition(
            f"the CronJob {template['metadata']['name']} is no template for trainings: it needs a "
            f"container {CONTAINER!r} and restartPolicy Never, as in k8s/components/training-jobs",
            subject="TRAINER_JOB_TEMPLATE",
            reason="JOB_TEMPLATE_INVALID",
        )
    return found[0]


def gpus_of(template: Manifest) -> int:
    """The GPUs that a pod of the template has."""
    pod = template["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    limits = trains(template, pod).get("resources", {}).get("limits", {})
    return int(limits.get(GPU, 0))


def run_of(job: Manifest) -> str:
    """The name of a Job's run; "" for a Job that another made."""
    return str(job["metadata"].get("annotations", {}).get(RUN, ""))


def is_going(job: Manifest) -> bool:
    """Whether a Job is neither being deleted nor at its end."""
    return "deletionTimestamp" not in job["metadata"] and end_of(job) is None


def end_of(job: Manifest) -> Manifest | None:
    """The condition that a Job ended with, None before that."""
    for condition in job.get("status", {}).get("conditions", ()):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None


def _labelled(metadata: dict[str, Any], run: str) -> dict[str, Any]:
    key, _, value = MANAGED_BY.partition("=")
    metadata["labels"] = {**metadata.get("labels", {}), key: value}
    metadata["annotations"] = {**metadata.get("annotations", {}), RUN: run}
    return metadata
