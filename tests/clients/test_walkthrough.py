"""The guide's first steps, command by command, with the AWS CLI and the Docker Engine."""
import json
import re

from conftest import ACCOUNT, HOST, REGION, log_in

REPO = f"{HOST}/hello-world"


def test_walkthrough(shell, docker, context, server):
    """OVW-23, OVW-07, AUTH-30, IMG-01 to IMG-06, IMG-13, IMG-52, IMG-61, IMG-63, IMG-64, IMG-70 to IMG-72, REPO-18,
    REPO-40, REPO-41: create, log in, push, describe, pull, retag, delete; the server is restarted in between."""
    assert "aws-cli/" in shell.out("aws", "--version")

    docker("build", "-t", "hello-world", context)
    listed = shell.out("docker", "images", "--filter", "reference=hello-world")
    assert re.search(r"^hello-world +latest +[0-9a-f]{12}", listed, re.M)
    assert shell.out("docker", "run", "--rm", "--network", "none", "hello-world") == "Hello World!"

    log_in(shell, docker)
    made = shell.json("aws", "ecr", "create-repository", "--repository-name", "hello-world",
                      "--image-scanning-configuration", "scanOnPush=true", "--region", "us-east-1")["repository"]
    assert made["repositoryArn"] == f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/hello-world"
    assert made["repositoryUri"] == REPO
    assert made["registryId"] == ACCOUNT
    assert made["imageTagMutability"] == "MUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"] == {"encryptionType": "AES256"}

    docker("tag", "hello-world:latest", f"{REPO}:latest")
    pushed = docker("push", f"{REPO}:latest").stdout
    assert f"The push refers to repository [{REPO}]" in pushed
    assert pushed.count(": Pushed") == 4
    digest, size = re.search(r"latest: digest: (sha256:[0-9a-f]{64}) size: (\d+)", pushed).groups()

    def describe():
        return shell.json("aws", "ecr", "describe-images", "--repository-name", "hello-world")["imageDetails"]
    before = describe()
    assert [i["imageTags"] for i in before] == [["latest"]]
    assert before[0]["imageDigest"] == digest
    assert before[0]["registryId"] == ACCOUNT and before[0]["repositoryName"] == "hello-world"
    assert before[0]["imageManifestMediaType"] == "application/vnd.docker.distribution.manifest.v2+json"

    server.restart()
    assert describe() == before
    described = shell.json("aws", "ecr", "describe-repositories")["repositories"]
    assert made in described

    # The token outlives the restart too: no new login before the pull.
    docker("rmi", f"{REPO}:latest", "hello-world:latest")
    pulled = docker("pull", f"{REPO}:latest").stdout
    assert "latest: Pulling from hello-world" in pulled
    assert pulled.count(": Pull complete") == 4
    assert f"Digest: {digest}" in pulled
    assert f"Status: Downloaded newer image for {REPO}:latest" in pulled
    assert shell.out("docker", "run", "--rm", "--network", "none", f"{REPO}:latest") == "Hello World!"
    docker("pull", f"{REPO}@{digest}")

    manifest = shell.out("aws", "ecr", "batch-get-image", "--repository-name", "hello-world", "--image-ids",
                         "imageTag=latest", "--query", "images[].imageManifest", "--output", "text")
    assert len(manifest) == int(size)
    put = shell.json("aws", "ecr", "put-image", "--repository-name", "hello-world", "--image-tag", "2017.03",
                     "--image-manifest", manifest)["image"]
    assert put["imageId"] == {"imageDigest": digest, "imageTag": "2017.03"}
    assert put["imageManifest"] == manifest
    retagged = describe()
    assert [sorted(i["imageTags"]) for i in retagged] == [["2017.03", "latest"]]
    # It was pulled meanwhile, which is recorded a little later.
    moving = ("imageTags", "lastRecordedPullTime")
    assert {k: v for k, v in retagged[0].items() if k not in moving} == \
        {k: v for k, v in before[0].items() if k not in moving}
    assert f"Digest: {digest}" in docker("pull", f"{REPO}:2017.03").stdout

    refused = shell("aws", "ecr", "delete-repository", "--repository-name", "hello-world", check=False)
    assert refused.returncode in (254, 255)
    assert ("An error occurred (RepositoryNotEmptyException) when calling the DeleteRepository operation: The repository "
            f"with name 'hello-world' in registry with id '{ACCOUNT}' cannot be deleted because it still contains images"
            ) in refused.stderr

    deleted = shell.json("aws", "ecr", "batch-delete-image", "--repository-name", "hello-world", "--image-ids",
                         "imageTag=latest")
    assert deleted == {"failures": [], "imageIds": [{"imageTag": "latest", "imageDigest": digest}]}
    assert [i["imageTags"] for i in describe()] == [["2017.03"]]
    ids = shell.json("aws", "ecr", "list-images", "--repository-name", "hello-world")["imageIds"]
    assert ids == [{"imageTag": "2017.03", "imageDigest": digest}]

    server.restart()
    gone = shell.json("aws", "ecr", "delete-repository", "--repository-name", "hello-world", "--force")["repository"]
    assert gone["repositoryName"] == "hello-world"
    missing = docker("pull", f"{REPO}:2017.03", check=False)
    assert missing.returncode != 0 and "does not exist in the registry with id" in missing.stderr
    none = shell("aws", "ecr", "describe-repositories", "--repository-names", "hello-world", check=False)
    assert (f"RepositoryNotFoundException) when calling the DescribeRepositories operation: The repository with name "
            f"'hello-world' does not exist in the registry with id '{ACCOUNT}'") in none.stderr


def test_the_oldest_login(shell, docker):
    """AUTH-32, AUTH-33, AUTH-34: `get-login` prints a command that works as it is, also without the scheme."""
    printed = shell.out("aws", "ecr", "get-login", "--region", REGION, "--no-include-email")
    found = re.fullmatch(rf"docker login -u AWS -p (\S+) https://{re.escape(HOST)}", printed)
    assert found, printed
    for place in (f"https://{HOST}", HOST):
        assert "Login Succeeded" in docker("login", "-u", "AWS", "-p", found.group(1), place).stdout
    with_email = shell.out("aws", "ecr", "get-login", "--region", REGION)
    assert re.fullmatch(rf"docker login -u AWS -p \S+ -e none https://{re.escape(HOST)}", with_email), with_email
    other = shell.out("aws", "ecr", "get-login", "--no-include-email", "--registry-ids", "210987654321", ACCOUNT)
    assert re.findall(r"https://(\d+)\.", other) == ["210987654321", ACCOUNT]


def test_curl_with_the_token_as_it_came(shell, web, repository):
    """AUTH-36: Basic authentication with the raw token, and the answer's form."""
    name = repository()
    config = b"{}"
    web.push_blob(name, config)
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [], "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": web.push_blob(name, config), "size": 2}}
    for tag in ("latest", "2017.09"):
        assert web.push_manifest(name, tag, manifest).status == 201
    token = shell.out("aws", "ecr", "get-authorization-token", "--output", "text", "--query",
                      "authorizationData[].authorizationToken")
    answer = shell.out("curl", "-sSi", "--http1.1", "-H", f"Authorization: Basic {token}",
                       f"https://{HOST}/v2/{name}/tags/list")
    head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.split("\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    assert status == "HTTP/1.1 200 OK"
    assert headers["docker-distribution-api-version"] == "registry/2.0"
    assert headers["content-length"] == str(len(body))
    assert headers["date"]
    assert body == json.dumps({"name": name, "tags": ["2017.09", "latest"]}, separators=(",", ":"))


def test_commands_for_repository_tags(shell, repository):
    """TAG-30, TAG-33, TAG-34, REPO-18: the guide's commands."""
    name = repository()
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"
    shell("aws", "ecr", "tag-resource", "--resource-arn", arn, "--tags", "Key=stack,Value=dev")
    shell("aws", "ecr", "tag-resource", "--resource-arn", arn, "--tags", "Key=key1,Value=value1", "Key=key2,Value=value2",
          "Key=key3,Value=value3")
    shell("aws", "ecr", "untag-resource", "--resource-arn", arn, "--tag-keys", "key2")
    tags = shell.json("aws", "ecr", "list-tags-for-resource", "--resource-arn", arn)["tags"]
    assert {t["Key"]: t["Value"] for t in tags} == {"stack": "dev", "key1": "value1", "key3": "value3"}
    shell("aws", "ecr", "create-repository", "--repository-name", "test-repo", "--tags", "Key=team,Value=devs")
    tags = shell.json("aws", "ecr", "list-tags-for-resource", "--resource-arn",
                      f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/test-repo")["tags"]
    assert tags == [{"Key": "team", "Value": "devs"}]
    shell("aws", "ecr", "delete-repository", "--repository-name", "test-repo")


def test_other_region(shell):
    """REG-03, REPO-18: another Region's registry is another one."""
    made = shell.json("aws", "ecr", "create-repository", "--repository-name", "name", "--image-tag-mutability", "IMMUTABLE",
                      "--region", "us-west-2")["repository"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["repositoryUri"] == f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/name"
    here = shell("aws", "ecr", "describe-repositories", "--repository-names", "name", check=False)
    assert "RepositoryNotFoundException" in here.stderr
    changed = shell.json("aws", "ecr", "put-image-tag-mutability", "--repository-name", "name", "--image-tag-mutability",
                         "MUTABLE", "--region", "us-west-2")
    assert changed["imageTagMutability"] == "MUTABLE"
    shell("aws", "ecr", "delete-repository", "--repository-name", "name", "--region", "us-west-2")
