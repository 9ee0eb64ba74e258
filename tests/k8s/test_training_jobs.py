"""What trainings are made of, where they are Jobs, against the trainer and its code."""

import pytest

from servicekit.settings import load
from tests.k8s.rendered import (
    K8S,
    RENDERINGS,
    container,
    environment,
    named,
    of_kind,
    pod,
    quantity,
    render,
    services,
    volume_at,
    workloads,
)
from trainer.job import FOR_GOOD
from trainer.launchers.kubernetes.manifests import CONTAINER, trains
from trainer.settings import TrainerSettings

JOBS = [name for name in RENDERINGS if "training-jobs" in name.split("+")]

LABELS = {"app.kubernetes.io/name": "training"}


def template(name):
    return named(render(name), "CronJob", "training")


def test_there_are_combinations_with_it_and_without():
    assert JOBS and set(RENDERINGS) - set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_a_training_has_the_image_settings_and_store_of_the_trainer(name):
    theirs = container(services(render(name))["trainer"], "trainer")
    ours = trains(template(name), pod(template(name)))
    assert ours["image"] == theirs["image"] and ours["envFrom"] == theirs["envFrom"]
    store = environment(render(name), ours)["SERVER_STORE"]
    if store.startswith("file://"):
        folder = store.removeprefix("file://")
        volume, is_writable = volume_at(template(name), ours, folder)
        assert is_writable and volume_at(services(render(name))["trainer"], theirs, folder)
        claims = [
            [one for one in pod(workload)["volumes"] if one["name"] == volume]
            for workload in (template(name), services(render(name))["trainer"])
        ]
        assert claims[0] == claims[1] != []
    else:
        assert {"secretRef": {"name": "store"}} in ours["envFrom"]


@pytest.mark.parametrize("name", JOBS)
def test_the_trainer_launches_from_the_template_that_is_there(name):
    one = container(services(render(name))["trainer"], "trainer")
    settings = load(TrainerSettings, environment(render(name), one), "trainer")
    assert settings.launcher == "kubernetes"
    assert settings.job_template == template(name)["metadata"]["name"]
    assert template(name)["spec"]["suspend"] is True, "the template itself never runs"


@pytest.mark.parametrize("name", JOBS)
def test_a_trainings_cache_fits_its_volume(name):
    one = trains(template(name), pod(template(name)))
    settings = load(TrainerSettings, environment(render(name), one), "trainer")
    volume, is_writable = volume_at(template(name), one, str(settings.scratch))
    [size] = [
        part["emptyDir"]["sizeLimit"]
        for part in pod(template(name))["volumes"]
        if part["name"] == volume
    ]
    assert is_writable and settings.cache_bytes < quantity(size)


@pytest.mark.parametrize("name", JOBS)
def test_a_training_may_call_what_the_trainer_calls_but_the_api_server(name):
    rules = {
        one["metadata"]["name"]: one["spec"]["egress"]
        for one in of_kind(render(name), "NetworkPolicy")
        if "egress" in one["spec"]
    }
    lookup, each_other, *rest = rules["training"]
    assert [lookup] == rules["dns"]
    assert each_other == {"to": [{"podSelector": {"matchLabels": LABELS}}]}
    tracing = [rule for rule in rules["trainer"] if "jaeger" in str(rule)]
    server = {"ports": [{"port": 443}, {"port": 6443}]}
    assert [server, *rest, *tracing] == rules["trainer"]


@pytest.mark.parametrize("name", JOBS)
def test_an_error_that_lasts_ends_the_job_and_a_lost_pod_does_not_count(name):
    job = template(name)["spec"]["jobTemplate"]["spec"]
    fail, ignore = job["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"] == {
        "containerName": CONTAINER, "operator": "In", "values": [FOR_GOOD],
    }  # fmt: skip
    assert ignore["action"] == "Ignore"
    assert ignore["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert job["podReplacementPolicy"] == "Failed", "two pods of one rank would write at once"
    assert job["ttlSecondsAfterFinished"] > 0 and job["backoffLimitPerIndex"] > 0


@pytest.mark.parametrize("name", RENDERINGS)
def test_only_the_trainer_has_a_token_and_only_with_rights_in_its_own_namespace(name):
    manifests = render(name)
    assert not list(of_kind(manifests, "ClusterRole", "ClusterRoleBinding"))
    tokens = {
        key
        for key, workload in workloads(manifests).items()
        if pod(workload)["automountServiceAccountToken"]
    }
    assert tokens == ({"trainer"} if name in JOBS else set())
    bound = [
        (subject["kind"], subject["name"])
        for binding in of_kind(manifests, "RoleBinding")
        for subject in binding["subjects"]
    ]
    assert bound == ([("ServiceAccount", "trainer")] if name in JOBS else [])
    for role in of_kind(manifests, "Role"):
        for rule in role["rules"]:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


def test_the_guide_says_which_exit_status_ends_a_job():
    guide = (K8S / "components/training-jobs/README.md").read_text()
    assert f"(exit status {FOR_GOOD})" in guide
