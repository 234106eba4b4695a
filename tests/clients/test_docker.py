"""The Docker Engine: what it prints, what it leaves out, what it is refused."""
import json
import os
import re

import pytest
from conftest import ACCOUNT, HOST, OTHER_ACCOUNT, OTHER_REGION, REGION, client, log_in, password
from support.server import ACCESS_KEY, SECRET_KEY
from support.web import DOCKER_LIST, DOCKER_MANIFEST


def build(docker, folder, name, sizes=(2000,), text=""):
    """An image of random layers, tagged `name`."""
    folder.mkdir(exist_ok=True)
    lines = ["FROM scratch"]
    for number, size in enumerate(sizes):
        (folder / f"file{number}").write_bytes(os.urandom(size))
        lines.append(f"COPY file{number} /file{number}")
    (folder / "Dockerfile").write_text("\n".join([*lines, 'CMD ["/none"]', text]) + "\n")
    docker("build", "-t", name, folder)


def digest_of(pushed):
    """The digest that `docker push` prints last."""
    return re.search(r"digest: (sha256:[0-9a-f]{64})", pushed).group(1)


def test_many_layers_in_parallel_and_again(shell, docker, tmp_path, ecr, repository):
    """EXT-01, ERR-80, IMG-09, IMG-14, IMG-29, IMG-59, MAN: layers go up in parallel, known ones are left out."""
    name = repository()
    log_in(shell, docker)
    build(docker, tmp_path / "big", f"{HOST}/{name}:one", sizes=(9_000_000, 100, 5_000_000, 1, 3_000_000, 70_000, 65_536, 12))
    first = docker("push", f"{HOST}/{name}:one").stdout
    assert first.count(": Pushed") == 8
    detail = ecr.describe_images(repositoryName=name)["imageDetails"][0]
    manifest = json.loads(ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "one"}])["images"][0]["imageManifest"])
    assert detail["imageSizeInBytes"] == sum(x["size"] for x in [manifest["config"], *manifest["layers"]])

    again = docker("push", f"{HOST}/{name}:one").stdout
    assert again.count(": Layer already exists") == 8
    docker("tag", f"{HOST}/{name}:one", f"{HOST}/{name}:two")
    assert digest_of(docker("push", f"{HOST}/{name}:two").stdout) == digest_of(first)
    both = ecr.describe_images(repositoryName=name)["imageDetails"]
    assert len(both) == 1 and sorted(both[0]["imageTags"]) == ["one", "two"]
    assert both[0]["imagePushedAt"] == detail["imagePushedAt"]


def test_mount_from_another_repository(shell, docker, tmp_path, repository):
    """V2-08: a layer that another repository has is mounted, not sent again; the copy stays when the source goes."""
    source, copy = repository(), repository()
    log_in(shell, docker)
    build(docker, tmp_path / "mount", f"{HOST}/{source}:v1", sizes=(4_000_000, 10))
    docker("push", f"{HOST}/{source}:v1")
    docker("tag", f"{HOST}/{source}:v1", f"{HOST}/{copy}:v1")
    assert docker("push", f"{HOST}/{copy}:v1").stdout.count(f": Mounted from {source}") == 2
    shell("aws", "ecr", "delete-repository", "--force", "--repository-name", source)
    docker("rmi", f"{HOST}/{source}:v1", f"{HOST}/{copy}:v1")
    assert docker("pull", f"{HOST}/{copy}:v1").stdout.count(": Pull complete") == 2


def test_a_tag_moves(shell, docker, tmp_path, ecr, repository):
    """IMG-13: the image that loses its last tag stays, untagged."""
    name = repository()
    log_in(shell, docker)
    digests = []
    for n in (1, 2):
        build(docker, tmp_path / f"move{n}", f"{HOST}/{name}:latest")
        digests.append(digest_of(docker("push", f"{HOST}/{name}").stdout))
    ids = ecr.list_images(repositoryName=name)["imageIds"]
    assert {(i["imageDigest"], i.get("imageTag")) for i in ids} == {(digests[0], None), (digests[1], "latest")}
    assert "Pull" in docker("pull", f"{HOST}/{name}@{digests[0]}").stdout


def test_immutable(shell, docker, tmp_path, ecr, repository):
    """IMG-80 to IMG-83, ERR-47: another image under a used tag is refused in the guide's words."""
    name = repository(imageTagMutability="IMMUTABLE")
    log_in(shell, docker)
    build(docker, tmp_path / "a", f"{HOST}/{name}:v1")
    docker("push", f"{HOST}/{name}:v1")
    docker("push", f"{HOST}/{name}:v1")
    build(docker, tmp_path / "b", f"{HOST}/{name}:v1")
    refused = docker("push", f"{HOST}/{name}:v1", check=False)
    assert refused.returncode != 0
    assert (f"tag invalid: The image tag 'v1' already exists in the '{name}' repository and cannot be overwritten because "
            "the repository is immutable.") in refused.stderr
    docker("tag", f"{HOST}/{name}:v1", f"{HOST}/{name}:v2")
    docker("push", f"{HOST}/{name}:v2")
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])
    docker("push", f"{HOST}/{name}:v1")


def test_manifest_lists(shell, docker, tmp_path, ecr, repository):
    """IMG-40 to IMG-43, IMG-66, EXT-01: `docker manifest create`, `inspect`, `push`."""
    name = repository()
    log_in(shell, docker)
    place = f"{HOST}/{name}"
    digests = {}
    for tag in ("image_one_tag", "image_two"):
        build(docker, tmp_path / tag, f"{place}:{tag}")
        digests[tag] = digest_of(docker("push", f"{place}:{tag}").stdout)
    docker("manifest", "create", place, f"{place}:image_one_tag", f"{place}:image_two")
    docker("manifest", "annotate", place, f"{place}:image_two", "--arch", "arm64")
    seen = shell.json("docker", "manifest", "inspect", place)
    assert {m["digest"] for m in seen["manifests"]} == set(digests.values())
    digest = docker("manifest", "push", place).stdout.strip()
    images = {i["imageDigest"]: i for i in ecr.describe_images(repositoryName=name)["imageDetails"]}
    top = images[digest]
    assert top["imageTags"] == ["latest"] and top["imageManifestMediaType"] == DOCKER_LIST
    assert top["imageSizeInBytes"] == max(images[d]["imageSizeInBytes"] for d in digests.values())
    assert {m["platform"]["architecture"] for m in shell.json("docker", "manifest", "inspect", place)["manifests"]} == \
        {"amd64", "arm64"}
    docker("rmi", f"{place}:image_one_tag", f"{place}:image_two")
    assert f"Digest: {digest}" in docker("pull", place).stdout

    answer = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digests["image_two"]}])
    assert [f["failureCode"] for f in answer["failures"]] == ["ImageReferencedByManifestList"]
    answer = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    assert answer["imageIds"] == [{"imageDigest": digest, "imageTag": "latest"}]
    answer = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digests["image_two"]}])
    assert not answer["failures"]


def test_repository_missing(shell, docker, tmp_path, ecr):
    """V2-12, REPO-05, ERR-43, ERR-68: a push never makes a repository."""
    log_in(shell, docker)
    build(docker, tmp_path / "lost", f"{HOST}/no/such/repository:v1")
    refused = docker("push", f"{HOST}/no/such/repository:v1", check=False)
    assert refused.returncode != 0
    assert ("name unknown: The repository with name 'no/such/repository' does not exist in the registry with id "
            f"'{ACCOUNT}'") in refused.stderr
    assert "no/such/repository" not in [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]]


def test_image_missing(shell, docker, repository):
    """ERR-44."""
    name = repository()
    log_in(shell, docker)
    refused = docker("pull", f"{HOST}/{name}:none", check=False)
    assert refused.returncode != 0
    assert "manifest unknown: Requested image not found" in refused.stderr


def test_without_login(shell, docker, tmp_path, repository):
    """V2-02, IMG-53, ERR-64, ERR-70: Docker's own words where it holds no credentials."""
    name = repository()
    build(docker, tmp_path / "anonymous", f"{HOST}/{name}:v1")
    refused = docker("push", f"{HOST}/{name}:v1", check=False)
    assert refused.returncode != 0 and "no basic auth credentials" in refused.stderr
    refused = docker("pull", f"{HOST}/{name}:v1", check=False)
    assert refused.returncode != 0 and "no basic auth credentials" in refused.stderr


@pytest.mark.parametrize("user, secret", [("AWS", "wrong"), ("root", None), ("AWS", f"{ACCESS_KEY}:{SECRET_KEY}")])
def test_wrong_login(docker, ecr, user, secret):
    """AUTH-11, V2-02: only AWS with a token gets in."""
    refused = docker("login", "--username", user, "--password-stdin", HOST, input=secret or password(ecr), check=False)
    assert refused.returncode != 0
    assert re.search(r"40[013]|unauthorized|denied", refused.stderr, re.I), refused.stderr


def test_token_of_another_region(docker, ecr):
    """AUTH-16, V2-04, ERR-42: tokens do not cross Regions."""
    refused = docker("login", "--username", "AWS", "--password-stdin", HOST, input=password(client(region=OTHER_REGION)),
                     check=False)
    assert refused.returncode != 0 and re.search(r"denied|403", refused.stderr, re.I), refused.stderr


def test_another_account(shell, docker, ecr):
    """AUTH-15, REG-06, V2-04: one token signs in to every registry of the Region, but nothing there is allowed."""
    host = f"{OTHER_ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    log_in(shell, docker, host)
    refused = docker("pull", f"{host}/amazonlinux:latest", check=False)
    assert refused.returncode != 0
    assert (f"denied: User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: ecr:BatchGetImage on resource: "
            f"arn:aws:ecr:{REGION}:{OTHER_ACCOUNT}:repository/amazonlinux") in refused.stderr


def test_schema_2_by_default(shell, docker, tmp_path, ecr, repository, web):
    """MAN-01 on, V2-11: what Docker pushes comes back byte for byte under its own media type."""
    name = repository()
    log_in(shell, docker)
    build(docker, tmp_path / "schema", f"{HOST}/{name}:v1")
    digest = digest_of(docker("push", f"{HOST}/{name}:v1").stdout)
    reply = web("GET", f"/v2/{name}/manifests/v1", headers={"accept": DOCKER_MANIFEST})
    assert reply.headers["content-type"] == DOCKER_MANIFEST
    assert reply.headers["docker-content-digest"] == digest
    assert reply.body.decode() == \
        ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])["images"][0]["imageManifest"]


def test_save_and_load(shell, docker, tmp_path, repository):
    """IMG-50: an image that went through the registry runs on a machine that never saw it built."""
    name = repository()
    log_in(shell, docker)
    build(docker, tmp_path / "saved", f"{HOST}/{name}:v1", sizes=(1000, 2000))
    before = shell.out("docker", "image", "inspect", "--format", "{{.Id}}", f"{HOST}/{name}:v1")
    docker("push", f"{HOST}/{name}:v1")
    docker("rmi", f"{HOST}/{name}:v1")
    docker("pull", f"{HOST}/{name}:v1")
    assert shell.out("docker", "image", "inspect", "--format", "{{.Id}}", f"{HOST}/{name}:v1") == before
