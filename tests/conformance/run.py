#!/usr/bin/env python3
"""Runs the OCI conformance suite against Funaya, with every switch on.

What fails or is skipped must be listed in conformance.toml with a reason, and what is listed there must fail:
so the list can only shrink.

    tests/conformance/run.py                      start Funaya, run the suite, compare
    tests/conformance/run.py --md FILE            write the table of results there, too
    tests/conformance/run.py --against HOST:PORT  another registry, plain HTTP, open: only the table, no comparison
"""
import argparse
import base64
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.server import ACCESS_KEY, REGION, SECRET_KEY, Funaya, target_folder  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "funaya"
REPOSITORIES = ("conformance/repo1", "conformance/repo2")
# `1.1+dev` switches on cancelling uploads, digest headers and tag parameters; sparse manifests are off even there.
SWITCHES = {
    "OCI_VERSION": "1.1+dev",
    "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    "OCI_API_BLOBS_DIGEST_HEADER": "true",
    "OCI_API_BLOBS_MOUNT_ANONYMOUS": "true",
    "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_TAG_PARAM": "true",
    "OCI_DATA_SHA512": "true",
    "OCI_DATA_SPARSE": "true",
}
SECONDS = 300


def suite(registry, user, password, results):
    """Runs the suite; its own exit code says only whether all passed, which is judged below."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("OCI_")}
    env.update(SWITCHES, OCI_REGISTRY=registry, OCI_TLS="disabled", OCI_REPO1=REPOSITORIES[0],
               OCI_REPO2=REPOSITORIES[1], OCI_USERNAME=user, OCI_PASSWORD=password, OCI_RESULTS_DIR=str(results),
               OCI_LOG="error")
    results.mkdir(parents=True, exist_ok=True)
    for old in results.iterdir():
        old.unlink()
    with open(results / "output.txt", "w") as output:
        subprocess.run([str(CACHE / "bin" / "conformance")], env=env, cwd=results, stdin=subprocess.DEVNULL,
                       stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS)


def read(results):
    """Each leaf of the suite by name: how often it ended in which way, and what it said."""
    tests = collections.defaultdict(lambda: (collections.Counter(), []))
    for case in xml.etree.ElementTree.parse(results / "junit.xml").iter("testcase"):
        ends, said = tests[case.get("name").partition("/")[2]]
        ends[case.get("status")] += 1
        if case.get("status") != "passed":
            said += (case.findtext("system-out") or "").splitlines() or [f"({case.get('status')})"]
    return tests


def areas(results):
    """The suite's own verdict on each API and each kind of content, in its order."""
    text = (results / "output.txt").read_text()
    for title in ("API conformance", "Data conformance"):
        part = text.partition(title + ":\n")[2].partition("\n\n")[0]
        yield title, re.findall(r"^  (.*?)\.*: +(\S+)$", part, re.M)


def table(results, tests):
    """Markdown: counts by group of tests, then the suite's verdicts."""
    groups = collections.defaultdict(collections.Counter)
    for name, (ends, _) in tests.items():
        groups[name.split("/")[0]] += ends
    kinds = ("passed", "failure", "error", "skipped")
    total = sum(groups.values(), collections.Counter())
    rows = ["| tests | passed | failed | errors | skipped |", "|---|---:|---:|---:|---:|"]
    rows += [f"| {group} | " + " | ".join(str(ends[k]) for k in kinds) + " |" for group, ends in groups.items()]
    rows.append("| **all** | " + " | ".join(f"**{total[k]}**" for k in kinds) + " |")
    for title, verdicts in areas(results):
        rows += ["", f"| {title} | |", "|---|---|"] + [f"| {name} | {verdict} |" for name, verdict in verdicts]
    return "\n".join(rows) + "\n"


def compare(tests):
    """Faults: failures that no exception excuses, exceptions that nothing fails, a list that grew."""
    with open(HERE / "conformance.toml", "rb") as file:
        listed = tomllib.load(file)
    reasons = {e["test"]: e.get("reason", "").strip() for e in listed.get("exception", [])}
    bad = {name: said for name, (ends, said) in tests.items() if set(ends) != {"passed"}}
    faults = [f"{name}\n    " + "\n    ".join(said[:12]) for name, said in bad.items() if name not in reasons]
    faults += [f"{name}: passes now, or is not run: take it out of conformance.toml" for name in reasons if name not in bad]
    faults += [f"{name}: its exception gives no reason" for name, reason in reasons.items() if not reason]
    if len(reasons) != listed["most"]:
        faults.append(f"conformance.toml has {len(reasons)} exceptions; `most`, which only ever gets lower, says {listed['most']}")
    return faults, len(bad)


def token(server):
    """User and password as `aws ecr get-authorization-token` gives them; the first repository, as users make it."""
    import boto3  # of the tests' own environment; not needed with --against
    ecr = boto3.client("ecr", endpoint_url=server.url, region_name=REGION, aws_access_key_id=ACCESS_KEY,
                       aws_secret_access_key=SECRET_KEY)
    ecr.create_repository(repositoryName=REPOSITORIES[0])
    data = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(data).decode().split(":")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="HOST:PORT")
    parser.add_argument("--results", type=pathlib.Path, default=target_folder() / "conformance")
    parser.add_argument("--md", type=pathlib.Path, help="write the table of results to this file")
    options = parser.parse_args()
    if options.against:
        suite(options.against, "", "", options.results)
    else:
        with tempfile.TemporaryDirectory(prefix="funaya-conformance-") as folder:
            # The second repository is made by the first push to it.
            server = Funaya(f"{folder}/data", log=options.results.with_suffix(".log"),
                            env={"FUNAYA_RATE_QUOTAS": "off", "FUNAYA_CREATE_ON_PUSH": "conformance/*"})
            server.log.parent.mkdir(parents=True, exist_ok=True)
            server.log.write_bytes(b"")
            server.start()
            try:
                suite(server.url.partition("//")[2], *token(server), options.results)
                server.stop()
            finally:
                server.kill()
    tests = read(options.results)
    text = table(options.results, tests)
    (options.results / "summary.md").write_text(text)
    if options.md:
        options.md.write_text(text)
    print(text)
    if options.against:
        for name, (ends, said) in tests.items():
            if set(ends) != {"passed"}:
                print(f"- {name} ({dict(ends)}): {said[0]}")
        return
    faults, excused = compare(tests)
    for fault in faults:
        print("FAULT:", fault)
    print(f"every request and answer: {options.results / 'report.html'}")
    print(f"{len(tests) - excused} names of tests passed, {excused} did not")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
