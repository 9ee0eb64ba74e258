"""The page of a review in a real browser: its keys, what it shows, and what is on the disk then."""

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest
from PIL import Image

from gateway.cli.review.log import read_review
from tests.gateway.cli.outputs import write_output
from tests.gateway.cli.review.visiting import serving

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(
    not BROWSER, reason="no Chromium is installed (apt-get install chromium); test_server.py tests "
    "the HTTP of the page without one",
)  # fmt: skip


class Page:
    """A page of a browser, by the DevTools protocol."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method, **parameters):
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=30)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def value(self, code):
        answer = await self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, code):
        """Waits until something holds; it fails after half a minute."""
        end = time.monotonic() + 30
        while not await self.value(code):
            assert time.monotonic() < end, code
            await asyncio.sleep(0.05)

    async def press(self, key):
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@asynccontextmanager
async def browsing(url, folder):
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:
        try:
            port = folder / "DevToolsActivePort"
            while not port.exists() or not port.read_text().strip():
                assert process.poll() is None, "the browser ended"
                await asyncio.sleep(0.05)
            base = f"http://127.0.0.1:{port.read_text().split()[0]}"
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{base}/json") as answer:
                    [target] = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"]) as socket:
                    page = Page(socket)
                    await page.call("Page.navigate", url=url)
                    yield page
        finally:
            process.terminate()


SHOWN = "document.querySelectorAll('.tile').length"
CHOSEN = "document.querySelector('.tile[aria-selected=true]')"


async def test_keys_accept_reject_and_undo_and_what_is_shown_is_on_the_disk(tmp_path):
    originals = tmp_path / "photos"
    originals.mkdir()
    Image.new("RGB", (8, 8), "red").save(originals / "a.png")
    folder = write_output(tmp_path / "made", counts={"cat <b>": 40, "dog": 40})
    with serving(folder, originals) as server:
        async with browsing(server.url.geturl(), tmp_path / "profile") as page:
            await page.until(f"{SHOWN} === 60")
            assert await page.value("document.querySelector('#grid h2').innerText") == (
                "cat <b> 0 accepted, 0 rejected, 40 open"
            )
            await page.until("document.querySelectorAll('.parents img').length === 1")
            await page.until("[...document.images].some(i => i.complete && i.naturalWidth === 8)")
            first = await page.value(f"{CHOSEN}.id")
            await page.press("r")
            await page.until(f"document.getElementById('{first}').className === 'tile rejected'")
            await page.until(f"{CHOSEN}.id !== '{first}'")
            assert len(read_review(folder).rejected) == 1
            await page.press("a")
            await page.until("document.getElementById('counts').innerText.includes('1 accepted')")
            await page.press("u")
            await page.press("u")
            await page.until("document.getElementById('counts').innerText.includes('0 rejected')")
            await page.until("document.getElementById('counts').innerText.includes('80 open')")
            assert not read_review(folder).rejected
            await page.press("n")
            await page.until(f"{SHOWN} === 20")
            await page.press("ArrowLeft")  # Before the first image of a page is the page before.
            await page.until(f"{SHOWN} === 60")
            await page.value(
                "document.getElementById('class').value = '1';"
                "document.getElementById('class').dispatchEvent(new Event('change'))"
            )
            await page.until(f"{SHOWN} === 40")
            picture = await page.call("Page.captureScreenshot", format="png")
            assert base64.b64decode(picture["data"]).startswith(b"\x89PNG")
            await page.value("document.getElementById('finish').click()")
            await page.until("document.getElementById('error').innerText.startsWith('Finished')")


async def test_what_cannot_be_written_is_told_on_the_page(tmp_path, monkeypatch):
    folder = write_output(tmp_path / "made", counts={"cat": 2})
    with serving(folder) as server:
        async with browsing(server.url.geturl(), tmp_path / "profile") as page:
            await page.until(f"{SHOWN} === 2")
            (folder / "review.jsonl").mkdir()
            await page.press("r")
            await page.until(
                "document.getElementById('error').innerText.includes('could not be written')"
            )
            assert await page.value("document.querySelectorAll('.tile.rejected').length") == 0
