"""Signature Version 4, and each way to get it wrong; the registry's own answers to strangers."""
import base64
import datetime
import hashlib
import json
import unittest.mock
import urllib.parse

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import ACCOUNT, HOST, OTHER_REGION, REGION, client
from support.server import ACCESS_KEY, SECRET_KEY
from support.web import Web

API = f"https://api.ecr.{REGION}.amazonaws.com"
TARGET = "AmazonEC2ContainerRegistry_V20150921."


def sign(operation="DescribeRegistry", body=b"{}", key=ACCESS_KEY, secret=SECRET_KEY, region=REGION, service="ecr",
         url=API + "/", minutes=0, token=None, auth=SigV4Auth):
    """A signed request of any kind: its URL, body and headers. `minutes` shifts the clock."""
    request = AWSRequest("POST", url, data=body, headers={
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": TARGET + operation, "Host": urllib.parse.urlsplit(url).netloc})
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(minutes=minutes)
    with unittest.mock.patch("botocore.auth.get_current_datetime", lambda *_: now):
        auth(Credentials(key, secret, token), service, region).add_auth(request)
    return request


def send(request, drop=(), change=None, body=None):
    """Sends it over plain HTTPS: status, error code, message."""
    url = urllib.parse.urlsplit(request.url)
    headers = {k: v for k, v in request.headers.items() if k.lower() not in drop}
    headers.update(change or {})
    reply = Web(f"https://{url.netloc}")("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""),
                                         request.body if body is None else body, headers)
    answer = json.loads(reply.body)
    assert reply.headers["x-amzn-requestid"]
    return reply.status, answer.get("__type", "").rpartition("#")[2], answer.get("message", ""), answer


@pytest.fixture(autouse=True)
def running(server):
    """All of it needs the server."""


def test_right(server):
    """AUTH-01: a request signed by hand gets in; both endpoint names answer."""
    for url in (API, f"https://ecr.{REGION}.amazonaws.com", f"https://{HOST}"):
        status, _, _, answer = send(sign(url=url + "/"))
        assert (status, answer["registryId"]) == (200, ACCOUNT), url


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_that_is_almost_right(minutes):
    """AUTH-02: up to 15 minutes."""
    assert send(sign(minutes=minutes))[0] == 200


@pytest.mark.parametrize("minutes, text", [(-16, "Signature expired"), (16, "Signature not yet current")])
def test_a_wrong_clock(minutes, text):
    """AUTH-02: more than 15 minutes off."""
    status, code, message, _ = send(sign(minutes=minutes))
    assert code == "InvalidSignatureException" and text in message and status in (400, 403)


def test_unsigned():
    """AUTH-02."""
    status, code, _, _ = send(sign(), drop=("authorization", "x-amz-date"))
    assert (code, 400 <= status < 500) == ("MissingAuthenticationTokenException", True)


def test_unknown_key():
    """AUTH-02."""
    status, code, message, _ = send(sign(key="AKIAIOSFODNN7EXAMPLE"))
    assert (status, code) == (400, "UnrecognizedClientException")
    assert message == "The security token included in the request is invalid."


def test_made_up_session_token():
    """AUTH-02: a long-term key with a session token is no temporary credential."""
    status, code, _, _ = send(sign(token="made up"))
    assert status in (400, 403) and code in ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException")


@pytest.mark.parametrize("fault", ["secret", "body", "signature", "target", "region", "service", "host"])
def test_signed_wrongly(fault):
    """AUTH-02: whatever is changed after signing, or signed for elsewhere."""
    request, options = sign(), {}
    if fault == "secret":
        request = sign(secret=SECRET_KEY[::-1])
    elif fault == "body":
        options["body"] = b'{"x":1}'
    elif fault == "signature":
        text = request.headers["Authorization"]
        options["change"] = {"Authorization": text[:-1] + ("0" if text[-1] != "0" else "1")}
    elif fault == "target":
        options["change"] = {"X-Amz-Target": TARGET + "DescribeRepositories"}
    elif fault == "region":
        request = sign(region=OTHER_REGION)
    elif fault == "service":
        request = sign(service="s3")
    elif fault == "host":
        options["change"] = {"Host": f"ecr.{REGION}.amazonaws.com"}
    status, code, _, _ = send(request, **options)
    assert status in (400, 403) and code in ("InvalidSignatureException", "SignatureDoesNotMatch"), (status, code)


@pytest.mark.parametrize("header", ["AWS4-HMAC-SHA256 nonsense", "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host", "Bearer x",
                                    "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=00"])
def test_malformed(header):
    """AUTH-02: an authorization that is none."""
    status, code, _, _ = send(sign(), change={"Authorization": header})
    assert status in (400, 403)
    assert code in ("IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidSignatureException"), code


class InQuery(SigV4QueryAuth):
    """The signature in the query. The SDK would move the body there as well; here it stays a body."""

    def add_auth(self, request):
        self.digest, request.data = hashlib.sha256(request.data).hexdigest(), b""
        super().add_auth(request)

    def payload(self, request):
        return self.digest


def test_in_the_query():
    """AUTH-03: the signature in the query instead of the headers."""
    assert send(sign(auth=InQuery), body=b"{}")[0] == 200
    status, code, _, _ = send(sign(secret="x", auth=InQuery), body=b"{}")
    assert status in (400, 403) and code == "InvalidSignatureException"
    status, code, _, _ = send(sign(auth=InQuery), body=b'{"x":1}')
    assert status in (400, 403) and code == "InvalidSignatureException"


@pytest.mark.parametrize("operation, body, code", [
    ("NoSuchThing", b"{}", "UnknownOperationException"), ("DescribeRegistry", b"{", "SerializationException"),
    ("DescribeRepositories", b'{"maxResults":"ten"}', "SerializationException"),
    ("DescribeRepositories", b'{"unknown":[{}]}', None), ("DescribeRegistry", b"[]", "SerializationException")])
def test_signed_but_wrong(operation, body, code):
    """Protocol facts: unknown operations, broken JSON, wrong types; unknown members are ignored."""
    status, found, _, _ = send(sign(operation=operation, body=body))
    assert (found or None) == code and (status == 200) == (code is None)


def test_regions_are_apart():
    """REG-03: the other Region's endpoint takes a signature for itself."""
    assert client(region=OTHER_REGION).describe_registry()["registryId"] == ACCOUNT


# --- the registry


@pytest.mark.parametrize("header", [None, "Basic", "Basic !!!", "Bearer abc", "Basic " + base64.b64encode(b"AWS").decode(), "nonsense"])
def test_strangers_at_the_registry(header):
    """V2-02, V2-05, ERR-40."""
    reply = Web(f"https://{HOST}", header)("GET", "/v2/")
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == f'Basic realm="https://{HOST}/",service="ecr.amazonaws.com"'
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    assert reply.body.strip() == b"Not Authorized"


def test_ping(web):
    """V2-01, V2-03, V2-13."""
    reply = web("GET", "/v2/")
    assert reply.status == 200 and reply.headers["docker-distribution-api-version"] == "registry/2.0"
    for old in ("/v0/", "/v1/", "/v1/_ping"):
        assert web("GET", old).status == 404


def test_denied(web):
    """AUTH-16, V2-04, ERR-42: another Region's token; another account's repository."""
    token = client(region=OTHER_REGION).get_authorization_token()["authorizationData"][0]["authorizationToken"]
    reply = Web(f"https://{HOST}", f"Basic {token}")("GET", "/v2/some/name/tags/list")
    assert reply.status == 403 and reply.errors()[0][0] == "DENIED"
    reply = Web(f"https://210987654321.dkr.ecr.{REGION}.amazonaws.com", web.authorization)("GET", "/v2/some/name/tags/list")
    assert reply.status == 403
    assert reply.errors() == [("DENIED", f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: ecr:ListImages on "
                               f"resource: arn:aws:ecr:{REGION}:210987654321:repository/some/name")]


def test_registry_errors(web, repository):
    """V2-09, V2-12, ERR-43 to ERR-49, ERR-52: status, code and text of each."""
    name, digest = repository(), "sha256:" + "0" * 64
    lost = f"The repository with name 'no/thing' does not exist in the registry with id '{ACCOUNT}'"
    for method, path in (("GET", "/v2/no/thing/tags/list"), ("POST", "/v2/no/thing/blobs/uploads/"),
                         ("GET", "/v2/no/thing/manifests/v1"), ("GET", f"/v2/no/thing/blobs/{digest}")):
        reply = web(method, path)
        assert (reply.status, reply.errors()) == (404, [("NAME_UNKNOWN", lost)]), path
    for path, code in ((f"/v2/{name}/manifests/none", "MANIFEST_UNKNOWN"), (f"/v2/{name}/blobs/{digest}", "BLOB_UNKNOWN"),
                       (f"/v2/{name}/blobs/uploads/00000000-0000-0000-0000-000000000000", "BLOB_UPLOAD_UNKNOWN")):
        reply = web("GET", path)
        assert (reply.status, reply.errors()[0][0]) == (404, code), path
    assert web("GET", f"/v2/{name}/manifests/none").errors()[0][1] == "Requested image not found"
    place = web("POST", f"/v2/{name}/blobs/uploads/").headers["location"]
    reply = web("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", b"other")
    assert (reply.status, reply.errors()[0][0]) == (400, "DIGEST_INVALID")
    reply = web.push_manifest(name, "v1", b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}')
    assert (reply.status, reply.errors()[0][0]) == (400, "MANIFEST_INVALID")
    reply = web("PUT", f"/v2/{name}/tags/list")
    assert (reply.status, reply.errors()[0][0]) == (405, "UNSUPPORTED")


def test_lists_of_tags(web, repository):
    """V2-10: pages with n and last, and the link to the next."""
    name = repository()
    web.push_blob(name, b"{}")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [], "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": web.push_blob(name, b"{}")}}
    tags = ["Z", "a", "a.b", "a_b", "b-1", "b1", "latest"]
    for tag in reversed(tags):
        assert web.push_manifest(name, tag, manifest).status == 201
    assert web("GET", f"/v2/{name}/tags/list").json() == {"name": name, "tags": sorted(tags)}
    seen, path = [], f"/v2/{name}/tags/list?n=3"
    while path:
        reply = web("GET", path)
        seen.append(reply.json()["tags"])
        link = reply.headers.get("link")
        path = link.partition("<")[2].partition(">")[0] if link else None
        assert not link or link.endswith('rel="next"')
    assert seen == [sorted(tags)[:3], sorted(tags)[3:6], sorted(tags)[6:]]
    names, path = [], "/v2/_catalog?n=2"
    while path:
        reply = web("GET", path)
        names += reply.json()["repositories"]
        link = reply.headers.get("link")
        path = link.partition("<")[2].partition(">")[0] if link else None
    assert name in names and names == sorted(names)
