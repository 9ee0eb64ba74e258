"""A review that is served, a browser without a page, and the decisions that it leaves."""

import http.client
import json
import re
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

from gateway.cli.review.desk import Desk
from gateway.cli.review.log import read_review
from gateway.cli.review.server import ReviewServer


@contextmanager
def serving(folder, originals=None):
    desk = Desk(folder, folder / "manifest.parquet", originals)
    server = ReviewServer(desk)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Client(server.url)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Client:
    """A browser without a page."""

    def __init__(self, url):
        self.url = urlsplit(url)

    def ask(self, place, body=None, path=None, **headers):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=10)
        data = None if body is None else json.dumps(body)
        given = {"Content-Type": "application/json"} if data else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        method = "GET" if body is None else "POST"
        connection.request(method, path or f"{self.url.path}{place}", data, given)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer, found

    def json(self, place, body=None):
        answer, found = self.ask(place, body)
        return answer.status, json.loads(found)

    def decide(self, number, decision):
        return self.json("api/decide", {"number": number, "decision": decision})


def decisions(folder):
    return {entry.item_id: entry.decision.value for entry in read_review(folder).newest.values()}


def address_in(lines):
    for line in lines:
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise AssertionError("no address was told")
