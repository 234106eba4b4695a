"""podman, skopeo, crane, oras, helm and the ECR credential helper, as their users run them."""
import base64
import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest
from conftest import HOST, REGION, SECRET_KEY, password
from support.web import DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, sha256


@pytest.fixture
def signed_in(shell, ecr):
    """The same user with the registry's password in Docker's own file, which crane, oras and helm read."""
    secret = password(ecr)
    auth = base64.b64encode(f"AWS:{secret}".encode()).decode()
    for path in (shell.home / ".docker" / "config.json", shell.home / "auth.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"auths": {HOST: {"auth": auth}}}))
    shell.secret = secret
    return shell


@pytest.fixture
def layout(tmp_path):
    """An OCI layout of one image with two layers, one of them over 8 MiB: its folder and its digest."""
    return make_layout(tmp_path / "layout")


def make_layout(folder, sizes=(9_000_000, 500), **more):
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data):
        (blobs / sha256(data)[7:]).write_bytes(data)
        return {"digest": sha256(data), "size": len(data)}
    layers = [layer(f"file{n}", os.urandom(size)) for n, size in enumerate(sizes)]
    # Compressed here, so that no client feels called to do it and changes the digests.
    packed = [gzip.compress(x, mtime=0) for x in layers]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": [sha256(x) for x in layers]}, **more}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", **put(config)}, "layers": [
        {"mediaType": OCI_LAYER, **put(x)} for x in packed]}).encode()
    top = {"mediaType": OCI_MANIFEST, **put(manifest), "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder, top["digest"]


def layer(name, data):
    """A tar of one file."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return tar.getvalue()


def files(folder):
    """Names and hashes of all files below a folder."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


# --- podman


@pytest.fixture
def podman(shell, tmp_path):
    """podman with a store of its own."""
    def call(*args, **options):
        return shell("podman", "--root", tmp_path / "store", "--runroot", tmp_path / "run", "--tmpdir", tmp_path / "tmp",
                     "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args, **options)
    return call


def test_podman(shell, podman, ecr, context, repository):
    """EXT-02, IMG-01, IMG-51: log in, build, push, pull by tag and by digest; OCI and Docker formats."""
    name = repository()
    secret = shell.out("aws", "ecr", "get-login-password")
    assert "Login Succeeded" in podman("login", "--username", "AWS", "--password-stdin", HOST, input=secret).stdout
    podman("build", "--isolation", "chroot", "-t", f"{HOST}/{name}:oci", context)
    podman("push", "--digestfile", shell.home / "oci", f"{HOST}/{name}:oci")
    podman("push", "--digestfile", shell.home / "v2s2", "--format", "v2s2", f"{HOST}/{name}:oci", f"{HOST}/{name}:v2s2")
    digests = {tag: (shell.home / tag).read_text() for tag in ("oci", "v2s2")}
    seen = {i["imageDigest"]: i for i in ecr.describe_images(repositoryName=name)["imageDetails"]}
    assert seen[digests["oci"]]["imageManifestMediaType"] == OCI_MANIFEST
    assert seen[digests["v2s2"]]["imageManifestMediaType"] == DOCKER_MANIFEST
    podman("rmi", "--all", "--force")
    for reference in (":oci", ":v2s2", f"@{digests['oci']}"):
        podman("pull", "--quiet", f"{HOST}/{name}{reference}")
    refused = podman("push", f"{HOST}/{name}:oci", f"{HOST}/not/there:v1", check=False)
    assert refused.returncode and "does not exist in the registry with id" in refused.stderr
    podman("rmi", "--all", "--force")


# --- skopeo


def test_skopeo(signed_in, layout, ecr, repository, tmp_path):
    """EXT-02, IMG-51, MAN-03, MAN-13: copies in both formats, by tag and digest; inspect, list, delete."""
    name, (folder, digest) = repository(), layout
    place = f"docker://{HOST}/{name}"

    def skopeo(*args, **options):
        return signed_in("skopeo", "--insecure-policy", *args, **options)
    skopeo("copy", f"oci:{folder}:v1", f"{place}:oci")
    skopeo("copy", "--format", "v2s2", f"oci:{folder}:v1", f"{place}:v2s2")
    skopeo("copy", "--format", "oci", f"{place}:v2s2", f"{place}:back")
    kinds = {t: i["imageManifestMediaType"] for i in ecr.describe_images(repositoryName=name)["imageDetails"]
             for t in i["imageTags"]}
    assert kinds["oci"] == OCI_MANIFEST and kinds["v2s2"] == DOCKER_MANIFEST and kinds["back"] == OCI_MANIFEST

    for n, reference in enumerate((":oci", f"@{digest}")):
        skopeo("copy", f"{place}{reference}", f"oci:{tmp_path}/copy{n}:v1")
        assert files(tmp_path / f"copy{n}" / "blobs") == files(folder / "blobs")
    seen = json.loads(skopeo("inspect", f"{place}:oci").stdout)
    assert seen["Digest"] == digest and sorted(seen["RepoTags"]) == ["back", "oci", "v2s2"]
    assert skopeo("inspect", "--raw", f"{place}:oci").stdout.encode() == (folder / "blobs/sha256" / digest[7:]).read_bytes()
    assert json.loads(skopeo("list-tags", place).stdout)["Tags"] == ["back", "oci", "v2s2"]

    other = repository()
    skopeo("copy", "--all", f"{place}@{digest}", f"docker://{HOST}/{other}:same")
    assert ecr.describe_images(repositoryName=other)["imageDetails"][0]["imageDigest"] == digest
    skopeo("delete", f"{place}:v2s2")
    assert "v2s2" not in json.loads(skopeo("list-tags", place).stdout)["Tags"]


def test_skopeo_without_a_file(shell, layout, repository, ecr):
    """AUTH-11: credentials on the command line; a wrong one is refused."""
    name, (folder, _) = repository(), layout
    to = ["--insecure-policy", "copy", f"oci:{folder}:v1", f"docker://{HOST}/{name}:v1"]
    shell("skopeo", *to, "--dest-creds", f"AWS:{password(ecr)}")
    assert shell("skopeo", *to, "--dest-creds", "AWS:no", check=False).returncode
    assert shell("skopeo", *to, check=False).returncode


# --- crane


def test_crane(signed_in, ecr, repository, tmp_path):
    """EXT-02: push, pull, copy, tag, digest, ls, mutate, append, catalog, delete."""
    name, copy = repository(), repository()
    place = f"{HOST}/{name}"
    crane = lambda *args, **options: signed_in("crane", *args, **options).stdout.strip()  # noqa: E731
    for n, size in enumerate((3_000_000, 100)):
        (tmp_path / f"layer{n}.tar").write_bytes(layer(f"file{n}", os.urandom(size)))
    one = crane("append", "-f", tmp_path / "layer0.tar", "-t", f"{place}:one").rpartition("@")[2]
    assert crane("digest", f"{place}:one") == one
    two = crane("append", "-b", f"{place}:one", "-f", tmp_path / "layer1.tar", "-t", f"{place}:two").rpartition("@")[2]
    assert len(json.loads(crane("manifest", f"{place}@{two}"))["layers"]) == 2
    crane("validate", "--remote", f"{place}:two")
    crane("mutate", f"{place}:two", "--label", "team=devs", "-t", f"{place}:three")
    assert json.loads(crane("config", f"{place}:three"))["config"]["Labels"] == {"team": "devs"}
    crane("pull", f"{place}:two", tmp_path / "image.tar")
    crane("push", tmp_path / "image.tar", f"{place}:four")
    assert crane("digest", f"{place}:four") == two
    crane("pull", "--format", "oci", f"{place}:two", tmp_path / "image")
    crane("push", tmp_path / "image", f"{place}:five")
    assert crane("digest", f"{place}:five") == two
    crane("tag", f"{place}:two", "six")
    crane("copy", f"{place}:two", f"{HOST}/{copy}:two")
    assert crane("digest", f"{HOST}/{copy}:two") == two
    assert crane("ls", place).split() == ["five", "four", "one", "six", "three", "two"]
    assert {f"{name}", f"{copy}"} <= set(crane("catalog", HOST).split())
    assert [i["imageDigest"] for i in ecr.describe_images(repositoryName=copy)["imageDetails"]] == [two]
    crane("delete", f"{place}@{two}")
    # The image went through a tarball and an OCI layout unchanged, so all its tags are gone.
    assert crane("ls", place).split() == ["one", "three"]
    assert "MANIFEST_UNKNOWN" in signed_in("crane", "digest", f"{place}:two", check=False).stderr
    assert "NAME_UNKNOWN" in signed_in("crane", "ls", f"{HOST}/not/there", check=False).stderr


def test_crane_multi_architecture(signed_in, ecr, repository, tmp_path):
    """IMG-40, IMG-42, IMG-59: an index of two platforms, copied whole to another repository."""
    name, copy = repository(), repository()
    place = f"{HOST}/{name}"
    crane = lambda *args: signed_in("crane", *args).stdout.strip()  # noqa: E731
    parts = []
    for n, platform in enumerate(("linux/amd64", "linux/arm64")):
        (tmp_path / f"{n}.tar").write_bytes(layer("file", os.urandom(1000 * (n + 1))))
        crane("append", "--oci-empty-base", "-f", tmp_path / f"{n}.tar", "-t", f"{place}:part{n}")
        parts.append(crane("mutate", f"{place}:part{n}", "--set-platform", platform, "-t", f"{place}:part{n}").rpartition("@")[2])
    top = crane("index", "append", *[x for p in parts for x in ("-m", f"{place}@{p}")], "-t", f"{place}:all").rpartition("@")[2]
    seen = json.loads(crane("manifest", f"{place}:all"))
    assert [m["digest"] for m in seen["manifests"]] == parts
    assert crane("digest", "--platform", "linux/arm64", f"{place}:all") == parts[1]
    crane("copy", f"{place}:all", f"{HOST}/{copy}:all")
    images = {i["imageDigest"]: i for i in ecr.describe_images(repositoryName=copy)["imageDetails"]}
    assert set(images) == {top, *parts}
    assert images[top]["imageManifestMediaType"] in (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
    assert images[top]["imageSizeInBytes"] == max(images[p]["imageSizeInBytes"] for p in parts)
    crane("validate", "--remote", f"{HOST}/{copy}:all")


# --- oras


def test_oras(signed_in, ecr, repository, tmp_path):
    """EXT-02, API-47: artifacts, subjects, referrers, blobs, copies with what refers to them."""
    name, copy = repository(), repository()
    place = f"{HOST}/{name}"
    oras = lambda *args, **options: signed_in("oras", *args, **options).stdout  # noqa: E731
    (signed_in.home / "hello.txt").write_text("hello")
    (signed_in.home / "sbom.json").write_text('{"sbom":true}')
    (signed_in.home / "out").mkdir()
    pushed = json.loads(oras("push", "--format", "json", "--artifact-type", "application/vnd.acme.rocket", f"{place}:v1",
                             "hello.txt:text/plain"))
    digest = pushed["digest"]
    detail = ecr.describe_images(repositoryName=name)["imageDetails"][0]
    assert detail["imageDigest"] == digest and detail["artifactMediaType"] == "application/vnd.acme.rocket"
    oras("pull", f"{place}:v1", "-o", "out")
    assert (signed_in.home / "out" / "hello.txt").read_text() == "hello"

    attached = {}
    for kind in ("sbom", "signature"):
        attached[kind] = json.loads(oras("attach", "--format", "json", "--artifact-type", f"application/vnd.acme.{kind}",
                                         "--annotation", f"kind={kind}", f"{place}:v1", "sbom.json:application/json"))["digest"]
    seen = json.loads(oras("discover", "--format", "json", f"{place}:v1"))
    found = {m["digest"]: m["artifactType"] for m in seen.get("referrers") or seen["manifests"]}
    assert found == {attached[k]: f"application/vnd.acme.{k}" for k in attached}
    seen = json.loads(oras("discover", "--format", "json", "--artifact-type", "application/vnd.acme.sbom", f"{place}@{digest}"))
    assert [m["digest"] for m in seen.get("referrers") or seen["manifests"]] == [attached["sbom"]]
    listed = ecr.list_image_referrers(repositoryName=name, subjectId={"imageDigest": digest})["referrers"]
    assert {r["digest"]: r["artifactType"] for r in listed} == found

    blob = sha256(b'{"sbom":true}')
    assert oras("blob", "fetch", "--output", "-", f"{place}@{blob}") == '{"sbom":true}'
    (signed_in.home / "blob").write_bytes(os.urandom(5_000_000))
    mine = sha256((signed_in.home / "blob").read_bytes())
    oras("blob", "push", f"{place}", "blob")
    assert json.loads(oras("blob", "fetch", "--descriptor", f"{place}@{mine}"))["size"] == 5_000_000
    oras("blob", "delete", "--force", f"{place}@{mine}")
    assert signed_in("oras", "blob", "fetch", "--descriptor", f"{place}@{mine}", check=False).returncode

    oras("cp", "--recursive", f"{place}:v1", f"{HOST}/{copy}:v1")
    images = {i["imageDigest"] for i in ecr.describe_images(repositoryName=copy)["imageDetails"]}
    assert images == {digest, *attached.values()}
    oras("tag", f"{place}:v1", "v2", "v3")
    assert oras("repo", "tags", place).split() == ["v1", "v2", "v3"]
    assert name in oras("repo", "ls", HOST).split()
    assert json.loads(oras("manifest", "fetch", f"{place}:v3"))["artifactType"] == "application/vnd.acme.rocket"
    oras("manifest", "delete", "--force", f"{place}@{attached['sbom']}")
    seen = json.loads(oras("discover", "--format", "json", f"{place}:v1"))
    assert [m["digest"] for m in seen.get("referrers") or seen["manifests"]] == [attached["signature"]]


def test_oras_log_in(shell, ecr):
    """AUTH-30, AUTH-33: oras keeps a login of its own."""
    assert "Login Succeeded" in shell("oras", "login", "--username", "AWS", "--password-stdin", HOST,
                                      input=password(ecr)).stdout
    shell("oras", "repo", "ls", HOST)
    assert shell("oras", "login", "--username", "AWS", "--password-stdin", HOST, input="no", check=False).returncode


# --- helm


def make_chart(shell, name):
    """A packaged chart of the name."""
    shell("helm", "create", name)
    shell("helm", "package", name)
    return shell.home / f"{name}-0.1.0.tgz"


def test_helm(shell, ecr, repository):
    """EXT-02, IMG-03: log in, push a chart into a repository made before, pull it, show it."""
    name = repository("charts/rocket")
    chart = make_chart(shell, "rocket")
    secret = shell.out("aws", "ecr", "get-login-password", "--region", REGION)
    shell("helm", "registry", "login", "--username", "AWS", "--password-stdin", HOST, input=secret)
    shell("helm", "push", chart, f"oci://{HOST}/charts")
    detail = ecr.describe_images(repositoryName=name)["imageDetails"][0]
    assert detail["imageTags"] == ["0.1.0"]
    assert detail["artifactMediaType"] == "application/vnd.cncf.helm.config.v1+json"
    (shell.home / "pulled").mkdir()
    shell("helm", "pull", f"oci://{HOST}/{name}", "--version", "0.1.0", "--destination", "pulled")
    assert (shell.home / "pulled" / chart.name).read_bytes() == chart.read_bytes()
    assert "name: rocket" in shell("helm", "show", "chart", f"oci://{HOST}/{name}", "--version", "0.1.0").stdout
    assert "kind: Deployment" in shell("helm", "template", f"oci://{HOST}/{name}", "--version", "0.1.0").stdout


def test_helm_into_nothing(shell, ecr):
    """V2-12: without a repository helm's push fails, and none appears."""
    chart = make_chart(shell, "lost")
    shell("helm", "registry", "login", "--username", "AWS", "--password-stdin", HOST, input=password(ecr))
    refused = shell("helm", "push", chart, f"oci://{HOST}/nowhere", check=False)
    assert refused.returncode and "does not exist in the registry" in refused.stderr
    assert "nowhere/lost" not in [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]]


# --- the ECR credential helper


def test_credential_helper(shell, docker, ecr, repository, layout):
    """AUTH-35, EXT-06: no login at all; the helper asks for a token by itself. Docker, crane and skopeo."""
    name, (folder, digest) = repository(), layout
    config = json.dumps({"credHelpers": {HOST: "ecr-login"}})
    (shell.home / ".docker").mkdir()
    for path in (".docker/config.json", "auth.json"):
        (shell.home / path).write_text(config)
    (shell.home / "image").mkdir()
    (shell.home / "image" / "file").write_bytes(os.urandom(1000))
    (shell.home / "image" / "Dockerfile").write_text("FROM scratch\nCOPY file /\nCMD [\"/x\"]\n")
    docker("build", "-t", f"{HOST}/{name}:docker", "image")
    docker("push", f"{HOST}/{name}:docker")
    docker("rmi", f"{HOST}/{name}:docker")
    docker("pull", f"{HOST}/{name}:docker")
    shell("crane", "push", folder, f"{HOST}/{name}:crane")
    assert shell.out("crane", "digest", f"{HOST}/{name}:crane") == digest
    shell("skopeo", "--insecure-policy", "copy", f"oci:{folder}:v1", f"docker://{HOST}/{name}:skopeo")
    assert shell.out("crane", "ls", f"{HOST}/{name}").split() == ["crane", "docker", "skopeo"]
    got = json.loads(shell("docker-credential-ecr-login", "get", input=HOST).stdout)
    assert got["Username"] == "AWS" and ":" not in got["Secret"]

    shell.env["AWS_SECRET_ACCESS_KEY"] = SECRET_KEY[::-1]
    shell.env["HOME"] = str(shell.home / "image")  # the helper's cache is in the home
    assert shell("docker-credential-ecr-login", "get", input=HOST, check=False).returncode
