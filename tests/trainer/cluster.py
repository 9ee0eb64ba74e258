"""A Kubernetes API server with as much of a cluster behind it as trainings need.

It takes what the official schemas allow and the Role of k8s/components/training-jobs permits,
and nothing else. Pods are real: processes of this machine, run by the command of the image with the
environment of the manifests. Jobs are controlled as documented: indexes, tries, failure policy,
time to live, and deletion with what they own.
"""

import asyncio
import json
import socket
import ssl
import subprocess
import uuid
from collections import Counter
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
from aiohttp import web

from tests.k8s.rendered import container, environment, named, render
from tests.trainer.pods import Pod

RENDERING = "training-jobs+nano+shared-store+tracing+keda+monitoring+tls"
NEWEST = kubernetes_validate.utils.all_versions()[-1]
Manifest = dict[str, Any]

_VERBS = {"POST": "create", "DELETE": "delete"}
_BACKOFF_SECONDS = 0.1  # 10, in a real cluster


class JobFailed(Exception):
    """The reason and message of the condition that a Job fails with."""


class Cluster:
    """Serves on 127.0.0.1, by TLS, to whoever has the token in the account's folder."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        manifests = deepcopy(render(RENDERING))  # Tests change it, and others look at the same.
        self.template = named(manifests, "CronJob", "training")
        self.rules = named(manifests, "Role", "trainer")["rules"]
        self.namespace = self.template["metadata"]["namespace"]
        held = environment(manifests, container(self.template, "trainer"))
        self.pod_environ = held | environ
        self.folder, self.account = folder, folder / "account"
        self.jobs: dict[str, Manifest] = {}
        self.services: dict[str, Manifest] = {}
        self.pods: dict[str, Pod] = {}
        self.asked: Counter[str] = Counter()
        self.is_down = False
        self._controllers: dict[str, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.account.mkdir(parents=True)
        self.change_token()
        (self.account / "namespace").write_text(self.namespace)
        key, certificate = self.folder / "key.pem", self.account / "ca.crt"
        _make_certificate(key, certificate)
        app = web.Application(middlewares=[self._guard])
        root = "/{root:api/v1|apis/batch/v1}/namespaces/{namespace}/{kind}"
        app.router.add_route("*", root, self._collection)
        app.router.add_route("*", root + "/{name}", self._object)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.environ = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(port),
        }

    def change_token(self) -> None:
        """As the kubelet does, within the hour."""
        (self.account / "token").write_text(uuid.uuid4().hex)

    async def stop(self) -> None:
        for name in list(self.jobs):
            await self._gone(name)
        for task in self._background:
            task.cancel()
        await self._runner.cleanup()

    def pods_of(self, job: str) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.job == job]

    # What the API server answers.

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.is_down:
            return _status(503, "the server is currently unable to handle the request")
        token = (self.account / "token").read_text()
        if request.headers.get("Authorization") != f"Bearer {token}":
            return _status(401, "Unauthorized")
        known = request.match_info
        group = "batch" if known["root"].startswith("apis") else ""
        verb = _VERBS.get(request.method, "get" if "name" in known else "list")
        self.asked[f"{verb} {known['kind']}"] += 1
        if known["namespace"] != self.namespace or not self._may(verb, group, known):
            resource = f"{known['kind']}.{group}".strip(".")
            return _status(
                403,
                f'{resource} is forbidden: User "system:serviceaccount:{self.namespace}:trainer" '
                f'cannot {verb} resource "{known["kind"]}" in API group "{group}" in the namespace '
                f'"{known["namespace"]}"',
            )
        answer: web.StreamResponse = await handler(request)
        return answer

    def _may(self, verb: str, group: str, known: Any) -> bool:
        return any(
            verb in rule["verbs"]
            and group in rule["apiGroups"]
            and known["kind"] in rule["resources"]
            and known.get("name", "") in rule.get("resourceNames", [known.get("name", "")])
            for rule in self.rules
        )

    def _kind(self, kind: str) -> dict[str, Manifest]:
        if kind == "cronjobs":
            return {self.template["metadata"]["name"]: self.template}
        if kind == "pods":
            return {name: pod.shown() for name, pod in self.pods.items()}
        return {"jobs": self.jobs, "services": self.services}[kind]

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if request.method == "POST":
            return self._create(kind, await request.json())
        wanted = dict(
            part.split("=", 1) for part in request.query.get("labelSelector", "").split(",") if part
        )
        items = [
            one
            for one in self._kind(kind).values()
            if wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        return web.json_response({"kind": "List", "apiVersion": "v1", "items": items})

    async def _object(self, request: web.Request) -> web.StreamResponse:
        kind, name = request.match_info["kind"], request.match_info["name"]
        found = self._kind(kind).get(name)
        if found is None:
            return _status(404, f'{kind} "{name}" not found')
        if request.method == "DELETE":
            assert (await request.json())["propagationPolicy"] == "Foreground"
            found["metadata"]["deletionTimestamp"] = _now()
            self._in_background(self._gone(name))
        return web.json_response(found)

    def _create(self, kind: str, body: Manifest) -> web.StreamResponse:
        objects, name = self._kind(kind), body["metadata"]["name"]
        try:
            kubernetes_validate.validate(body, NEWEST, strict=True)
            if body["kind"] == "Job":
                _check_job(body)
        except (kubernetes_validate.ValidationError, AssertionError) as error:
            return _status(422, f'{body["kind"]} "{name}" is invalid: {error}')
        if name in objects:
            return _status(409, f'{kind} "{name}" already exists')
        # A copy: what the server holds is never what the caller holds.
        made: Manifest = json.loads(json.dumps(body))
        made["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        made["metadata"]["namespace"] = self.namespace
        objects[name] = made
        if kind == "jobs":
            made["status"] = {}
            self._controllers[name] = asyncio.create_task(self._control(made))
        return web.json_response(made, status=201)

    # What the controllers do.

    async def _control(self, job: Manifest) -> None:
        spec, status, name = job["spec"], job["status"], job["metadata"]["name"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        status["startTime"] = _now()
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(spec["completions"]):
                    group.create_task(self._keep(job, index, port))
            end = {"type": "Complete", "reason": "CompletionsReached", "message": "all succeeded"}
        except* JobFailed as errors:
            reason, message = errors.exceptions[0].args
            end = {"type": "Failed", "reason": reason, "message": message}
        for pod in self.pods_of(name):
            await pod.end()
        status.setdefault("conditions", []).append({**end, "status": "True"})
        if (ttl := spec.get("ttlSecondsAfterFinished")) is not None:
            self._in_background(self._expire(name, ttl))

    async def _keep(self, job: Manifest, index: int, port: int) -> None:
        """Has a pod of this index run until one succeeds."""
        spec, failures = job["spec"], 0
        codes, limit = _codes_that_fail(spec), spec["backoffLimitPerIndex"]
        while True:
            pod = await Pod.started(job, index, self.folder, self.pod_environ, port)
            self.pods[pod.name] = pod
            code = await pod.ended()
            if code == 0:
                job["status"]["succeeded"] = job["status"].get("succeeded", 0) + 1
                return
            if code in codes:
                raise JobFailed("PodFailurePolicy", f"{pod.name} failed with exit code {code}")
            job["status"]["failed"] = job["status"].get("failed", 0) + 1
            failures += not pod.is_disrupted
            if failures > limit:
                raise JobFailed("FailedIndexes", "Job has failed indexes")
            await asyncio.sleep(_BACKOFF_SECONDS)

    async def _expire(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._gone(name)

    async def _gone(self, name: str) -> None:
        """Removes a Job after its pods and all else that it owns."""
        controller = self._controllers.pop(name, None)
        if controller is None:
            return
        controller.cancel()
        await asyncio.wait({controller})
        for pod in self.pods_of(name):
            await pod.end()
            del self.pods[pod.name]
        owner = self.jobs[name]["metadata"]["uid"]
        for service in list(self.services.values()):
            if owner in [one["uid"] for one in service["metadata"].get("ownerReferences", ())]:
                del self.services[service["metadata"]["name"]]
        del self.jobs[name]

    def _in_background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _make_certificate(key: Path, certificate: Path) -> None:
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = "-subj /CN=kubernetes -addext subjectAltName=IP:127.0.0.1"
    command = f"openssl req {kind} {names} -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)


def _check_job(job: Manifest) -> None:
    """What the API server checks of a Job besides its schema."""
    spec, name = job["spec"], job["metadata"]["name"]
    pod = spec["template"]["spec"]
    assert len(f"{name}-{spec['completions'] - 1}") <= 63, "pods' names are too long"
    assert name == name.lower() and name.replace("-", "").isalnum(), "not a DNS label"
    assert spec["completionMode"] == "Indexed", "backoffLimitPerIndex needs an Indexed Job"
    assert pod["restartPolicy"] == "Never", "podFailurePolicy needs restartPolicy Never"
    assert len(pod["subdomain"]) <= 63, "subdomain is too long"
    for values in (job["metadata"]["labels"], spec["template"]["metadata"]["labels"]):
        assert all(len(value) <= 63 for value in values.values()), "a label is too long"


def _codes_that_fail(spec: Manifest) -> set[int]:
    rules = spec["podFailurePolicy"]["rules"]
    return {
        code
        for rule in rules
        if rule["action"] == "FailJob"
        for code in rule["onExitCodes"]["values"]
    }


def _status(code: int, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return web.json_response({**body, "message": message}, status=code)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
