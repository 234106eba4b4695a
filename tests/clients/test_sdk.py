"""The ECR API through the AWS SDK for Python: every operation, its paging, its errors and their texts."""
import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid

import pytest
from botocore.exceptions import ClientError
from conftest import ACCOUNT, AWS, HOST, OTHER_ACCOUNT, REGION, client, password
from support.web import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, descriptor, image, sha256

MIB = 1 << 20


def fails(code, text, call, **parameters):
    """The call ends in this error; `text` is a part of its message, or None. Gives the whole answer."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    if text is not None:
        assert text in error["Message"], error
    return caught.value.response


def missing(name):
    return f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"


def upload(ecr, name, data, part=5 * MIB):
    """The layer upload API."""
    start = ecr.initiate_layer_upload(repositoryName=name)
    for first in range(0, len(data), part):
        chunk = data[first:first + part]
        done = ecr.upload_layer_part(repositoryName=name, uploadId=start["uploadId"], partFirstByte=first,
                                     partLastByte=first + len(chunk) - 1, layerPartBlob=chunk)
        assert done["lastByteReceived"] == first + len(chunk) - 1
    done = ecr.complete_layer_upload(repositoryName=name, uploadId=start["uploadId"], layerDigests=[sha256(data)])
    assert done["layerDigest"] == sha256(data) and done["uploadId"] == start["uploadId"]
    return sha256(data)


@pytest.fixture
def one(ecr, repository):
    """A repository with one image under the tag `v1`: the repository, the digest, the manifest, the layer."""
    name, layer, config = repository(), os.urandom(1000), json.dumps({"x": uuid.uuid4().hex}).encode()
    upload(ecr, name, layer)
    upload(ecr, name, config)
    manifest = image(config, [layer])
    ecr.put_image(repositoryName=name, imageManifest=manifest.decode(), imageTag="v1")
    return name, sha256(manifest), manifest.decode(), layer


# --- repositories


def test_create_repository(ecr, repository):
    """REPO-10 to REPO-12, REPO-04, REG-02, API-05: defaults and every member of the answer."""
    name = f"team-a/{uuid.uuid4().hex}"
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
    made = ecr.create_repository(repositoryName=name)["repository"]
    created = made.pop("createdAt")
    assert before < created < datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    assert made == {
        "repositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}", "registryId": ACCOUNT, "repositoryName": name,
        "repositoryUri": f"{HOST}/{name}", "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": False}, "encryptionConfiguration": {"encryptionType": "AES256"}}
    fails("RepositoryAlreadyExistsException",
          f"The repository with name '{name}' already exists in the registry with id '{ACCOUNT}'",
          ecr.create_repository, repositoryName=name)
    made["createdAt"] = created
    assert ecr.delete_repository(repositoryName=name)["repository"] == made
    fails("RepositoryNotFoundException", missing(name), ecr.delete_repository, repositoryName=name)


@pytest.mark.parametrize("name", ["Upper", "a_-b", "-a", "a/", "a//b", "a..b", "é", "a" * 257, "a___b"])
def test_repository_names(name):
    """REPO-02, ERR-12, API-75: the name's pattern, found by the server where the SDK does not look."""
    loose = client(parameter_validation=False)
    answer = fails("InvalidParameterException", "Invalid parameter at 'repositoryName' failed to satisfy constraint: '",
                   loose.create_repository, repositoryName=name)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("name", ["a__b", "a--b", "a.b-c_d/e", "0/1/2"])
def test_repository_names_that_are_right(repository, name):
    """REPO-01, REPO-02, API-82."""
    repository(name)


def test_describe_repositories(ecr, repository):
    """REPO-22 to REPO-25, API-76, API-77: paging in the order of names; by name; a missing one."""
    prefix = f"page/{uuid.uuid4().hex}"
    names = [repository(f"{prefix}/{n:02}") for n in range(7)]
    pages = list(ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2}))
    seen = [r["repositoryName"] for p in pages for r in p["repositories"]]
    assert seen == sorted(seen) and len(seen) == len(set(seen)) and set(names) <= set(seen)
    assert all(len(p["repositories"]) == 2 for p in pages[:-1])
    found = ecr.describe_repositories(repositoryNames=[names[3], names[1]])["repositories"]
    assert {r["repositoryName"] for r in found} == {names[1], names[3]}
    fails("RepositoryNotFoundException", missing("not/there"), ecr.describe_repositories,
          repositoryNames=[names[0], "not/there"])
    fails("InvalidParameterException", None, ecr.describe_repositories, repositoryNames=[names[0]], maxResults=5)
    fails("InvalidParameterException", None, ecr.describe_repositories, nextToken="made up")
    loose = client(parameter_validation=False)
    fails("InvalidParameterException", "Invalid parameter at 'maxResults' failed to satisfy constraint", loose.describe_repositories,
          maxResults=1001)
    fails("InvalidParameterException", "Invalid parameter at 'registryId' failed to satisfy constraint", loose.describe_repositories,
          registryId="12")


def test_mutability(ecr, one):
    """REPO-30, REPO-31, API-22, IMG-81, IMG-83, ERR-09."""
    name, digest, manifest, _ = one
    answer = ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    answer.pop("ResponseMetadata")
    assert answer == {"registryId": ACCOUNT, "repositoryName": name, "imageTagMutability": "IMMUTABLE"}
    fails("ImageTagAlreadyExistsException",
          f"The image tag 'v1' already exists in the '{name}' repository and cannot be overwritten because the repository "
          "is immutable.", ecr.put_image, repositoryName=name, imageManifest=manifest.replace("{", "{ ", 1), imageTag="v1")
    fails("ImageAlreadyExistsException", None, ecr.put_image, repositoryName=name, imageManifest=manifest, imageTag="v1")
    ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag="v2")
    loose = client(parameter_validation=False)
    fails("InvalidParameterException", None, loose.put_image_tag_mutability, repositoryName=name, imageTagMutability="SOMETIMES")
    fails("RepositoryNotFoundException", missing("not/there"), ecr.put_image_tag_mutability, repositoryName="not/there",
          imageTagMutability="MUTABLE")


def test_repository_tags(ecr, repository):
    """TAG-04, TAG-05, TAG-20 to TAG-26, TAG-30 to TAG-33, REPO-16."""
    name = repository(tags=[{"Key": "team", "Value": "devs"}])
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"

    def tags():
        return {t["Key"]: t["Value"] for t in ecr.list_tags_for_resource(resourceArn=arn)["tags"]}
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "team", "Value": "ops"}, {"Key": "Team", "Value": ""}])
    assert tags() == {"team": "ops", "Team": ""}
    ecr.untag_resource(resourceArn=arn, tagKeys=["team", "never"])
    assert tags() == {"Team": ""}
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": f"k{n}", "Value": "ü +-=._:/@"} for n in range(49)])
    fails("TooManyTagsException", None, ecr.tag_resource, resourceArn=arn, tags=[{"Key": "more", "Value": "x"}])
    assert len(tags()) == 50
    for bad in ([{"Key": "aws:x", "Value": "y"}], [{"Key": "k" * 129, "Value": "y"}], [{"Key": "k1", "Value": "v" * 257}],
                [{"Key": "k1", "Value": "a"}, {"Key": "k1", "Value": "b"}], [{"Key": "k1", "Value": "a*b"}]):
        fails("InvalidTagParameterException", None, ecr.tag_resource, resourceArn=arn, tags=bad)
    fails("InvalidTagParameterException", None, ecr.create_repository, repositoryName="rolled/back",
          tags=[{"Key": "aws:x", "Value": "y"}])
    fails("RepositoryNotFoundException", missing("rolled/back"), ecr.describe_repositories, repositoryNames=["rolled/back"])
    fails("InvalidParameterException", "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'",
          ecr.list_tags_for_resource, resourceArn="arn:none")
    fails("RepositoryNotFoundException", missing("not/there"), ecr.list_tags_for_resource,
          resourceArn=f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/not/there")


def test_delete_repository(ecr, one):
    """REPO-40 to REPO-46, ERR-03: not with images, unless forced; a new one of that name starts empty."""
    name, _, _, layer = one
    fails("RepositoryNotEmptyException",
          f"The repository with name '{name}' in registry with id '{ACCOUNT}' cannot be deleted because it still contains "
          "images", ecr.delete_repository, repositoryName=name)
    ecr.delete_repository(repositoryName=name, force=True)
    fails("RepositoryNotFoundException", missing(name), ecr.list_images, repositoryName=name)
    ecr.create_repository(repositoryName=name)
    assert ecr.list_images(repositoryName=name)["imageIds"] == []
    layers = ecr.batch_check_layer_availability(repositoryName=name, layerDigests=[sha256(layer)])["layers"]
    assert layers[0]["layerAvailability"] == "UNAVAILABLE"


# --- layers


def test_layer_upload(ecr, repository):
    """IMG-20 to IMG-28, IMG-59, API-85 to API-87: three parts, complete, put, and download without any sign-in."""
    name, layer, config = repository(), os.urandom(11 * MIB), b'{"os":"linux"}'
    start = ecr.initiate_layer_upload(repositoryName=name)
    assert start["partSize"] == 10_485_760
    assert str(uuid.UUID(start["uploadId"])) == start["uploadId"].lower()
    upload(ecr, name, layer)
    upload(ecr, name, config)
    seen = ecr.batch_check_layer_availability(repositoryName=name, layerDigests=[
        sha256(layer), sha256(config), sha256(b"never"), "nonsense", ""])
    assert [(x["layerDigest"], x["layerAvailability"], x.get("layerSize")) for x in seen["layers"]] == [
        (sha256(layer), "AVAILABLE", len(layer)), (sha256(config), "AVAILABLE", len(config)),
        (sha256(b"never"), "UNAVAILABLE", None)]
    assert [f["failureCode"] for f in seen["failures"]] == ["InvalidLayerDigest", "MissingLayerDigest"]

    fails("LayerInaccessibleException", None, ecr.get_download_url_for_layer, repositoryName=name, layerDigest=sha256(layer))
    manifest = image(config, [layer])
    put = ecr.put_image(repositoryName=name, imageManifest=manifest.decode(), imageTag="v1")["image"]
    assert put["imageId"] == {"imageDigest": sha256(manifest), "imageTag": "v1"}
    assert put["imageManifest"] == manifest.decode() and put["imageManifestMediaType"] == OCI_MANIFEST
    assert (put["registryId"], put["repositoryName"]) == (ACCOUNT, name)
    detail = ecr.describe_images(repositoryName=name)["imageDetails"][0]
    assert detail["imageSizeInBytes"] == len(layer) + len(config)

    answer = ecr.get_download_url_for_layer(repositoryName=name, layerDigest=sha256(layer))
    assert answer["layerDigest"] == sha256(layer)
    url = urllib.parse.urlsplit(answer["downloadUrl"])
    query = dict(urllib.parse.parse_qsl(url.query))
    assert url.scheme == "https" and query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" and query["X-Amz-Expires"] == "3600"
    with urllib.request.urlopen(answer["downloadUrl"]) as got:
        assert hashlib.sha256(got.read()).digest() == hashlib.sha256(layer).digest()
    request = urllib.request.Request(answer["downloadUrl"], headers={"Range": "bytes=10-19"})
    with urllib.request.urlopen(request) as got:
        assert got.status == 206 and got.read() == layer[10:20]
    changed = answer["downloadUrl"][:-1] + ("0" if answer["downloadUrl"][-1] != "0" else "1")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(changed)
    assert refused.value.code == 403


def test_layer_upload_faults(ecr, repository):
    """IMG-21 to IMG-25, ERR-14: parts out of order, too small, none; wrong digests; unknown uploads."""
    name, other = repository(), repository()
    start = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    send = lambda first, data, last=None, **more: ecr.upload_layer_part(  # noqa: E731
        **{"repositoryName": name, "uploadId": start, "partFirstByte": first,
           "partLastByte": first + len(data) - 1 if last is None else last, "layerPartBlob": data, **more})
    fails("EmptyUploadException", None, ecr.complete_layer_upload, repositoryName=name, uploadId=start,
          layerDigests=[sha256(b"")])
    send(0, b"x" * 5 * MIB)
    error = fails("InvalidLayerPartException", None, lambda **_: send(7, b"y"))
    assert error["lastValidByteReceived"] == 5 * MIB - 1
    assert (error["registryId"], error["repositoryName"], error["uploadId"]) == (ACCOUNT, name, start)
    fails("InvalidLayerPartException", None, lambda **_: send(5 * MIB, b"yy", last=5 * MIB + 7))
    fails("InvalidLayerPartException", None, lambda **_: send(0, b"x" * 5 * MIB))
    fails("UploadNotFoundException", None, lambda **_: send(5 * MIB, b"y", uploadId=str(uuid.uuid4())))
    fails("UploadNotFoundException", None, lambda **_: send(5 * MIB, b"y", repositoryName=other))
    send(5 * MIB, b"y")
    fails("InvalidLayerException", None, ecr.complete_layer_upload, repositoryName=name, uploadId=start,
          layerDigests=[sha256(b"other")])

    small = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    with pytest.raises(ClientError) as caught:
        for first in (0, 10):
            ecr.upload_layer_part(repositoryName=name, uploadId=small, partFirstByte=first, partLastByte=first + 9,
                                  layerPartBlob=b"0123456789")
        ecr.complete_layer_upload(repositoryName=name, uploadId=small, layerDigests=[sha256(b"0123456789" * 2)])
    assert caught.value.response["Error"]["Code"] == "LayerPartTooSmallException"

    digest = upload(ecr, name, b"there")
    again = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    ecr.upload_layer_part(repositoryName=name, uploadId=again, partFirstByte=0, partLastByte=4, layerPartBlob=b"there")
    fails("LayerAlreadyExistsException", None, ecr.complete_layer_upload, repositoryName=name, uploadId=again,
          layerDigests=[digest])
    fails("LayersNotFoundException", sha256(b"never"), ecr.get_download_url_for_layer, repositoryName=name,
          layerDigest=sha256(b"never"))
    fails("RepositoryNotFoundException", missing("not/there"), ecr.initiate_layer_upload, repositoryName="not/there")
    too_big = client(parameter_validation=False)
    last = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    with pytest.raises(ClientError) as caught:
        too_big.upload_layer_part(repositoryName=name, uploadId=last, partFirstByte=0, partLastByte=20_971_520,
                                  layerPartBlob=b"z" * 20_971_521)
    assert caught.value.response["Error"]["Code"] in ("InvalidLayerPartException", "InvalidParameterException")


# --- images


def test_put_image_faults(ecr, one):
    """IMG-12, IMG-28, ERR-08, ERR-13, ERR-15: what PutImage refuses, and that nothing changes by it."""
    name, digest, manifest, layer = one
    fails("ImageAlreadyExistsException",
          f"Image with digest '{digest}' and tag 'v1' already exists in the repository with name '{name}' in registry with id "
          f"'{ACCOUNT}'", ecr.put_image, repositoryName=name, imageManifest=manifest, imageTag="v1")
    absent = image(b"{}", [b"absent"])
    fails("LayersNotFoundException", sha256(b"absent"), ecr.put_image, repositoryName=name, imageManifest=absent.decode())
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST, b"absent")]})
    fails("ReferencedImagesNotFoundException", sha256(b"absent"), ecr.put_image, repositoryName=name, imageManifest=index)
    fails("ImageDigestDoesNotMatchException", None, ecr.put_image, repositoryName=name, imageManifest=manifest,
          imageDigest=sha256(b"other"))
    bare = json.dumps({"schemaVersion": 2, "config": descriptor(OCI_CONFIG, layer), "layers": []})
    fails("InvalidParameterException", None, ecr.put_image, repositoryName=name, imageManifest=bare)
    ecr.put_image(repositoryName=name, imageManifest=bare, imageManifestMediaType=OCI_MANIFEST, imageTag="bare")
    for bad in ("git hash", "-x", "a" * 301):
        fails("InvalidParameterException", None, client(parameter_validation=False).put_image, repositoryName=name,
              imageManifest=manifest, imageTag=bad)
    for bad in ("{", "[]", '"x"', '{"schemaVersion":2}', "{" * 100_000):
        fails("InvalidParameterException", None, ecr.put_image, repositoryName=name, imageManifest=bad)
    assert {t for i in ecr.describe_images(repositoryName=name)["imageDetails"] for t in i["imageTags"]} == {"v1", "bare"}


def test_batch_get_image(ecr, one):
    """IMG-55, IMG-65, API-78: ids by tag, by digest, by both; what does not fit is a failure of its own."""
    name, digest, manifest, _ = one
    answer = ecr.batch_get_image(repositoryName=name, imageIds=[
        {"imageTag": "v1"}, {"imageDigest": digest}, {"imageTag": "v1", "imageDigest": digest}])
    assert len(answer["images"]) >= 1 and not answer["failures"]
    assert {i["imageManifest"] for i in answer["images"]} == {manifest}
    assert all(i["imageManifestMediaType"] == OCI_MANIFEST and i["imageId"]["imageDigest"] == digest for i in answer["images"])
    cases = [({"imageTag": "none"}, "ImageNotFound", "Requested image not found"),
             ({"imageDigest": sha256(b"none")}, "ImageNotFound", "Requested image not found"),
             ({}, "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"),
             ({"imageDigest": "nonsense"}, "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the "
              "regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"),
             ({"imageTag": "v1", "imageDigest": sha256(b"none")}, "ImageTagDoesNotMatchDigest", None)]
    for call in (ecr.batch_get_image, ecr.batch_delete_image):
        for identifier, code, reason in cases:
            failures = call(repositoryName=name, imageIds=[identifier])["failures"]
            if call == ecr.batch_delete_image and code == "ImageTagDoesNotMatchDigest":
                assert failures[0]["failureCode"] in (code, "ImageNotFound"), failures
                continue
            assert [f["failureCode"] for f in failures] == [code], (identifier, failures)
            assert failures[0]["imageId"] == identifier
            if reason:
                assert failures[0]["failureReason"] == reason
    fails("RepositoryNotFoundException", missing("not/there"), ecr.batch_get_image, repositoryName="not/there",
          imageIds=[{"imageTag": "v1"}])
    assert len(ecr.list_images(repositoryName=name)["imageIds"]) == 1


def test_describe_images(ecr, one):
    """IMG-58, ERR-07, API-77."""
    name, digest, manifest, layer = one
    detail = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": "v1"}])["imageDetails"]
    assert len(detail) == 1
    assert detail[0].items() >= {
        "registryId": ACCOUNT, "repositoryName": name, "imageDigest": digest, "imageTags": ["v1"],
        "imageSizeInBytes": len(layer) + json.loads(manifest)["config"]["size"], "imageManifestMediaType": OCI_MANIFEST,
        "artifactMediaType": OCI_CONFIG}.items()
    assert abs(detail[0]["imagePushedAt"].timestamp() - time.time()) < 60
    for identifier, text in (({"imageTag": "x"}, "{imageDigest:'null', imageTag:'x'}"),
                             ({"imageDigest": sha256(b"x")}, f"{{imageDigest:'{sha256(b'x')}', imageTag:'null'}}")):
        fails("ImageNotFoundException", f"The image with imageId {text} does not exist within the repository with name '{name}' "
              f"in the registry with id '{ACCOUNT}'", ecr.describe_images, repositoryName=name, imageIds=[identifier])
    fails("InvalidParameterException", None, ecr.describe_images, repositoryName=name, imageIds=[{"imageTag": "v1"}], maxResults=5)
    fails("RepositoryNotFoundException", missing("not/there"), ecr.describe_images, repositoryName="not/there")


def test_pull_time_exclusions(ecr):
    """API-37, API-48, API-54."""
    arn = f"arn:aws:iam::{ACCOUNT}:role/team/scanner"
    made = ecr.register_pull_time_update_exclusion(principalArn=arn)
    assert made["principalArn"] == arn and abs(made["createdAt"].timestamp() - time.time()) < 60
    text = f"The pull time update exclusion for '{arn}' already exists in the registry"
    fails("ExclusionAlreadyExistsException", text, ecr.register_pull_time_update_exclusion, principalArn=arn)
    assert arn in ecr.list_pull_time_update_exclusions(maxResults=1000)["pullTimeUpdateExclusions"]
    assert ecr.deregister_pull_time_update_exclusion(principalArn=arn)["principalArn"] == arn
    assert arn not in ecr.list_pull_time_update_exclusions()["pullTimeUpdateExclusions"]
    text = f"The pull time update exclusion for '{arn}' does not exist in the registry"
    fails("ExclusionNotFoundException", text, ecr.deregister_pull_time_update_exclusion, principalArn=arn)
    fails("InvalidParameterException", None, ecr.register_pull_time_update_exclusion, principalArn=f"arn:aws:iam::{ACCOUNT}:root")


def test_delete_images(ecr, one):
    """IMG-60 to IMG-64: the last tag takes the image with it; a digest takes all its tags."""
    name, digest, manifest, _ = one
    for tag in ("v2", "v3"):
        ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag=tag)
    assert ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "v3"}])["imageIds"] == [
        {"imageDigest": digest, "imageTag": "v3"}]
    gone = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    assert sorted(i["imageTag"] for i in gone["imageIds"]) == ["v1", "v2"] and not gone["failures"]
    assert ecr.list_images(repositoryName=name)["imageIds"] == []
    ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag="only")
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "only"}])
    assert ecr.describe_images(repositoryName=name)["imageDetails"] == []
    ecr.put_image(repositoryName=name, imageManifest=manifest)
    gone = ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    assert gone["imageIds"] == [{"imageDigest": digest}]


@pytest.fixture(scope="module")
def many(ecr):
    """A repository of 25 tagged and 5 untagged images."""
    name = f"many/{uuid.uuid4().hex}"
    ecr.create_repository(repositoryName=name)
    upload(ecr, name, b"{}")
    manifests = [image(b"{}", [], annotations={"n": str(n)}) for n in range(30)]
    for n, manifest in enumerate(manifests):
        tag = {"imageTag": f"t{n:02}"} if n < 25 else {}
        ecr.put_image(repositoryName=name, imageManifest=manifest.decode(), **tag)
    yield name, [sha256(m) for m in manifests]
    ecr.delete_repository(repositoryName=name, force=True)


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_pages(ecr, many, size):
    """IMG-57, IMG-58, API-76, API-89: each item once, whatever the page; filters; no token at the end."""
    name, digests = many

    def listed(operation, key, **more):
        pages = list(ecr.get_paginator(operation).paginate(repositoryName=name, PaginationConfig={"PageSize": size}, **more))
        assert all(len(p[key]) <= size for p in pages) and "nextToken" not in pages[-1]
        return [x for p in pages for x in p[key]]
    ids = listed("list_images", "imageIds")
    assert sorted((i["imageDigest"], i.get("imageTag")) for i in ids if "imageTag" in i) == \
        sorted((d, f"t{n:02}") for n, d in enumerate(digests[:25]))
    assert sorted(i["imageDigest"] for i in ids if "imageTag" not in i) == sorted(digests[25:])
    assert len(listed("list_images", "imageIds", filter={"tagStatus": "TAGGED"})) == 25
    assert len(listed("list_images", "imageIds", filter={"tagStatus": "UNTAGGED"})) == 5
    assert sorted(i["imageDigest"] for i in listed("describe_images", "imageDetails")) == sorted(digests)
    untagged = listed("describe_images", "imageDetails", filter={"tagStatus": "UNTAGGED"})
    assert sorted(i["imageDigest"] for i in untagged) == sorted(digests[25:]) and "imageTags" not in untagged[0]


def test_pages_while_images_come_and_go(ecr, server, many):
    """API-76: a token outlives a restart; what was there all along is shown once, whatever else changed."""
    name, digests = many
    first = ecr.describe_images(repositoryName=name, maxResults=10)
    coming = image(b"{}", [], annotations={"n": "coming"})
    ecr.put_image(repositoryName=name, imageManifest=coming.decode(), imageTag="t00x")
    shown = [i["imageDigest"] for i in first["imageDetails"]]
    extra = image(b"{}", [], annotations={"n": "going"})
    ecr.put_image(repositoryName=name, imageManifest=extra.decode(), imageTag="zz")
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "zz"}])
    server.restart()
    token = first["nextToken"]
    while token:
        page = ecr.describe_images(repositoryName=name, maxResults=10, nextToken=token)
        shown += [i["imageDigest"] for i in page["imageDetails"]]
        token = page.get("nextToken")
    assert len(shown) == len(set(shown)) and set(digests) <= set(shown) <= {*digests, sha256(coming)}
    fails("InvalidParameterException", None, ecr.list_images, repositoryName=name, nextToken=first["nextToken"])
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "t00x"}])


def test_referrers(ecr, one):
    """API-47: pages, the filter by kind, a subject that is not there."""
    name, digest, manifest, layer = one
    subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(manifest)}
    upload(ecr, name, b"{}")
    made = {}
    for n in range(5):
        kind = f"application/vnd.acme.{'sbom' if n % 2 else 'signature'}"
        text = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "layers": [],
                           "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "subject": subject,
                           "annotations": {"n": str(n)}})
        ecr.put_image(repositoryName=name, imageManifest=text)
        made[sha256(text.encode())] = (kind, len(text), str(n))
    found, token = [], {}
    while True:
        page = ecr.list_image_referrers(repositoryName=name, subjectId={"imageDigest": digest}, maxResults=2, **token)
        found += page["referrers"]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert {r["digest"]: (r["artifactType"], r["size"], r["annotations"]["n"]) for r in found} == made
    sboms = ecr.list_image_referrers(repositoryName=name, subjectId={"imageDigest": digest},
                                     filter={"artifactTypes": ["application/vnd.acme.sbom"]})["referrers"]
    assert {r["digest"] for r in sboms} == {d for d, (kind, _, _) in made.items() if kind.endswith("sbom")}
    assert ecr.list_image_referrers(repositoryName=name, subjectId={"imageDigest": sha256(b"none")})["referrers"] == []


# --- the registry, its tokens, other accounts


def test_authorization_token(ecr):
    """AUTH-10 to AUTH-13, AUTH-17, API-84."""
    before = time.time()
    data = ecr.get_authorization_token()["authorizationData"]
    assert [d["proxyEndpoint"] for d in data] == [f"https://{HOST}"]
    assert abs(data[0]["expiresAt"].timestamp() - before - 12 * 3600) < 60
    user, secret = base64.b64decode(data[0]["authorizationToken"]).decode().split(":")
    assert user == "AWS" and secret and not set(secret) & set(" \t\n:")
    data = ecr.get_authorization_token(registryIds=[OTHER_ACCOUNT, ACCOUNT])["authorizationData"]
    assert [d["proxyEndpoint"] for d in data] == [f"https://{a}.dkr.ecr.{REGION}.amazonaws.com" for a in (OTHER_ACCOUNT, ACCOUNT)]
    loose = client(parameter_validation=False)
    fails("InvalidParameterException", None, loose.get_authorization_token, registryIds=[f"{n:012}" for n in range(11)])


def test_describe_registry(ecr):
    """API-41, API-72, REG-01."""
    answer = ecr.describe_registry()
    assert answer["registryId"] == ACCOUNT and answer["replicationConfiguration"] == {"rules": []}


def test_another_account(ecr):
    """REG-06, API-74, ERR-20, ERR-22: nothing of another account's registry, not even whether it is there."""
    text = f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: ecr:{{}} on resource: {{}}"
    arn = f"arn:aws:ecr:{REGION}:{OTHER_ACCOUNT}:repository/"
    for action, resource, call, more in (
            ("DescribeRepositories", arn + "*", ecr.describe_repositories, {}),
            ("DescribeRepositories", arn + "theirs", ecr.describe_repositories, {"repositoryNames": ["theirs"]}),
            ("ListImages", arn + "theirs", ecr.list_images, {"repositoryName": "theirs"}),
            ("BatchGetImage", arn + "theirs", ecr.batch_get_image, {"repositoryName": "theirs", "imageIds": [{"imageTag": "x"}]}),
            ("PutImage", arn + "theirs", ecr.put_image, {"repositoryName": "theirs", "imageManifest": "{}"}),
            ("InitiateLayerUpload", arn + "theirs", ecr.initiate_layer_upload, {"repositoryName": "theirs"}),
            ("DeleteRepository", arn + "theirs", ecr.delete_repository, {"repositoryName": "theirs"}),
            ("CreateRepository", arn + "theirs", ecr.create_repository, {"repositoryName": "theirs"})):
        fails("AccessDeniedException", text.format(action, resource), call, registryId=OTHER_ACCOUNT, **more)
    fails("AccessDeniedException", text.format("TagResource", arn + "theirs"), ecr.tag_resource, resourceArn=arn + "theirs",
          tags=[{"Key": "a", "Value": "b"}])


BUILT = {"RegisterPullTimeUpdateExclusion", "DeregisterPullTimeUpdateExclusion", "ListPullTimeUpdateExclusions",
         "CreateRepository", "DescribeRepositories", "DeleteRepository", "PutImage", "BatchGetImage", "BatchDeleteImage",
         "ListImages", "DescribeImages", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload",
         "BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "GetAuthorizationToken", "TagResource", "UntagResource",
         "ListTagsForResource", "PutImageTagMutability", "DescribeRegistry", "ListImageReferrers", "SetRepositoryPolicy",
         "GetRepositoryPolicy", "DeleteRepositoryPolicy", "PutRegistryPolicy", "GetRegistryPolicy", "DeleteRegistryPolicy",
         "PutLifecyclePolicy", "GetLifecyclePolicy", "DeleteLifecyclePolicy", "StartLifecyclePolicyPreview",
         "GetLifecyclePolicyPreview"}
# Values for the members that an operation requires.
VALUES = {
    "repositoryNames": ["some/name"], "imageId": {"imageTag": "v1"}, "policyText": '{"Version":"2012-10-17","Statement":[]}',
    "lifecyclePolicyText": json.dumps({"rules": [{"rulePriority": 1, "description": "Keep only one untagged image", "selection": {
        "tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}]}),
    "imageScanningConfiguration": {"scanOnPush": True}, "ecrRepositoryPrefix": "cache",
    "upstreamRegistryUrl": "public.ecr.aws", "prefix": "team", "appliedFor": ["CREATE_ON_PUSH"],
    "principalArn": f"arn:aws:iam::{ACCOUNT}:role/reader", "targetStorageClass": "ARCHIVE", "name": "BASIC_SCAN_TYPE_VERSION",
    "value": "AWS_NATIVE", "replicationConfiguration": {"rules": []}, "signingConfiguration": {"rules": []},
}
# Operations that AWS added after the API that the product speaks.
NEWER = {"DescribeReplicationBackfillResults", "ListReplicationBackfills", "StartReplicationBackfill", "StopReplicationBackfill"}
OPERATIONS = sorted(set(client().meta.service_model.operation_names) - NEWER)


def test_all_operations_are_known():
    """API-72: 58 operations, one way or another."""
    assert len(OPERATIONS) == 58 and BUILT <= set(OPERATIONS)


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - BUILT))
def test_operations_to_come(ecr, repository, operation):
    """API-72, OVW-30: a modelled error, or for reads the empty configuration; never a fault of the server's."""
    model = ecr.meta.service_model.operation_model(operation)
    needed = model.input_shape.required_members
    parameters = {m: repository() if m == "repositoryName" else VALUES[m] for m in needed}
    try:
        ecr._make_api_call(operation, parameters)
        assert operation.startswith(("Get", "Describe", "List", "BatchGet")), f"{operation} claims to have done it"
    except ClientError as e:
        assert e.response["Error"]["Code"] in {s.name for s in model.error_shapes}, e
        assert e.response["Error"]["Code"] != "ServerException" and e.response["Error"]["Message"], e
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_an_operation_of_later_days(ecr):
    """OVW-30: what AWS has added since is unknown here, and said to be."""
    fails("UnknownOperationException", None, ecr.list_replication_backfills)


def test_request_ids(ecr):
    """Protocol: each answer names its request, also an error."""
    seen = {ecr.describe_registry()["ResponseMetadata"]["RequestId"]}
    seen.add(fails("RepositoryNotFoundException", None, ecr.list_images, repositoryName="no/thing")["ResponseMetadata"]["RequestId"])
    assert len({str(uuid.UUID(x)) for x in seen}) == 2


# --- an old SDK, in a process of its own

OLD = """
import base64, hashlib, json, sys
import boto3
assert boto3.__version__ == "1.14.63"
ecr = boto3.client("ecr")
name = sys.argv[1]
made = ecr.create_repository(repositoryName=name, imageTagMutability="MUTABLE", tags=[{"Key": "a", "Value": "b"}])["repository"]
assert made["encryptionConfiguration"]["encryptionType"] == "AES256"
digest = lambda b: "sha256:" + hashlib.sha256(b).hexdigest()
for data in (b"{}", b"layer"):
    upload = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    ecr.upload_layer_part(repositoryName=name, uploadId=upload, partFirstByte=0, partLastByte=len(data) - 1, layerPartBlob=data)
    ecr.complete_layer_upload(repositoryName=name, uploadId=upload, layerDigests=[digest(data)])
v2 = "application/vnd.docker.distribution.manifest.v2+json"
text = json.dumps({"schemaVersion": 2, "mediaType": v2,
    "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest(b"{}"), "size": 2},
    "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": digest(b"layer"), "size": 5}]})
ecr.put_image(repositoryName=name, imageManifest=text, imageTag="v1")
assert ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])["images"][0]["imageManifest"] == text
assert ecr.describe_images(repositoryName=name)["imageDetails"][0]["imageSizeInBytes"] == 7
assert ecr.list_images(repositoryName=name)["imageIds"] == [{"imageDigest": digest(text.encode()), "imageTag": "v1"}]
assert ecr.batch_check_layer_availability(repositoryName=name, layerDigests=[digest(b"layer")])["layers"][0]["layerAvailability"] == "AVAILABLE"
assert ecr.get_download_url_for_layer(repositoryName=name, layerDigest=digest(b"layer"))["downloadUrl"]
assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "a", "Value": "b"}]
ecr.untag_resource(resourceArn=made["repositoryArn"], tagKeys=["a"])
ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
assert base64.b64decode(ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]).startswith(b"AWS:")
try:
    ecr.delete_repository(repositoryName=name)
except ecr.exceptions.RepositoryNotEmptyException:
    pass
ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])
ecr.delete_repository(repositoryName=name)
print("done")
"""


def test_sdk_of_2020(server):
    """API-80: an SDK whose model is of the guide's time calls and parses all that it knows."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["FUNAYA_SDK_2020"], "HOME": "/nonexistent", **AWS}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", OLD, f"old/{uuid.uuid4().hex}"], env=env, text=True,
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_password_is_the_same_by_all_doors(ecr, web):
    """AUTH-30, AUTH-10: what the token says is what Basic takes."""
    from support.web import Web
    header = "Basic " + base64.b64encode(f"AWS:{password(ecr)}".encode()).decode()
    assert Web(f"https://{HOST}", header)("GET", "/v2/").status == 200
