"""Plain HTTP, as any program speaks it: no SDK, no registry client."""
import dataclasses
import hashlib
import http.client
import json
import ssl
import urllib.parse

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def sha256(data):
    """The digest of bytes as registries write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclasses.dataclass
class Reply:
    """An HTTP answer, its header names in lower case."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        """The body as JSON."""
        return json.loads(self.body)

    def errors(self):
        """The codes of a registry's error body."""
        return [(e["code"], e["message"]) for e in self.json()["errors"]]


class Web:
    """One server, one way to sign in."""

    def __init__(self, url, authorization=None):
        self.url, self.authorization = urllib.parse.urlsplit(url), authorization

    def __call__(self, method, path, body=None, headers=None):
        if path.startswith("http"):
            parts = urllib.parse.urlsplit(path)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
        if self.url.scheme == "https":
            link = http.client.HTTPSConnection(self.url.netloc, timeout=60, context=ssl.create_default_context())
        else:
            link = http.client.HTTPConnection(self.url.netloc, timeout=60)
        sent = {k.lower(): v for k, v in (headers or {}).items()}
        if self.authorization:
            sent.setdefault("authorization", self.authorization)
        if method in ("POST", "PUT", "PATCH") and body is None:
            body = b""
        try:
            link.request(method, path, body, sent)
            answer = link.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            link.close()

    def push_blob(self, repository, data):
        """POST and PUT, as the specification has it. Returns the digest."""
        start = self("POST", f"/v2/{repository}/blobs/uploads/")
        assert start.status == 202, start
        place = start.headers["location"]
        done = self("PUT", f"{place}{'&' if '?' in place else '?'}digest={sha256(data)}", data,
                    {"content-type": "application/octet-stream"})
        assert done.status == 201, done
        return sha256(data)

    def push_manifest(self, repository, reference, manifest):
        """PUT of a manifest; returns the answer."""
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        return self("PUT", f"/v2/{repository}/manifests/{reference}", data,
                    {"content-type": json.loads(data).get("mediaType", OCI_MANIFEST)})


def descriptor(media_type, data):
    """What a manifest says of one of its blobs."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def image(config, layers, **more):
    """An OCI image manifest as bytes."""
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, config),
                "layers": [descriptor(OCI_LAYER, layer) for layer in layers], **more}
    return json.dumps(manifest).encode()
