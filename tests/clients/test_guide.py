"""The guide's commands, taken from its pages and run as a reader would; what they print must be what the page shows."""
import pathlib
import re
import subprocess

import pytest
from conftest import tool
from support.issuer import Issuer
from support.server import Funaya, ROOT, program

END = "--- done ---"


def steps(page):
    """The commands of a page's console blocks, each with what it shall print."""
    text = (ROOT / "docs" / page).read_text()
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def matches(expected, printed):
    """Whether the text is the expected one; `…` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.S)


class Reader:
    """One bash, so that variables and functions of one command are there for the next."""

    def __init__(self, env, home):
        self.bash = subprocess.Popen([tool("bash")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, env=env, cwd=home, text=True)

    def run(self, command):
        self.bash.stdin.write(f"{command}\necho; echo '{END}'\n")
        self.bash.stdin.flush()
        lines = []
        for line in self.bash.stdout:
            if line.strip() == END:
                return "".join(lines)
            lines.append(line)
        pytest.fail(f"bash ended at: {command}\n{''.join(lines)}")

    def close(self):
        self.bash.stdin.close()
        self.bash.wait(30)
        self.bash.stdout.close()


# The pages, and the settings that they speak of.
PAGES = {
    "access.md": {"FUNAYA_OIDC_LOOPBACK": "1"},
    "lifecycle.md": {},
    "undo.md": {},
    "garbage.md": {"FUNAYA_UNDO_WINDOW": "3s", "FUNAYA_GC_GRACE": "3s", "FUNAYA_GC_TRASH": "1s", "FUNAYA_GC_INTERVAL": "600s"},
}


@pytest.fixture
def unused(nothing_left, tmp_path, page):
    """A server that nobody has used before, as a reader has it."""
    funaya = Funaya(tmp_path / "data", env=PAGES[page]).start()
    yield funaya
    try:
        funaya.stop()
    finally:
        funaya.kill()


@pytest.fixture
def issuer(tmp_path):
    """An identity provider that signs tokens, as Kubernetes and CI platforms have it."""
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.mark.parametrize("page", PAGES)
def test_pages(page, unused, shell, docker, issuer, tmp_path):
    """The walk-throughs of the page, with the AWS CLI and Docker: IAM-02 to IAM-08, IAM-13, IAM-22, IAM-24, IAM-26,
    IAM-33, IAM-35, LIFE-41, IAM-60 to IAM-64, IAM-82, IAM-90, POL-04 to POL-07, POL-24, AUTH-14, AUTH-18, AUTH-19, V2-04,
    V2-06."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "funaya").symlink_to(program())
    token = tmp_path / "token"
    token.write_text(issuer.token(sub="system:serviceaccount:builds:runner", aud="sts.amazonaws.com"))
    env = {**shell.env, "PATH": f"{bin_folder}:{shell.env['PATH']}", "ISSUER": issuer.url, "TOKEN_FILE": str(token),
           "FUNAYA_DATA": str(unused.data), "DOCKER_BUILDKIT": "0", "AWS_PAGER": ""}
    reader = Reader(env, shell.home)
    setup = reader.run(f'eval "$(funaya credentials --account 123456789012 --public-url {unused.url} --format env)"; set +H')
    assert not setup.strip(), setup
    done = 0
    try:
        for command, expected in steps(pathlib.Path("guide") / page):
            printed = reader.run(command)
            assert matches(expected, printed), f"$ {command}\n{printed}\n--- but the page shows:\n{expected}"
            done += 1
    finally:
        reader.close()
    assert done >= 10
