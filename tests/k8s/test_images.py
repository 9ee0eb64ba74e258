"""The Dockerfiles agree with the code, the manifests and one another. Nothing is built here."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from generator.settings import GeneratorSettings
from generator.triton import container
from generator.triton.container import ARGUMENTS
from generator.triton.launcher import LocalTriton
from images import dockerfiles, requirements
from servicekit.places import SERVICES, port_of
from tests.k8s.rendered import RENDERINGS, ROOT, containers, pod, render, workloads

TRITON = ROOT / "generator" / "triton" / "Dockerfile"
FILES = {**{name: ROOT / name / "Dockerfile" for name in SERVICES}, "triton": TRITON}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# These make nothing with torch, and are small without it.
LIGHT = ("gateway", "prompter")
# What an image needs besides its service, or later: a Job fetches models with the gateway's.
LATER = {
    "gateway": ("gateway.cli.main", "gateway.cli.weights.fetching"),
    "retriever": ("pymilvus",),
}


def instructions(name):
    """Returns (INSTRUCTION, rest) of every line, with continued lines as one."""
    text = re.sub(r"^\s*#.*\n", "", FILES[name].read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", "").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def last_stage(name):
    found = instructions(name)
    start = max(i for i, (instruction, _) in enumerate(found) if instruction == "FROM")
    return found[start:]


def stages(name):
    """Returns the instructions of each stage by its name, FROM included."""
    found = {}
    for instruction, rest in instructions(name):
        if instruction == "FROM":
            found[rest.partition(" AS ")[2]] = current = []
        if found:
            current.append((instruction, rest))
    return found


def the(name, instruction):
    [rest] = [rest for found, rest in last_stage(name) if found == instruction]
    return rest


def variables(name):
    return dict(part.split("=", 1) for part in the(name, "ENV").split())


def copied(name):
    """Yields what is copied out of the checkout."""
    for instruction, rest in instructions(name):
        if instruction == "COPY" and not rest.startswith("--from"):
            yield from rest.split()[:-1]


@pytest.mark.parametrize("service", SERVICES)
def test_the_dockerfile_is_what_the_template_makes(service):
    message = "run `make dockerfiles`; changes belong into images/Dockerfile.in"
    assert FILES[service].read_text() == dockerfiles.dockerfile(service), message


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_runs_its_service_without_a_shell(service):
    assert json.loads(the(service, "ENTRYPOINT")) == ["/opt/venv/bin/python", "-m", service]
    assert (ROOT / service / "__main__.py").exists()
    assert the(service, "EXPOSE") == str(port_of(service))


@pytest.mark.parametrize("name", FILES)
def test_an_image_names_its_user_signal_and_labels(name):
    assert the(name, "USER") == "65532:65532"
    assert the(name, "STOPSIGNAL") == "SIGTERM"
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", the(name, "LABEL")))
    assert labels == {"title", "description", "version", "revision", "licenses"}
    assert ("ARG", f"VERSION={PROJECT['version']}") in last_stage(name)
    assert PROJECT["license"] in the(name, "LABEL")


@pytest.mark.parametrize("name", FILES)
def test_every_stage_starts_from_the_pinned_base_or_from_another_stage(name):
    found = instructions(name)
    assert found[:2] == [
        ("ARG", "BASE_IMAGE=docker.io/library/python"),
        ("ARG", "BASE_TAG=3.11-slim-bookworm"),
    ]
    known = {"${BASE_IMAGE}:${BASE_TAG}", "scratch"}
    for rest in (rest for instruction, rest in found if instruction == "FROM"):
        base, _, stage = rest.partition(" AS ")
        assert base in known
        known.add(stage)
    assert instructions(name)[-1][0] == "ENTRYPOINT"
    assert "RUN" not in {instruction for instruction, _ in last_stage(name)}


@pytest.mark.parametrize("name", FILES)
def test_every_stage_that_installs_packages_is_told_where_they_are(name):
    """A stage has no arguments but its own: what an earlier one declared is unknown to it."""
    wanted = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT"}
    installing = [
        one
        for one in stages(name).values()
        if any("pip install" in r or "pip --python" in r for _, r in one)
    ]
    assert len(installing) >= 2
    for stage in installing:
        assert wanted <= {rest for instruction, rest in stage if instruction == "ARG"}


@pytest.mark.parametrize("name", FILES)
def test_compiled_files_hold_no_time(name):
    """They would be stale once the build gives all files one date. PIP_NO_COMPILE=1 means yes."""
    runs = [rest for instruction, rest in instructions(name) if instruction == "RUN"]
    installing = [rest for rest in runs if "--python /opt/venv" in rest]
    assert all("--no-compile" in rest for rest in installing)
    compiling = [rest for rest in runs if "compileall" in rest]
    assert compiling[:-1] == installing, "each compiles what it installs, and the last our code"
    assert all("-f --invalidation-mode unchecked-hash" in rest for rest in compiling)


def test_tritons_python_finds_our_code_by_its_environment_for_it_heeds_no_pythonpath():
    runs = [rest for instruction, rest in instructions("triton") if instruction == "RUN"]
    named = "echo /opt/variegate > /opt/venv/lib/python3.11/site-packages/variegate.pth"
    assert any(named in rest for rest in runs)
    [code] = [rest for _, rest in last_stage("triton") if rest.startswith("--from=code /opt/v")]
    assert code.split()[-1] == "/opt/variegate"


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_exists_and_is_not_ignored(name):
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {Path(rule[1:]) for rule in rules if rule.startswith("!")}
    for source in copied(name):
        assert (ROOT / source).exists(), source
        assert {Path(source), *Path(source).parents} & kept, f".dockerignore leaves out {source}"


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_one_service_and_what_it_shares(service):
    folders = {source for source in copied(service) if (ROOT / source / "__init__.py").exists()}
    rooms = dockerfiles.ROOMS.get(service, ())
    assert folders == {service, "servicekit", "imaging", "datafiles", *rooms}


@pytest.mark.parametrize("service", SERVICES)
def test_the_small_models_of_an_image_are_those_that_its_settings_name(service):
    models = {source for source in copied(service) if (ROOT / source).is_dir()}
    models = {source for source in models if source.startswith("models/")}
    named = set(re.findall(r'_NANO = .*"models" / "nano" / "(\w+)"', source_of(service)))
    assert models == {f"models/nano/{name}" for name in named}


def source_of(service):
    return (ROOT / service / "settings.py").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_torch_only_where_models_run_in_it(service):
    lines = requirements.requirements(PROJECT, service)
    assert set(PROJECT["dependencies"]) <= set(lines)
    assert not [line for line in lines if line.startswith(PROJECT["name"])]
    assert any(line.startswith("torch==") for line in lines) == (service not in LIGHT)


@pytest.mark.parametrize("service", SERVICES)
def test_images_share_the_large_layers(service):
    """What all need and torch are made by the same instructions, and lie below all else."""
    has_torch = service not in LIGHT
    assert stages(service)["common"] == stages("trainer")["common"]
    assert stages(service).get("torch") == (stages("trainer")["torch"] if has_torch else None)
    layers = [rest for instruction, rest in last_stage(service) if instruction == "COPY"]
    shared = ["common /opt/venv /opt/venv", *["torch /opt/torch /opt/torch"] * has_torch]
    own = "dependencies /opt/own /opt/own"
    assert [rest.removeprefix("--from=") for rest in layers][: len(shared) + 1] == [*shared, own]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_nothing_but_what_its_image_holds(service):
    command = [sys.executable, "-W", "ignore", "-m", "tests.k8s.alone", service]
    command += LATER.get(service, ())
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 20, "packages within reach"


@pytest.mark.parametrize("name", FILES)
def test_an_image_writes_only_where_the_manifests_have_volumes(name):
    home = variables(name)["HOME"]
    assert the(name, "WORKDIR") == home
    assert home == "/var/lib/variegate"
    assert any("install -d -m 1777 /opt/state/variegate" in rest for _, rest in instructions(name))
    own = f"--from=code --chown={the(name, 'USER')} /opt/state /var/lib"
    assert ("COPY", own) in last_stage(name)
    for rendering in RENDERINGS:
        for workload in workloads(render(rendering)).values():
            for one in containers(workload):
                if one["image"].startswith(f"variegate/{name}:"):
                    places = {mount["mountPath"] for mount in one["volumeMounts"]}
                    assert {home, "/tmp"} <= places


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_every_image_of_ours_in_the_manifests_is_built_and_runs_as_the_same_user(rendering):
    for workload in workloads(render(rendering)).values():
        for one in containers(workload):
            own, tag = one["image"].rsplit(":", 1)
            if own.startswith("variegate/"):
                assert own.removeprefix("variegate/") in FILES
                assert tag == PROJECT["version"]
                python, *_ = json.loads(the(own[10:], "ENTRYPOINT"))
                own_command = [python, "-m", "gateway.cli.main"]
                assert one.get("command", own_command) == own_command
                assert ("args" in one) == ("command" in one), "the image's entry point is used"
                user = pod(workload)["securityContext"]
                assert the(own[10:], "USER") == f"{user['runAsUser']}:{user['runAsGroup']}"


def test_a_service_that_is_still_being_imported_ends_on_sigterm_as_process_one(tmp_path):
    namespace = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"]).returncode:
        pytest.skip("no process namespaces here")
    program = "import os, time; assert os.getpid() == 1; print('importing', flush=True); "
    command = [*namespace, shutil.which("python"), "-c", f"{program} time.sleep(60)"]
    environ = {"PYTHONPATH": str(ROOT / "images"), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as outer:
        assert outer.stdout.readline() == b"importing\n"
        [inner] = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        os.kill(int(inner), signal.SIGTERM)
        assert outer.wait(timeout=10) == 128 + signal.SIGTERM


def test_the_build_builds_every_image():
    [line] = re.findall(r"^all=\((.*)\)$", (ROOT / "images/build.sh").read_text(), re.MULTILINE)
    assert set(line.split()) == set(FILES)


def test_triton_is_started_as_our_own_launcher_starts_it(tmp_path, monkeypatch):
    server = tmp_path / "lib/python3.11/site-packages/pytriton/tritonserver"
    server.mkdir(parents=True)
    local = LocalTriton(tmp_path / "state", GeneratorSettings(), "memory:")
    given = {argument.split("=")[0] for argument in local._command(tmp_path)[1:]}
    ours = {argument.split("=")[0] for argument in ARGUMENTS}
    # A pod has addresses, GPUs and shared memory of its own.
    local_alone = {"--allow-gpu-metrics"} | {
        f"--{kind}-{what}" for kind in ("grpc", "http", "metrics") for what in ("address", "port")
    }
    assert given - local_alone == ours
    assert json.loads(the("triton", "ENTRYPOINT")) == ["python", "-m", container.__name__]
    assert the("triton", "EXPOSE").split() == ["8000", "8001", "8002"]


def test_tritons_image_is_made_of_what_make_triton_installs():
    text = TRITON.read_text()
    assert "COPY generator/triton/requirements.txt" in text
    assert "--no-deps" in text
