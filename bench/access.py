"""What sign-in and policies cost: manifest GETs at 32 connections by root, and by a user with 10 policies, a boundary
and a repository policy, in turns on one server. Needs boto3 (the tests' environment has it) and the load generator.

    ~/.cache/funaya/venv/bin/python bench/access.py --bin target/release/funaya --accounts 10 --users 10000 --roles 1000
"""
import argparse
import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import urllib.request

import boto3

HERE = pathlib.Path(__file__).resolve().parent
KEY = ("AKIAFUNAYABENCHROOT0", "funaya/bench+root/secret/key/0123456789a")
IMAGE = "application/vnd.oci.image.manifest.v1+json"


def client(url, service, key=KEY):
    config = boto3.session.Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
    return boto3.client(service, region_name="us-east-1", endpoint_url=url, aws_access_key_id=key[0],
                        aws_secret_access_key=key[1], config=config)


def token(ecr):
    return "Basic " + ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]


def call(url, method, path, auth, body=None, **headers):
    request = urllib.request.Request(url + path, data=body, method=method, headers={"Authorization": auth, **headers})
    with urllib.request.urlopen(request) as answer:
        return answer.headers


def push(url, auth):
    """An image of one small layer; returns nothing."""
    def blob(content):
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        call(url, "POST", f"/v2/team/app/blobs/uploads/?digest={digest}", auth, content)
        return {"digest": digest, "size": len(content), "mediaType": "application/vnd.oci.image.layer.v1.tar"}
    config = {**blob(b"{}"), "mediaType": "application/vnd.oci.image.config.v1+json"}
    manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [blob(b"layer")]}
    call(url, "PUT", "/v2/team/app/manifests/v1", auth, json.dumps(manifest).encode(), **{"Content-Type": IMAGE})


def document(action, number):
    statements = [{"Sid": f"s{number}x{n}", "Effect": "Allow", "Action": f"{action}{n}*",
                   "Resource": f"arn:aws:ecr:*:*:repository/team-{number}/*"} for n in range(3)]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def make_user(url, iam, ecr):
    """A user whose right to pull is in the last of 10 policies; a boundary; a policy on the repository."""
    iam.create_user(UserName="ann")
    everything = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*",
                                                                     "Resource": "*"}]})
    boundary = iam.create_policy(PolicyName="boundary", PolicyDocument=everything)["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="ann", PermissionsBoundary=boundary)
    for number in range(9):
        arn = iam.create_policy(PolicyName=f"p{number}", PolicyDocument=document("ecr:Put", number))["Policy"]["Arn"]
        iam.attach_user_policy(UserName="ann", PolicyArn=arn)
    iam.attach_user_policy(UserName="ann", PolicyArn="arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly")
    ecr.set_repository_policy(repositoryName="team/app", policyText=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchDeleteImage",
                                                "Condition": {"StringNotEquals": {"aws:username": "boss"}}}]}))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    return token(client(url, "ecr", (key["AccessKeyId"], key["SecretAccessKey"])))


def add_account(folder, options, number):
    """Another account, by the command for it; gives its root's key."""
    line = [options.bin, "account", "create", "--name", f"team-{number}", "--email", f"team-{number}@example.com",
            "--format", "json", "--data", f"{folder}/data"]
    out = subprocess.run(line, check=True, capture_output=True, text=True, env={**os.environ, "FUNAYA_LOG": "error"})
    key = json.loads(out.stdout)
    return key["accessKeyId"], key["secretAccessKey"]


def fill(iam, users, roles):
    """Many users and roles."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                                "Principal": {"Service": "ec2.amazonaws.com"}}]})
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: iam.create_user(UserName=f"u{n}"), range(users)))
        list(pool.map(lambda n: iam.create_role(RoleName=f"r{n}", AssumeRolePolicyDocument=trust), range(roles)))


def rate(address, auth, seconds):
    job = {"addr": address, "conns": 32, "seconds": seconds, "auth": auth, "mode": "requests", "cores": [1],
           "headers": [["Accept", IMAGE]], "requests": [{"path": "/v2/team/app/manifests/v1"}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        out = subprocess.run([HERE / "loadgen/target/release/benchload", "http", file.name], check=True,
                             capture_output=True, text=True).stdout
    result = json.loads(out)
    assert not result.get("errors"), out
    assert list(result["status"]) == ["200"], out
    return result["ops_s"]


def measure(address, root, user, options):
    rates = {"root": [], "user": []}
    for _ in range(options.rounds):
        for name, auth in (("root", root), ("user", user)):
            rates[name].append(rate(address, auth, options.seconds))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return medians, medians["user"] / medians["root"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", default="target/release/funaya")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--accounts", type=int, default=1, help="over how many accounts users and roles are spread")
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--roles", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "FUNAYA_RATE_QUOTAS": "off", "FUNAYA_ROOT_ACCESS_KEY_ID": KEY[0],
               "FUNAYA_ROOT_SECRET_ACCESS_KEY": KEY[1], "FUNAYA_LOG": "error"}
        line = ["taskset", "-c", "0", options.bin, "serve", "--data", f"{folder}/data", "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().split()[-1]
            address = url.removeprefix("http://")
            ecr, iam = client(url, "ecr"), client(url, "iam")
            root = token(ecr)
            ecr.create_repository(repositoryName="team/app")
            push(url, root)
            user = make_user(url, iam, ecr)
            medians, ratio = measure(address, root, user, options)
            print(f"manifest GETs a second: root {medians['root']:.0f}, user with policies {medians['user']:.0f}: "
                  f"{100 * (1 - ratio):.1f} % less")
            if options.users or options.roles:
                before = medians["user"]
                keys = [add_account(folder, options, number) for number in range(options.accounts)]
                for key in keys:
                    fill(client(url, "iam", key), options.users // len(keys), options.roles // len(keys))
                medians, ratio = measure(address, root, user, options)
                print(f"with {options.users} more users and {options.roles} more roles in {options.accounts} "
                      f"accounts: root {medians['root']:.0f}, "
                      f"user {medians['user']:.0f} ({medians['user'] / before:.2f} of before)")
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
