"""A small OpenID Connect issuer: one RSA key, its discovery document, its keys, and tokens."""
import base64
import http.server
import json
import subprocess
import tempfile
import threading
import time


def _text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self, kid="key-1"):
        self.kid = kid
        self.folder = tempfile.TemporaryDirectory()
        self.key = f"{self.folder.name}/key.pem"
        subprocess.run(["openssl", "genrsa", "-out", self.key, "2048"], check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"], check=True,
                                 capture_output=True, text=True).stdout.strip().partition("=")[2]
        self.jwks = {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "e": "AQAB",
                               "n": _text(bytes.fromhex(modulus))}]}
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                known = {"/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                         "/keys": issuer.jwks}
                answer = known.get(self.path)
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer or {}).encode())

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def token(self, seconds=3600, **claims):
        """A token with these claims, good for so long."""
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT", "kid": self.kid}
        payload = {"iss": self.url, "iat": now, "nbf": now, "exp": now + seconds, **claims}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (header, payload))
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), check=True,
                                   capture_output=True).stdout
        return f"{signed}.{_text(signature)}"

    def close(self):
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)
        self.folder.cleanup()
