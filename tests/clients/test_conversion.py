"""Formats of manifests, as other programs write and read them: skopeo, podman, crane, the AWS CLI, OpenSSL."""
import base64
import gzip
import hashlib
import json
import subprocess

import pytest
from conftest import HOST
from support.web import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from test_oci_clients import make_layout, podman, signed_in  # noqa: F401 (fixtures)

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_1_9 = "docker/1.9.1 go/go1.4.3 git-commit/a34a1d5 kernel/4.2.0 os/linux arch/amd64"


@pytest.fixture
def layout(tmp_path):
    """An image of two layers with an entry of history between them that has none."""
    history = [{"created": "2020-01-01T00:00:00Z", "created_by": x, "empty_layer": x == "ENV"} for x in ("ADD", "ENV", "RUN")]
    return make_layout(tmp_path / "layout", sizes=(600_000, 500_000), created="2020-01-01T00:00:00Z", history=history)


@pytest.fixture
def skopeo(signed_in):  # noqa: F811
    """skopeo, signed in."""
    return lambda *args, **options: signed_in("skopeo", "--insecure-policy", *args, **options)


def pull(web, name, reference, accept=None, **headers):
    """A manifest by plain HTTP."""
    if accept:
        headers["accept"] = accept
    return web("GET", f"/v2/{name}/manifests/{reference}", headers=headers)


def save(web, name, reply, folder):
    """What a client with this manifest downloads, in the form of skopeo's `dir:`."""
    folder.mkdir()
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(reply.body)
    manifest = reply.json()
    layers = manifest.get("fsLayers")
    blobs = [x["blobSum"] for x in layers] if layers else [x["digest"] for x in [manifest["config"], *manifest["layers"]]]
    for digest in blobs:
        got = web("GET", f"/v2/{name}/blobs/{digest}")
        assert got.status == 200 and hashlib.sha256(got.body).hexdigest() == digest[7:]
        (folder / digest[7:]).write_bytes(got.body)


def contents(folder):
    """The hashes of the uncompressed layers below a folder: what makes the image's files."""
    def plain(path):
        data = path.read_bytes()
        return hashlib.sha256(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).hexdigest()
    return {plain(path) for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 400_000}


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(manifest, folder):
    """OpenSSL's word on the signature of a schema 1 manifest, as RFC 7515 says it is made."""
    [one] = json.loads(manifest)["signatures"]
    jwk, protected = one["header"]["jwk"], json.loads(decode(one["protected"]))
    payload = manifest[:protected["formatLength"]] + decode(protected["formatTail"])
    assert "signatures" not in json.loads(payload)
    covered = f"{one['protected']}.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"
    # A P-256 key in DER is this head and the point; a signature is two integers.
    key = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\4" + decode(jwk["x"]) + decode(jwk["y"])
    raw = decode(one["signature"])

    def integer(data):
        data = data.lstrip(b"\0") or b"\0"
        data = b"\0" + data if data[0] & 0x80 else data
        return b"\2" + bytes([len(data)]) + data
    both = integer(raw[:32]) + integer(raw[32:])
    for name, data in (("key", key), ("signature", b"\x30" + bytes([len(both)]) + both), ("covered", covered.encode())):
        (folder / name).write_bytes(data)
    done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", "key", "-keyform", "DER", "-signature", "signature", "covered"],
                          cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done
    name = base64.b32encode(hashlib.sha256(key).digest()[:30]).decode()
    assert jwk["kid"] == ":".join(name[i:i + 4] for i in range(0, len(name), 4))


def test_three_formats(skopeo, layout, ecr, web, repository, tmp_path):  # noqa: F811
    """MAN-01, MAN-03, MAN-10, MAN-14: skopeo pushes each format, signed by libtrust where it is schema 1, and gets it back."""
    name, (folder, _) = repository(), layout
    place = f"docker://{HOST}/{name}"
    for form, kind in (("v2s1", SCHEMA_1), ("v2s2", DOCKER_MANIFEST), ("oci", OCI_MANIFEST)):
        skopeo("copy", "--format", form, f"oci:{folder}:v1", f"{place}:{form}")
        [seen] = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": form}])["imageDetails"]
        assert seen["imageManifestMediaType"] == kind
        raw = skopeo("inspect", "--raw", f"{place}:{form}").stdout.encode()
        assert raw == pull(web, name, form).body
        (tmp_path / "raw").write_bytes(raw)
        assert skopeo("manifest-digest", tmp_path / "raw").stdout.strip() == seen["imageDigest"]
        skopeo("copy", f"{place}:{form}", f"oci:{tmp_path}/{form}:v1")
        assert contents(tmp_path / form) == contents(folder)
    for accept in (DOCKER_MANIFEST, OCI_MANIFEST):
        assert pull(web, name, "v2s1", accept).errors()[0][0] == "MANIFEST_UNKNOWN"
    forged = pull(web, name, "v2s1").body.replace(b'"amd64"', b'"arm64"', 1)
    refused = web("PUT", f"/v2/{name}/manifests/forged", forged, {"content-type": SCHEMA_1})
    assert refused.status == 400 and refused.errors()[0][0] == "MANIFEST_INVALID"


def test_whole(skopeo, podman, layout, web, repository, tmp_path):  # noqa: F811
    """MAN-11, MAN-12, MAN-17 to MAN-19: what we convert, skopeo unpacks and podman stores, with the same files."""
    name, (folder, _) = repository(), layout
    for form in ("v2s2", "oci"):
        skopeo("copy", "--format", form, f"oci:{folder}:v1", f"docker://{HOST}/{name}:{form}")
        for kind, accept in (("1", SCHEMA_1), ("2", DOCKER_MANIFEST), ("oci", OCI_MANIFEST)):
            reply = pull(web, name, form, accept)
            assert reply.status == 200 and reply.headers["content-type"] == accept
            there, out = tmp_path / f"{form}-{kind}", tmp_path / f"{form}-{kind}-out"
            save(web, name, reply, there)
            told = skopeo("manifest-digest", there / "manifest.json").stdout.strip()
            assert told == reply.headers["docker-content-digest"]
            assert pull(web, name, told, accept).body == reply.body
            skopeo("copy", f"dir:{there}", f"oci:{out}:v1")
            assert contents(out) == contents(folder)
            if accept != SCHEMA_1:
                podman("pull", "--quiet", f"dir:{there}")
            else:
                verify(reply.body, tmp_path)
                assert len(reply.json()["fsLayers"]) == 3
                assert pull(web, name, form, **{"user-agent": DOCKER_1_9}).body == reply.body
                # Good enough to be pushed, with the layer that nobody ever sent.
                other = repository()
                skopeo("copy", "--format", "v2s1", f"dir:{there}", f"docker://{HOST}/{other}:again")
                assert pull(web, other, "again").headers["content-type"] == SCHEMA_1
                podman("pull", "--quiet", f"{HOST}/{other}:again")
    podman("rmi", "--all", "--force")


def test_several_platforms(signed_in, skopeo, web, repository, tmp_path):  # noqa: F811
    """MAN-16: an index as a list, whose images skopeo copies; and the one image for who knows neither."""
    name = repository()
    for arch in ("amd64", "arm64"):
        folder, _ = make_layout(tmp_path / arch, sizes=(500_000,))
        skopeo("copy", "--override-arch", arch, f"oci:{folder}:v1", f"docker://{HOST}/{name}:{arch}")
    images = [(arch, pull(web, name, arch)) for arch in ("arm64", "amd64")]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": reply.headers["docker-content-digest"], "size": len(reply.body),
         "platform": {"os": "linux", "architecture": arch}} for arch, reply in images]}
    assert web.push_manifest(name, "all", index).status == 201
    accept = f"{DOCKER_MANIFEST}, {DOCKER_LIST}"
    reply = pull(web, name, "all", accept)
    assert reply.headers["content-type"] == DOCKER_LIST
    for child in reply.json()["manifests"]:
        got = pull(web, name, child["digest"], accept)
        assert got.headers["content-type"] == child["mediaType"] == DOCKER_MANIFEST and len(got.body) == child["size"]
    # What is told by digest is there for every client, skopeo and crane too.
    digest = reply.headers["docker-content-digest"]
    skopeo("copy", "--all", f"docker://{HOST}/{name}@{digest}", f"docker://{HOST}/{name}:list")
    assert pull(web, name, "list").headers["docker-content-digest"] == digest
    assert json.loads(signed_in.out("crane", "manifest", f"{HOST}/{name}:all"))["mediaType"] == OCI_INDEX
    one = pull(web, name, "all", DOCKER_MANIFEST)
    assert one.headers["docker-content-digest"] == reply.json()["manifests"][1]["digest"]


def test_accepted_media_types(shell, skopeo, layout, repository):  # noqa: F811
    """MAN-04, MAN-11, MAN-13, MAN-14: the AWS CLI says what it accepts."""
    name, (folder, digest) = repository(), layout
    skopeo("copy", f"oci:{folder}:v1", f"docker://{HOST}/{name}:v1")

    def get(image, *accepted):
        more = ["--accepted-media-types", *accepted] if accepted else []
        return shell.json("aws", "ecr", "batch-get-image", "--repository-name", name, "--image-ids", image, *more)
    stored = get("imageTag=v1")["images"][0]
    assert (stored["imageManifestMediaType"], stored["imageId"]["imageDigest"]) == (OCI_MANIFEST, digest)
    for kind in (DOCKER_MANIFEST, SCHEMA_1):
        [image] = get("imageTag=v1", kind)["images"]
        assert image["imageManifestMediaType"] == kind and image["imageId"]["imageDigest"] != digest
        [same] = get(f"imageDigest={image['imageId']['imageDigest']}", kind)["images"]
        assert same["imageManifest"] == image["imageManifest"]
    assert get("imageTag=v1", OCI_MANIFEST, DOCKER_MANIFEST)["images"][0]["imageId"]["imageDigest"] == digest
    [failure] = get(f"imageDigest={digest}", DOCKER_MANIFEST)["failures"]
    assert failure["failureCode"] == "ImageNotFound"
