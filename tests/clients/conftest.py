"""The world of the client tests: names, certificates, servers, a Docker daemon; made anew for each run."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import uuid

import boto3
import pytest
from support.server import ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY, Funaya, bound_to_parent
from support.web import Web

OTHER_ACCOUNT = "210987654321"
OTHER_REGION = "us-west-2"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
NAMES = [f"{service}.{region}.amazonaws.com" for region in (REGION, OTHER_REGION)
         for service in (f"{ACCOUNT}.dkr.ecr", f"{OTHER_ACCOUNT}.dkr.ecr", "api.ecr", "ecr",
                         f"prod-{region}-starport-layer-bucket.s3")]
# Not a loopback address, as Docker would take any certificate there; it exists in the tests' own network only.
ADDRESS = "192.0.2.10"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
AWS = {"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
       "AWS_CA_BUNDLE": BUNDLE, "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": ""}


def pytest_configure(config):
    if os.environ.get("FUNAYA_ISOLATED") != "1":
        pytest.exit("start these tests by tests/clients/run.sh", returncode=2)


def run(*command, env=None, input=None, check=True, cwd=None, seconds=120):
    """Runs a program; what it prints comes back as text. `check` wants exit code 0."""
    done = subprocess.run([str(c) for c in command], env=env, input=input, cwd=cwd, text=True, capture_output=True,
                          timeout=seconds)
    if check and done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
    return done


def tool(name):
    """A program that the set-up installs. A missing one is a failure, never a skip."""
    # What the set-up made, then Debian's own, then any other of that name.
    places = [os.environ["FUNAYA_TOOLS"], f"{sys.prefix}/bin", "/usr/bin", "/usr/sbin", "/bin", os.environ["PATH"]]
    found = shutil.which(name, path=":".join(places))
    assert found, f"{name} is missing: run tests/setup/setup.sh test"
    return found


def processes():
    """Other processes of this namespace that still do something."""
    mine = {1, os.getpid(), os.getppid()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = pathlib.Path(f"/proc/{pid}/stat").read_text()
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(pid) not in mine and text.rpartition(")")[2].split()[0] != "Z":
            yield f"{pid} {line}"


@pytest.fixture(scope="session", autouse=True)
def nothing_left():
    """Whatever the fixtures and tests start has ended when all is torn down."""
    yield
    end = time.monotonic() + 10
    while (left := list(processes())) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left, "left running: " + "; ".join(left)


@pytest.fixture(scope="session")
def certificate(nothing_left, tmp_path_factory):
    """A private CA that every client trusts by the machine's own bundle, names that lead here, and the server's key."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args):
        run(tool("openssl"), *args, cwd=folder)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *ec, "-days", "2", "-subj", "/CN=Funaya test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *ec, "-subj", "/CN=funaya", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in [*NAMES, "localhost"])
                                  + ",IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.pem")
    (folder / "bundle").write_bytes(pathlib.Path(BUNDLE).read_bytes() + (folder / "ca.pem").read_bytes())
    (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ADDRESS} {name}\n" for name in NAMES))
    run(tool("ip"), "address", "replace", f"{ADDRESS}/32", "dev", "lo")
    run("mount", "--bind", folder / "bundle", BUNDLE)
    run("mount", "--bind", folder / "hosts", "/etc/hosts")
    yield folder / "server.pem", folder / "server.key"
    run("umount", "/etc/hosts")
    run("umount", BUNDLE)


@pytest.fixture(scope="session")
def server(certificate, tmp_path_factory):
    """Funaya under the guide's own names, on port 443."""
    funaya = Funaya(tmp_path_factory.mktemp("server") / "data", listen=f"{ADDRESS}:443", tls=certificate,
                    suffix="amazonaws.com",
                    env={"FUNAYA_REGIONS": f"{REGION},{OTHER_REGION}", "FUNAYA_RATE_QUOTAS": "off"}).start()
    yield funaya
    try:
        funaya.stop()
    finally:
        funaya.kill()


@pytest.fixture(scope="session")
def plain(nothing_left, tmp_path_factory):
    """Funaya as `make run` has it: plain HTTP on a port of 127.0.0.1. A push below `auto/` makes the repository."""
    funaya = Funaya(tmp_path_factory.mktemp("plain") / "data", env={"FUNAYA_CREATE_ON_PUSH": "auto/*", "FUNAYA_OIDC_LOOPBACK": "1"}).start()
    yield funaya
    try:
        funaya.stop()
    finally:
        funaya.kill()


@pytest.fixture(scope="session")
def ecr(server):
    """The AWS SDK, as it comes: it finds the endpoint by the Region."""
    return client()


def client(region=REGION, key=ACCESS_KEY, secret=SECRET_KEY, url=None, **more):
    """An SDK client; one try, so that an error is seen as it comes."""
    config = boto3.session.Config(retries={"total_max_attempts": 1}, **more)
    return boto3.client("ecr", region_name=region, aws_access_key_id=key, aws_secret_access_key=secret,
                        endpoint_url=url, verify=BUNDLE, config=config)


def password(ecr):
    """What `get-login-password` prints."""
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode().removeprefix("AWS:")


@pytest.fixture(scope="session")
def web(ecr):
    """Plain HTTPS to the registry's host, signed in."""
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return Web(f"https://{HOST}", f"Basic {token}")


@pytest.fixture
def repository(ecr):
    """A new repository; `repository(...)` makes more, with CreateRepository's parameters. All are deleted after."""
    made = []

    def make(name=None, **parameters):
        name = name or f"test/{uuid.uuid4().hex[:12]}"
        ecr.create_repository(repositoryName=name, **parameters)
        made.append(name)
        return name
    yield make
    for name in made:
        try:
            ecr.delete_repository(repositoryName=name, force=True)
        except ecr.exceptions.RepositoryNotFoundException:
            pass


class Shell:
    """A user's shell: an own home, AWS settings in the environment, programs by their names."""

    def __init__(self, home, env):
        self.home, self.env = home, env

    def __call__(self, name, *args, **options):
        options.setdefault("env", self.env)
        options.setdefault("cwd", self.home)
        return run(tool(name), *args, **options)

    def out(self, name, *args, **options):
        """What the program prints, without the last newline."""
        return self(name, *args, **options).stdout.strip()

    def json(self, name, *args, **options):
        """What the program prints, as JSON."""
        return json.loads(self(name, *args, **options).stdout)


@pytest.fixture
def shell(server, tmp_path):
    """A user at a shell with nothing but a key."""
    home = tmp_path / "home"
    home.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home / ".docker"), "LANG": "C.UTF-8",
           "XDG_RUNTIME_DIR": str(home), "REGISTRY_AUTH_FILE": str(home / "auth.json"), **AWS}
    return Shell(home, env)


@pytest.fixture(scope="session")
def daemon(certificate, tmp_path_factory):
    """A Docker Engine of our own: own data, own socket, no bridge, no packet filter. Its address for DOCKER_HOST."""
    folder = tmp_path_factory.mktemp("docker")
    socket = f"unix://{folder}/docker.sock"
    for driver in ("overlay2", "vfs"):
        log = open(folder / "log", "ab")
        process = subprocess.Popen(
            [tool("dockerd"), "--data-root", folder / driver, "--exec-root", folder / "exec", "--pidfile", folder / "pid",
             "-H", socket, "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", driver,
             "--log-level", "warn"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=bound_to_parent)
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            if run(tool("docker"), "-H", socket, "version", check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            process.kill()
            process.wait()
            continue
        break
    else:
        pytest.fail("dockerd did not start: " + (folder / "log").read_text()[-3000:])
    yield socket
    process.terminate()
    process.wait(30)


@pytest.fixture
def docker(shell, daemon):
    """The docker command of that user. Images and containers of the test are gone after it."""
    shell.env["DOCKER_HOST"] = daemon

    def call(*args, **options):
        return shell("docker", *args, **options)
    yield call
    call("system", "prune", "--all", "--force", "--volumes")


def log_in(shell, docker, host=HOST):
    """The guide's line: `aws ecr get-login-password | docker login --username AWS --password-stdin HOST`."""
    secret = shell.out("aws", "ecr", "get-login-password", "--region", REGION)
    done = docker("login", "--username", "AWS", "--password-stdin", host, input=secret)
    assert "login succeeded" in done.stdout.lower()


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    """A folder for `docker build`: a static program, three more layers, no base image."""
    folder = tmp_path_factory.mktemp("context")
    (folder / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("Hello World!"); return 0; }\n')
    run(tool("cc"), "-static", "-Os", "-s", "-o", folder / "hello", folder / "hello.c")
    for number, size in enumerate((3_000_000, 7_000, 12_000_000)):
        (folder / f"data{number}").write_bytes(os.urandom(size))
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY hello /hello\nCOPY data0 /data0\nCOPY data1 /data1\n"
                                       "COPY data2 /data2\nEXPOSE 80\nCMD [\"/hello\"]\n")
    return folder
