"""The page's server: loopback only, and nothing without the token in the address.

Other pages of the same browser could send requests here. They do not know the token; a name that
was made to point here (DNS rebinding) is refused by its Host; and what changes anything has to be
JSON, which no other page may send without asking first.
"""

import json
import secrets
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gateway.cli.review.catalogue import MOST_IMAGES, Query
from gateway.cli.review.desk import Desk
from gateway.cli.review.log import Decision
from gateway.cli.review.pictures import LARGE, THUMB, NoPicture
from servicekit.escaping import json_text

HOST = "127.0.0.1"
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PAGE = {"": "index.html", "review.css": "review.css", "review.js": "review.js"}
_MOST_BODY = 4096
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'"
)


class Refused(Exception):
    """A request that is answered with an error: a status and a sentence."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class ReviewServer(ThreadingHTTPServer):
    """Serves a desk until `shutdown`. `url` is the only address that answers."""

    daemon_threads = True
    # A port that another program uses is an error, and no address to share.
    allow_reuse_port = False

    def __init__(self, desk: Desk, port: int = 0) -> None:
        """Raises OSError if the port cannot be had."""
        super().__init__((HOST, port), _Handler)
        self.desk, self.token = desk, secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a browser went away."""

    def end_soon(self) -> None:
        """Ends the server once the answer that is under way has been sent."""
        threading.Thread(target=self.shutdown, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReviewServer
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is for people."""

    def version_string(self) -> str:
        return "variegate"

    def _answer(self, work: Any) -> None:
        try:
            work(self._place())
        except Refused as error:
            self._send_json({"error": str(error)}, error.status)
        except NoPicture as error:
            self._send_json({"error": str(error)}, HTTPStatus.NOT_FOUND)
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise  # Nobody is there to be told.
            said = f"The decision could not be written: {error.strerror or error}."
            self._send_json({"error": said}, HTTPStatus.INSUFFICIENT_STORAGE)
        except Exception as error:  # The page goes on, and tells what happened.
            said = f"This should not happen. {type(error).__name__}: {error}."
            self._send_json({"error": said}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _place(self) -> str:
        """Returns what is asked for, below the token."""
        if self.headers.get("Host", "") not in self.server.hosts:
            self.close_connection = True
            raise Refused(HTTPStatus.FORBIDDEN, "This page answers to its own address only.")
        token, _, place = urlsplit(self.path).path.lstrip("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self.close_connection = True
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
        return place

    def _get(self, place: str) -> None:
        desk = self.server.desk
        if place in _PAGE:
            return self._send_page(_PAGE[place])
        if place == "api/summary":
            return self._send_json(desk.summary())
        if place == "api/images":
            return self._send_json(desk.images(_query_of(self._query(), desk)))
        kind, *numbers = place.split("/")
        values = [int(one) for one in numbers if one.isascii() and one.isdecimal()]
        if len(values) != len(numbers) or not values:
            raise _nothing()
        try:
            return self._get_one(kind, values)
        except KeyError:
            raise _nothing() from None

    def _get_one(self, kind: str, values: list[int]) -> None:
        desk, number = self.server.desk, values[0]
        if len(values) == 1 and kind == "details":
            return self._send_json(desk.details(number))
        image = desk.catalogue.image(number)
        sides = {"thumb": THUMB, "image": LARGE}
        if len(values) == 1 and kind in sides:
            return self._send_picture(desk.pictures.of(image, sides[kind]))
        if len(values) == 2 and kind == "parent":
            return self._send_picture(desk.pictures.of_parent(image, values[1], THUMB))
        raise _nothing()

    def _post(self, place: str) -> None:
        desk, body = self.server.desk, self._body()
        if place == "api/decide":
            number, decision = body.get("number"), body.get("decision")
            if type(number) is not int or decision not in [one.value for one in Decision]:
                raise Refused(HTTPStatus.BAD_REQUEST, "A decision has a number and a decision.")
            try:
                return self._send_json(desk.decide(number, Decision(decision)))
            except KeyError:
                raise _nothing() from None
        if place == "api/undo":
            return self._send_json(desk.undo() or {})
        if place == "api/finish":
            self._send_json(desk.counts())
            return self.server.end_soon()
        raise _nothing()

    def _body(self) -> Mapping[str, Any]:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > _MOST_BODY:
            self.close_connection = True
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request has no length, or is long."
            )
        data = self.rfile.read(int(size))
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Requests are JSON.")
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "Requests are JSON objects.")
        return body

    def _query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def _send_page(self, name: str) -> None:
        data = files("gateway.cli.review").joinpath("page", name).read_bytes()
        kind = _KINDS[name.rpartition(".")[2]]
        self._send(data, f"{kind}; charset=utf-8", HTTPStatus.OK, "no-store")

    def _send_json(self, document: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(
            json_text(document, indent=None).encode(), "application/json", status, "no-store"
        )

    def _send_picture(self, data: bytes) -> None:
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
        self._send(data, kind, HTTPStatus.OK, "private, max-age=86400, immutable")

    def _send(self, data: bytes, kind: str, status: HTTPStatus, cache: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Cache-Control": cache,
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _query_of(query: Mapping[str, str], desk: Desk) -> Query:
    """Returns what a query asks for. Raises Refused for what is none."""
    number, real = partial(_number, query, int), partial(_number, query, float)
    score, decision = query.get("score", ""), query.get("decision", "")
    names, count = desk.catalogue.scores, number("count")
    if score and score not in names:
        raise Refused(HTTPStatus.BAD_REQUEST, f"There is no score {score!r}.")
    if decision and decision not in [one.value for one in Decision]:
        raise Refused(HTTPStatus.BAD_REQUEST, f"There is no decision {decision!r}.")
    return Query(
        class_number=number("class"),
        decision=Decision(decision) if decision else None,
        score_number=names.index(score) if score else 0,
        least=real("least"),
        most=real("most"),
        after=number("after"),
        count=60 if count is None else max(1, min(count, MOST_IMAGES)),
    )


def _number(query: Mapping[str, str], kind: type, name: str) -> Any:
    try:
        value = kind(query[name]) if query.get(name) else None
    except ValueError:
        value = float("nan")
    if value is not None and not abs(value) < 2**53:
        raise Refused(HTTPStatus.BAD_REQUEST, f"{name} is no number that is known here.")
    return value


def _nothing() -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "There is nothing here.")
