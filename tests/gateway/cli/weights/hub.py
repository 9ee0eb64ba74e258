"""A small hub: what the real huggingface_hub asks of one, over HTTP, with ranges and faults."""

import asyncio
import hashlib
import threading
from dataclasses import dataclass, field

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def safetensors(count, seed=0):
    """A real, small safetensors file of so many bytes of data."""
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (count, count)
    data = bytes((seed + i * 7 + i // 251) % 256 for i in range(min(count, 4096)))
    return len(header).to_bytes(8, "little") + header + (data * (count // 4096 + 1))[:count]


@dataclass
class Hub:
    """Models by OWNER/NAME: files by name. Large ones (`lfs`) have a SHA-256, others a git blob id.

    `breaks` holds, by file name, how many bytes are sent before the connection is cut, once each.
    """

    models: dict = field(default_factory=dict)
    token: str = ""
    gated: set = field(default_factory=set)
    breaks: dict = field(default_factory=dict)
    failures: list = field(default_factory=list)
    wrong: dict = field(default_factory=dict)
    slow: float = 0.0
    reads: list = field(default_factory=list)
    url: str = ""

    async def info(self, request):
        name, revision = request.match_info["name"], request.match_info["revision"]
        if refused := self._refusal(request, name):
            return refused
        if revision not in ("main", COMMIT):
            return web.json_response(
                {"error": "no"}, status=404, headers={"X-Error-Code": "RevisionNotFound"}
            )
        siblings = [_sibling(key, data) for key, data in self.models[name].items()]
        return web.json_response({"id": name, "sha": COMMIT, "siblings": siblings})

    def _refusal(self, request, name):
        if self.failures:
            return web.json_response({"error": "no"}, status=self.failures.pop(0))
        headers = {"X-Error-Code": "RepoNotFound"}
        if name not in self.models:
            return web.json_response({"error": "no"}, status=401, headers=headers)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"error": "no"}, status=401, headers=headers)
        if name in self.gated:
            headers = {"X-Error-Code": "GatedRepo"}
            return web.json_response({"error": "no"}, status=403, headers=headers)
        return None

    async def resolve(self, request):
        name, path = request.match_info["name"], request.match_info["path"]
        assert request.match_info["revision"] == COMMIT, "files are asked for by commit"
        if refused := self._refusal(request, name):
            return refused
        data = self.wrong.get(path, self.models[name].get(path))
        if data is None:
            headers = {"X-Error-Code": "EntryNotFound"}
            return web.json_response({"error": "no"}, status=404, headers=headers)
        start = request.http_range.start or 0
        self.reads.append((path, start))
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(data) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await response.prepare(request)
        end = self.breaks.pop(path, len(data))
        for at in range(start, max(start, end), 65536):
            await response.write(data[at : min(at + 65536, end)])
            await asyncio.sleep(self.slow)
        if end < len(data):
            request.transport.close()
        return response


def _sibling(name, data):
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    one = {"rfilename": name, "size": len(data), "blobId": blob}
    if name.endswith((".safetensors", ".bin")):
        digest = hashlib.sha256(data).hexdigest()
        one["lfs"] = {"size": len(data), "sha256": digest, "pointerSize": 134}
    return one


def serve(hub):
    """Serves a hub in a thread of its own. Returns what ends it."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stopped = asyncio.Event()

    async def run():
        app = web.Application()
        app.router.add_get("/api/models/{name:[^/]+/[^/]+}/revision/{revision}", hub.info)
        app.router.add_get("/{name:[^/]+/[^/]+}/resolve/{revision}/{path:.+}", hub.resolve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hub.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(10)

    def stop():
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()

    return stop
