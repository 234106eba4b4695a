"""The habits of a registry on one's own machine: plain HTTP, a port, no names. What `make run` starts."""
import json
import os

from conftest import ACCOUNT, REGION, client, password, run
from support.server import ACCESS_KEY, SECRET_KEY, program
from support.web import Web


def local(plain):
    """HOST:PORT of the server."""
    return plain.url.partition("//")[2]


def test_docker(plain, docker, shell, tmp_path):
    """OVW-06, REPO-04: docker takes 127.0.0.0/8 without TLS; the URI names the plain host."""
    host, ecr = local(plain), client(url=plain.url)
    made = ecr.create_repository(repositoryName="mine")["repository"]
    assert made["repositoryUri"] == f"{host}/mine"
    data = ecr.get_authorization_token()["authorizationData"]
    assert [d["proxyEndpoint"] for d in data] == [f"http://{host}"]
    secret = shell.out("aws", "--endpoint-url", plain.url, "ecr", "get-login-password")
    docker("login", "--username", "AWS", "--password-stdin", host, input=secret)
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "file").write_bytes(os.urandom(100_000))
    (tmp_path / "image" / "Dockerfile").write_text("FROM scratch\nCOPY file /\nCMD [\"/x\"]\n")
    docker("build", "-t", f"{host}/mine:v1", tmp_path / "image")
    docker("push", f"{host}/mine:v1")
    docker("rmi", f"{host}/mine:v1")
    docker("pull", f"{host}/mine:v1")
    refused = docker("tag", f"{host}/mine:v1", f"{host}/team/unknown:v1")
    refused = docker("push", f"{host}/team/unknown:v1", check=False)
    assert refused.returncode and "does not exist in the registry" in refused.stderr
    docker("tag", f"{host}/mine:v1", f"{host}/auto/known:v1")
    docker("push", f"{host}/auto/known:v1")
    names = [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]]
    assert "auto/known" in names and "team/unknown" not in names


def test_helm_and_the_tools_make_repositories(plain, shell):
    """The switch for clients that expect a push to create: FUNAYA_CREATE_ON_PUSH."""
    host, ecr = local(plain), client(url=plain.url)
    secret = password(ecr)
    shell("helm", "create", "cup")
    shell("helm", "package", "cup")
    shell("helm", "registry", "login", "--plain-http", "--username", "AWS", "--password-stdin", host, input=secret)
    shell("helm", "push", "--plain-http", "cup-0.1.0.tgz", f"oci://{host}/auto")
    assert ecr.describe_images(repositoryName="auto/cup")["imageDetails"][0]["imageTags"] == ["0.1.0"]
    (shell.home / "file").write_text("x")
    shell("oras", "push", "--plain-http", "--username", "AWS", "--password-stdin", f"{host}/auto/file:v1", "file", input=secret)
    shell("oras", "cp", "--from-plain-http", "--to-plain-http", "--from-username", "AWS", "--from-password", secret,
          "--to-username", "AWS", "--to-password", secret, f"{host}/auto/file:v1", f"{host}/auto/copy:v1")
    refused = shell("oras", "push", "--plain-http", "--username", "AWS", "--password-stdin", f"{host}/hand/file:v1", "file",
                    input=secret, check=False)
    assert refused.returncode and "name unknown" in refused.stderr.lower()


def test_skopeo_and_podman_without_tls(plain, shell, tmp_path):
    """EXT-02: --tls-verify=false."""
    host, ecr = local(plain), client(url=plain.url)
    secret = password(ecr)
    shell("skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin", host, input=secret)
    blobs = tmp_path / "image"
    (shell.home / "file").write_text("y")
    shell("oras", "push", "--plain-http", "--username", "AWS", "--password-stdin", f"{host}/auto/sk:v1", "file", input=secret)
    shell("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{host}/auto/sk:v1", f"dir:{blobs}")
    shell("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"dir:{blobs}", f"docker://{host}/auto/sk2:v1")
    assert ecr.describe_images(repositoryName="auto/sk2")["imageDetails"][0]["imageTags"] == ["v1"]


def test_health(plain):
    """GET /healthz and /readyz need no sign-in."""
    web = Web(plain.url)
    assert web("GET", "/healthz").status == 200
    assert web("GET", "/readyz").status == 200


def test_credentials_command(plain, shell):
    """The operator's command prints the root key in the three forms that shells, SDKs and scripts take."""
    def credentials(form):
        return run(program(), "credentials", "--data", plain.data, "--format", form, env={"PATH": os.environ["PATH"]}).stdout
    script = credentials("env") + "\nprintf '%s %s' \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\"\n"
    assert run("sh", "-ec", script, env={"PATH": os.environ["PATH"]}).stdout == f"{ACCESS_KEY} {SECRET_KEY}"
    process = json.loads(credentials("process"))
    assert process["Version"] == 1
    assert (process["AccessKeyId"], process["SecretAccessKey"]) == (ACCESS_KEY, SECRET_KEY)
    assert ACCESS_KEY in json.dumps(json.loads(credentials("json")))

    config = shell.home / "config"
    config.write_text(f"[default]\nregion = {REGION}\nendpoint_url = {plain.url}\n"
                      f"credential_process = {program()} credentials --data {plain.data} --format process\n")
    env = {k: v for k, v in shell.env.items() if not k.startswith("AWS_ACCESS") and not k.startswith("AWS_SECRET")}
    env["AWS_CONFIG_FILE"] = str(config)
    assert shell.json("aws", "ecr", "describe-registry", env=env)["registryId"] == ACCOUNT


def test_environment_of_a_second_terminal(plain, shell):
    """What `make run` prints: after `eval` the AWS CLI finds the server by itself."""
    line = run(program(), "credentials", "--data", plain.data, "--format", "env", env={"PATH": os.environ["PATH"]}).stdout
    env = {k: v for k, v in shell.env.items() if not k.startswith("AWS_")}
    env.update(AWS_EC2_METADATA_DISABLED="true", PATH=f"{os.path.dirname(shell_tool())}:{env['PATH']}")
    out = run("sh", "-ec", line + "\naws ecr describe-registry\n", env=env, cwd=shell.home).stdout
    assert json.loads(out)["registryId"] == ACCOUNT


def shell_tool():
    """Where the AWS CLI is."""
    from conftest import tool
    return tool("aws")


def test_one_server_on_a_folder(plain):
    """A second process on the same data folder refuses to start, in one sentence."""
    second = run(program(), "serve", "--data", plain.data, "--listen", "127.0.0.1:0", check=False, seconds=20,
                 env={"PATH": os.environ["PATH"]})
    assert second.returncode not in (0, None)
    assert second.stderr.strip()


def test_bad_settings(tmp_path):
    """Each wrong setting ends the start with a sentence and a code that is not 0."""
    for args in (["--listen", "nonsense"], ["--account", "12"], ["--tls-cert", "/none.pem", "--tls-key", "/none.pem"],
                 ["--region", "Mars!"]):
        done = run(program(), "serve", "--data", tmp_path / "data", *args, check=False, seconds=20,
                   env={"PATH": os.environ["PATH"]})
        assert done.returncode not in (0, None), args
        assert done.stderr.strip(), args
