#!/usr/bin/env python3
"""An OpenID Connect issuer for the local stack: discovery, keys, and a token for whoever asks. Never beyond loopback.

    issuer.py HOST PORT

`POST /token` takes {"sub": "...", "roles": [...], "lifetime_s": 3600} and answers {"token": "..."}, signed with a key
that lives as long as the process. A negative lifetime gives a token that has expired. Any other member becomes a
claim of the token, in place of what the issuer would have put there.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "sealcast"
KEY_ID = "local"
LIFETIME_S = 3600


class Issuer(ThreadingHTTPServer):
    """The key and the address, which is the tokens' `iss`."""

    daemon_threads = True

    def __init__(self, host: str, port: int):
        super().__init__((host, port), Handler)
        self.url = f"http://{host}:{port}"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def describe(self) -> dict:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks.json",
            "token_endpoint": f"{self.url}/token",
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def list_keys(self) -> dict:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**key, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def sign(self, asked: dict) -> str:
        now = int(time.time())
        lifetime_s = asked.pop("lifetime_s", LIFETIME_S)
        claims = {"iss": self.url, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + lifetime_s, **asked}
        if lifetime_s < 0:
            claims |= {"iat": now + 2 * lifetime_s, "nbf": now + 2 * lifetime_s}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": KEY_ID})


class Handler(BaseHTTPRequestHandler):
    """Three paths, JSON only."""

    server: Issuer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path:
            case "/.well-known/openid-configuration":
                self.reply(200, self.server.describe())
            case "/jwks.json":
                self.reply(200, self.server.list_keys())
            case _:
                self.reply(404, {"error": f"{self.path}: no such path"})

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/token":
            return self.reply(404, {"error": f"{self.path}: no such path"})
        try:
            claims = json.loads(asked)
        except ValueError:
            claims = None
        if not isinstance(claims, dict) or not isinstance(claims.get("lifetime_s", 0), int):
            return self.reply(400, {"error": 'expected {"sub": "...", "roles": [...], "lifetime_s": 3600}'})
        return self.reply(200, {"token": self.server.sign(claims)})

    def reply(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    host, port = sys.argv[1:]
    Issuer(host, int(port)).serve_forever()
