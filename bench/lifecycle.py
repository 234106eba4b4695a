"""What a lifecycle policy of 10 rules costs in a repository of 100,000 images: how long a preview takes, what memory it
adds, and how much slower manifest GETs are while the policy is evaluated every second. In turns on one server.

    ~/.cache/funaya/venv/bin/python bench/lifecycle.py
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

from access import KEY, client, push, rate, token


def policy(count):
    """Nine rules by tag and one by age; with a large `count` nothing expires."""
    rules = [{"rulePriority": n, "selection": {"tagStatus": "tagged", "tagPrefixList": [f"v0{n}"],
                                               "countType": "imageCountMoreThan", "countNumber": count},
              "action": {"type": "expire"}} for n in range(1, 10)]
    rules.append({"rulePriority": 10, "selection": {"tagStatus": "any", "countType": "sinceImagePushed",
                                                    "countUnit": "days", "countNumber": 365},
                  "action": {"type": "expire"}})
    return json.dumps({"rules": rules})


def memory(process, name):
    """MiB of `RssAnon` or another line."""
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise AssertionError(name)


def watch(process, stop, peak):
    """Keeps the most memory that is the server's own: without pages of the database's file."""
    while not stop.is_set():
        peak.append(memory(process, "RssAnon"))
        time.sleep(0.002)


def preview(ecr, name):
    """Seconds until a preview is complete, and how many images it marks."""
    began = time.monotonic()
    ecr.start_lifecycle_policy_preview(repositoryName=name, lifecyclePolicyText=policy(100))
    while True:
        found = ecr.get_lifecycle_policy_preview(repositoryName=name, maxResults=1)
        if found["status"] == "COMPLETE":
            return time.monotonic() - began, found["summary"]["expiringImageTotalCount"]
        time.sleep(0.002)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="target/release/funaya")
    parser.add_argument("--xtask", default="target/release/xtask")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "FUNAYA_RATE_QUOTAS": "off", "FUNAYA_ROOT_ACCESS_KEY_ID": KEY[0], "FUNAYA_LOG": "error",
               "FUNAYA_ROOT_SECRET_ACCESS_KEY": KEY[1], "FUNAYA_LIFECYCLE_INTERVAL": "1s",
               "FUNAYA_IMAGES_PER_REPOSITORY": str(options.images), "FUNAYA_ACCOUNT": "123456789012"}
        data = f"{folder}/data"
        subprocess.run([options.xtask, "populate", "--data", data, "--repositories", "1", "--images",
                        str(options.images), "--bin", options.bin], check=True, env=env)
        line = ["taskset", "-c", "0", options.bin, "serve", "--data", data, "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().split()[-1]
            ecr = client(url, "ecr")
            root, big = token(ecr), "many/r00000"
            ecr.create_repository(repositoryName="team/app")
            push(url, root)
            rate(url.removeprefix("http://"), root, 1)
            before, peak, stop = memory(server.pid, "RssAnon"), [], threading.Event()
            watcher = threading.Thread(target=watch, args=(server.pid, stop, peak))
            watcher.start()
            times, marked = zip(*(preview(ecr, big) for _ in range(options.rounds)))
            stop.set()
            watcher.join()
            print(f"{options.images} images, 10 rules: preview in {statistics.median(times) * 1000:.0f} ms "
                  f"({marked[0]} images marked), memory {before:.0f} MiB before, {max(peak):.0f} at most")
            rates = {"without": [], "with": []}
            for _ in range(options.rounds):
                rates["without"].append(rate(url.removeprefix("http://"), root, options.seconds))
                ecr.put_lifecycle_policy(repositoryName=big, lifecyclePolicyText=policy(options.images))
                rates["with"].append(rate(url.removeprefix("http://"), root, options.seconds))
                ecr.delete_lifecycle_policy(repositoryName=big)
            medians = {name: statistics.median(values) for name, values in rates.items()}
            print(f"manifest GETs a second at 32 connections: {medians['without']:.0f}, while the policy is evaluated "
                  f"every second {medians['with']:.0f}: {medians['with'] / medians['without']:.2f}")
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
