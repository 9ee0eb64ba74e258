"""What podman is given of the manifests. Nothing is started here; `make test-images` does that."""

from copy import deepcopy

from tests.k8s.rendered import named, pod, render
from tests.pods.manifests import PREFIX, claims, pods

DEV = render("dev")
PORTS = dict.fromkeys(("captioner", "gateway", "generator", "prompter", "retriever", "trainer"), 1)


def without_translation(spec):
    """Returns a pod's spec less what is translated."""
    spec = deepcopy(spec)
    for one in spec["containers"]:
        del one["ports"]
    spec["volumes"] = [one for one in spec["volumes"] if "persistentVolumeClaim" not in one]
    return spec


def test_a_deployment_is_given_as_it_is_but_for_ports_and_the_names_of_claims():
    for name in PORTS.keys() - {"gateway"}:
        [*_, given] = pods(DEV, PORTS)[name]
        original = named(DEV, "Deployment", name)
        assert without_translation(pod(given)) == without_translation(pod(original))
        assert given["metadata"] == original["metadata"]


def test_a_stateful_set_is_its_first_pod_with_the_claims_of_its_templates():
    [*_, given] = pods(DEV, PORTS)["gateway"]
    original = pod(named(DEV, "StatefulSet", "gateway"))
    assert (given["kind"], given["metadata"]["name"]) == ("Pod", "gateway-0")
    assert without_translation(given["spec"]) == without_translation(original)
    claimed = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in given["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claimed == {f"{PREFIX}store", f"{PREFIX}state-gateway-0"}
    assert claimed == {one["metadata"]["name"] for one in claims(DEV)}


def test_the_port_for_grpc_alone_is_published_and_on_this_machine_alone():
    for objects in pods(DEV, PORTS).values():
        spec = objects[-1]["spec"]
        [one] = spec.get("template", {"spec": spec})["spec"]["containers"]
        [port] = one["ports"]
        assert (port["name"], port["hostIP"], port["hostPort"]) == ("grpc", "127.0.0.1", 1)


def test_the_settings_that_a_pod_names_are_given_with_it():
    for objects in pods(DEV, PORTS).values():
        *settings, workload = objects
        spec = workload["spec"]
        [one] = spec.get("template", {"spec": spec})["spec"]["containers"]
        wanted = {source["configMapRef"]["name"] for source in one["envFrom"]}
        assert {found["metadata"]["name"] for found in settings} == wanted
