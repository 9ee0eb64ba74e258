"""An OpenID Connect issuer of the tests' own: real keys, a real HTTP server."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec


class TestIssuer:
    """Signs tokens; `keys` are those that it shows, and `is_down` makes it answer 503."""

    __test__ = False

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.keys, self.is_down, self.asked = {}, False, 0
        self.keys_url = f"{self.url}/keys"
        self.rotate("k1")

    def rotate(self, key_id):
        """Signs with a new key from now on, and shows no other."""
        self.current, self.keys = key_id, {key_id: ec.generate_private_key(ec.SECP256R1())}

    def token(self, key=None, headers=None, **claims):
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": "variegate",
            "sub": "alice",
            "exp": now + 300,
            "scope": "openid variegate.create",
            **claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": self.current, **(headers or {})}
        return jwt.encode(
            claims, key or self.keys[self.current], algorithm="ES256", headers=headers
        )

    def document(self, path):
        """What is answered under a path."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": self.keys_url}
        algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
        entries = []
        for key_id, key in self.keys.items():
            entry = algorithm.to_jwk(key.public_key(), as_dict=True)
            entries.append({**entry, "kid": key_id, "alg": "ES256", "use": "sig"})
        return {"keys": entries}


@contextmanager
def running_issuer():
    """Gives an issuer that can be asked for its keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            issuer.asked += 1
            self.send_response(503 if issuer.is_down else 200)
            self.end_headers()
            self.wfile.write(json.dumps(issuer.document(self.path)).encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = TestIssuer(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
