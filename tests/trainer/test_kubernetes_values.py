"""What the Kubernetes launcher makes of names, environments and statuses, on values."""

from copy import deepcopy
from pathlib import Path

import pytest
from kubernetes_validate import validate

from servicekit.errors import InvalidArgument, Precondition
from servicekit.settings import SettingsError
from servicekit.storage import MemoryStore
from tests.k8s.rendered import named, render
from tests.trainer.cluster import NEWEST, RENDERING
from tests.trainer.conftest import settings
from trainer.defaults import resolve
from trainer.launchers.kubernetes import outcomes
from trainer.launchers.kubernetes.api import Access
from trainer.launchers.kubernetes.manifests import GPU, gpus_of, job_of, name_of
from trainer.launchers.subprocesses import SubprocessLauncher
from trainer.record import RunRecord
from trainer.runs import RunRequest
from trainer.wiring import open_launcher


def test_outside_of_a_cluster_the_trainer_does_not_start(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    chosen = settings(tmp_path, launcher="kubernetes")
    with pytest.raises(SettingsError, match="KUBERNETES_SERVICE_HOST is not set: this is no pod"):
        open_launcher(chosen, MemoryStore())
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1"}
    with pytest.raises(SettingsError, match="set automountServiceAccountToken"):
        Access.of_pod(environ, tmp_path)
    for name in ("token", "ca.crt", "namespace"):
        (tmp_path / name).touch()
    assert Access.of_pod(environ, tmp_path).url == "https://[fd00::1]:443"


@pytest.mark.parametrize("run_id", ["a", "study_7-mvc", "r" * 128, "x-" + "_" * 60])
def test_every_run_has_a_name_that_pods_can_bear(run_id):
    name = name_of(f"trainingRuns/{run_id}")
    assert len(f"{name}-99") <= 63 and name.replace("-", "").isalnum() and name == name.lower()
    assert name == name_of(f"trainingRuns/{run_id}") != name_of(f"trainingRuns/{run_id}-")


def test_the_gpus_of_a_run_are_those_that_it_asks_for_or_the_templates():
    template = deepcopy(named(render(RENDERING), "CronJob", "training"))
    for wanted, limit in ((0, None), (4, "4")):
        request = RunRequest("store:m", node_count=2, gpus_per_node=wanted)
        job = job_of(template, "trainingRuns/gpus", request)
        limits = job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits.get(GPU) == limit and job["spec"]["completions"] == 2
        validate(job, NEWEST, strict=True)
        assert gpus_of(template) == 0, "the template stays as it is"


def test_a_batch_that_the_processes_cannot_share_is_refused_with_what_they_can():
    with pytest.raises(InvalidArgument, match="use a multiple of 6"):
        resolve(RunRequest("store:m", node_count=3, gpus_per_node=2))
    assert resolve(RunRequest("store:m", node_count=4, gpus_per_node=8)).batch_size == 64


def test_a_trainer_of_one_machine_refuses_more_and_says_who_has_them(tmp_path: Path):
    launcher = SubprocessLauncher(settings(tmp_path), MemoryStore())
    launcher.check(RunRequest("store:m", node_count=1), {})
    for request in (RunRequest("store:m", node_count=2), RunRequest("store:m", gpus_per_node=1)):
        with pytest.raises(Precondition, match="TRAINER_LAUNCHER=kubernetes"):
            launcher.check(request, {})


def test_why_pods_wait_is_told_in_the_clusters_words():
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: no GPU"}
    assert outcomes.waiting([{"status": {"conditions": [unschedulable]}}]) == "0/3 nodes: no GPU"
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}}
    pulling = {"status": {"containerStatuses": [{"name": "trainer", "state": state}]}}
    assert outcomes.waiting([pulling]) == "ImagePullBackOff: back-off"
    state["waiting"] = {"reason": "ContainerCreating"}
    assert outcomes.waiting([pulling]) == ""


@pytest.mark.parametrize(
    ("end", "state", "code", "words"),
    [
        (
            {"reason": "FailedIndexes"},
            {"reason": "OOMKilled"},
            "RESOURCE_EXHAUSTED",
            "lack of memory",
        ),
        ({"reason": "DeadlineExceeded"}, {}, "DEADLINE_EXCEEDED", "its 60 seconds"),
        ({"reason": "FailedIndexes"}, {"message": "a\nlast"}, "INTERNAL", "said: last."),
        ({"type": "Complete"}, {}, "INTERNAL", "the same SERVER_STORE"),
    ],
)
def test_an_end_without_a_word_in_the_store_is_explained_by_the_cluster(end, state, code, words):
    job = {"metadata": {"name": "training-x"}, "spec": {"activeDeadlineSeconds": 60}}
    pods = [
        {"status": {"containerStatuses": [{"name": "trainer", "state": {"terminated": state}}]}}
    ]
    record = RunRecord(MemoryStore(), "x")
    error = outcomes.failed(job, {"type": "Failed", **end}, pods, record)
    assert error.code.name == code and words in error.message
    record.fail(InvalidArgument("no such thing", field="training_run.policy"))
    assert outcomes.failed(job, {"type": "Failed", **end}, pods, record).message == "no such thing"
