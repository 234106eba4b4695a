"""The AWS CLI with every operation of IAM and STS that is built: each call ends well and prints what its model says."""
import base64
import concurrent.futures
import json
import os
import re
import shlex
import time
import urllib.parse

import boto3
import botocore.session
import jmespath
import pytest
from botocore import xform_name
from conftest import ACCOUNT, AWS, REGION, Shell
from support.issuer import Issuer
from support.server import ACCESS_KEY, ROOT
from test_iam import PASSWORD, READ_ONLY, fresh, policy
from test_sts import SamlProvider, totp

# A line: service (and who calls, if not root), operation, options, and what to keep of the answer. Lines without a
# blank line between them do not depend on each other and run at the same time.
BEGINNING = """
iam CreateUser --user-name {user} --path /cli/ --tags Key=a,Value=1 Key=b,Value=2 => user_arn=User.Arn
iam CreateGroup --group-name {group} --path /cli/
iam CreatePolicy --policy-name {policy} --policy-document {allow} --description text => policy_arn=Policy.Arn
iam CreateVirtualMFADevice --virtual-mfa-device-name {device} --outfile {seed_file} \\
    --bootstrap-method Base32StringSeed => serial=VirtualMFADevice.SerialNumber
iam CreateInstanceProfile --instance-profile-name {profile} --path /cli/
iam CreateOpenIDConnectProvider --url {issuer} --client-id-list app --thumbprint-list {print} => oidc=OpenIDConnectProviderArn
iam CreateSAMLProvider --name {idp} --saml-metadata-document {metadata} => saml=SAMLProviderArn
iam CreateAccountAlias --account-alias {alias}
iam GenerateCredentialReport

iam CreateRole --role-name {role} --path /cli/ --assume-role-policy-document {trust} \\
    --max-session-duration 7200 => role_arn=Role.Arn
iam CreateAccessKey --user-name {user} => key=AccessKey.AccessKeyId secret=AccessKey.SecretAccessKey
iam CreateLoginProfile --user-name {user} --password {password} --no-password-reset-required
iam CreatePolicyVersion --policy-arn {policy_arn} --policy-document {allow} --no-set-as-default
iam GenerateCredentialReport
"""

# Reads of one, changes of all, in the order in which they make sense.
MIDDLE = """
iam AddUserToGroup --group-name {group} --user-name {user}
iam AttachUserPolicy --user-name {user} --policy-arn {policy_arn}
iam AttachGroupPolicy --group-name {group} --policy-arn {policy_arn}
iam AttachRolePolicy --role-name {role} --policy-arn {policy_arn}
iam PutUserPolicy --user-name {user} --policy-name in --policy-document {allow}
iam PutGroupPolicy --group-name {group} --policy-name in --policy-document {allow}
iam PutRolePolicy --role-name {role} --policy-name in --policy-document {allow}
iam PutUserPermissionsBoundary --user-name {user} --permissions-boundary {administrator}
iam PutRolePermissionsBoundary --role-name {role} --permissions-boundary {administrator}
iam AddRoleToInstanceProfile --instance-profile-name {profile} --role-name {role}
iam AddClientIDToOpenIDConnectProvider --open-id-connect-provider-arn {oidc} --client-id second
iam UpdateOpenIDConnectProviderThumbprint --open-id-connect-provider-arn {oidc} --thumbprint-list {print}
iam EnableMFADevice --user-name {user} --serial-number {serial} --authentication-code1 {code1} \\
    --authentication-code2 {code2}
iam UpdateAccountPasswordPolicy --minimum-password-length 10 --require-symbols
iam TagUser --user-name {user} --tags Key=c,Value=3
iam TagRole --role-name {role} --tags Key=c,Value=3
iam TagPolicy --policy-arn {policy_arn} --tags Key=c,Value=3
iam TagInstanceProfile --instance-profile-name {profile} --tags Key=c,Value=3
iam TagMFADevice --serial-number {serial} --tags Key=c,Value=3
iam TagOpenIDConnectProvider --open-id-connect-provider-arn {oidc} --tags Key=c,Value=3
iam TagSAMLProvider --saml-provider-arn {saml} --tags Key=c,Value=3

iam GetUser --user-name {user}
iam GetGroup --group-name {group}
iam GetRole --role-name {role}
iam GetPolicy --policy-arn {policy_arn}
iam GetPolicyVersion --policy-arn {policy_arn} --version-id v2
iam GetUserPolicy --user-name {user} --policy-name in
iam GetGroupPolicy --group-name {group} --policy-name in
iam GetRolePolicy --role-name {role} --policy-name in
iam GetInstanceProfile --instance-profile-name {profile}
iam GetLoginProfile --user-name {user}
iam GetMFADevice --serial-number {serial} --user-name {user}
iam GetOpenIDConnectProvider --open-id-connect-provider-arn {oidc}
iam GetSAMLProvider --saml-provider-arn {saml}
iam GetAccessKeyLastUsed --access-key-id {key}
iam GetAccountSummary
iam GetAccountPasswordPolicy
iam GetAccountAuthorizationDetails --filter User Role
iam GetContextKeysForCustomPolicy --policy-input-list {asks}
iam GetContextKeysForPrincipalPolicy --policy-source-arn {user_arn}
iam GetCredentialReport
iam SimulateCustomPolicy --policy-input-list {allow} --action-names ecr:PutImage sts:AssumeRole
iam SimulatePrincipalPolicy --policy-source-arn {user_arn} --action-names ecr:PutImage
iam ListUsers --path-prefix /cli/
iam ListGroups --path-prefix /cli/
iam ListRoles --path-prefix /cli/
iam ListPolicies --scope Local
iam ListPolicyVersions --policy-arn {policy_arn}
iam ListEntitiesForPolicy --policy-arn {policy_arn}
iam ListInstanceProfiles --path-prefix /cli/
iam ListInstanceProfilesForRole --role-name {role}
iam ListAccessKeys --user-name {user}
iam ListAccountAliases
iam ListGroupsForUser --user-name {user}
iam ListUserPolicies --user-name {user}
iam ListGroupPolicies --group-name {group}
iam ListRolePolicies --role-name {role}
iam ListAttachedUserPolicies --user-name {user}
iam ListAttachedGroupPolicies --group-name {group}
iam ListAttachedRolePolicies --role-name {role}
iam ListMFADevices --user-name {user}
iam ListSSHPublicKeys --user-name {user}
iam ListSigningCertificates --user-name {user}
iam ListServiceSpecificCredentials --user-name {user}
iam ListVirtualMFADevices
iam ListOpenIDConnectProviders
iam ListSAMLProviders
iam ListUserTags --user-name {user}
iam ListRoleTags --role-name {role}
iam ListPolicyTags --policy-arn {policy_arn}
iam ListInstanceProfileTags --instance-profile-name {profile}
iam ListMFADeviceTags --serial-number {serial}
iam ListOpenIDConnectProviderTags --open-id-connect-provider-arn {oidc}
iam ListSAMLProviderTags --saml-provider-arn {saml}
sts GetCallerIdentity
sts GetAccessKeyInfo --access-key-id {key}
sts GetSessionToken --duration-seconds 900
sts GetFederationToken --name guest --policy {allow}
sts DecodeAuthorizationMessage --encoded-message {refusal}
sts@user GetCallerIdentity
sts@user AssumeRole --role-arn {role_arn} --role-session-name cli --duration-seconds 7200
sts AssumeRoleWithWebIdentity --role-arn {role_arn} --role-session-name cli --web-identity-token {token}
sts AssumeRoleWithSAML --role-arn {role_arn} --principal-arn {saml} --saml-assertion {assertion}

iam UpdateUser --user-name {user} --new-path /cli/new/
iam UpdateGroup --group-name {group} --new-path /cli/new/
iam UpdateRole --role-name {role} --description other --max-session-duration 3600
iam UpdateAssumeRolePolicy --role-name {role} --policy-document {trust}
iam UpdateLoginProfile --user-name {user} --password-reset-required
iam UpdateSAMLProvider --saml-provider-arn {saml} --saml-metadata-document {metadata}
iam SetDefaultPolicyVersion --policy-arn {policy_arn} --version-id v2
iam ResyncMFADevice --user-name {user} --serial-number {serial} --authentication-code1 {code3} \\
    --authentication-code2 {code4}
iam@user ChangePassword --old-password {password} --new-password {password}-2

iam UpdateRoleDescription --role-name {role} --description third
iam UpdateAccessKey --user-name {user} --access-key-id {key} --status Inactive
"""

END = """
iam UntagUser --user-name {user} --tag-keys c
iam UntagRole --role-name {role} --tag-keys c
iam UntagPolicy --policy-arn {policy_arn} --tag-keys c
iam UntagInstanceProfile --instance-profile-name {profile} --tag-keys c
iam UntagMFADevice --serial-number {serial} --tag-keys c
iam UntagOpenIDConnectProvider --open-id-connect-provider-arn {oidc} --tag-keys c
iam UntagSAMLProvider --saml-provider-arn {saml} --tag-keys c
iam RemoveUserFromGroup --group-name {group} --user-name {user}
iam DetachUserPolicy --user-name {user} --policy-arn {policy_arn}
iam DetachGroupPolicy --group-name {group} --policy-arn {policy_arn}
iam DetachRolePolicy --role-name {role} --policy-arn {policy_arn}
iam DeleteUserPolicy --user-name {user} --policy-name in
iam DeleteGroupPolicy --group-name {group} --policy-name in
iam DeleteRolePolicy --role-name {role} --policy-name in
iam DeleteUserPermissionsBoundary --user-name {user}
iam DeleteRolePermissionsBoundary --role-name {role}
iam RemoveRoleFromInstanceProfile --instance-profile-name {profile} --role-name {role}
iam RemoveClientIDFromOpenIDConnectProvider --open-id-connect-provider-arn {oidc} --client-id second
iam DeactivateMFADevice --user-name {user} --serial-number {serial}
iam DeleteAccountPasswordPolicy
iam DeleteAccountAlias --account-alias {alias}
iam DeleteAccessKey --user-name {user} --access-key-id {key}
iam DeleteLoginProfile --user-name {user}
iam DeletePolicyVersion --policy-arn {policy_arn} --version-id v1

iam DeleteVirtualMFADevice --serial-number {serial}
iam DeleteOpenIDConnectProvider --open-id-connect-provider-arn {oidc}
iam DeleteSAMLProvider --saml-provider-arn {saml}
iam DeleteInstanceProfile --instance-profile-name {profile}
iam DeletePolicy --policy-arn {policy_arn}
iam DeleteUser --user-name {user}
iam DeleteGroup --group-name {group}
iam DeleteRole --role-name {role}
"""

# COMP-047: refused on purpose, whatever it is given.
REFUSED = {"CreateServiceLinkedRole"}


def built(service):
    """The operations that the table of routes calls built."""
    text = (ROOT / "docs/reference/routes.md").read_text().split(f"## {service.upper()} API")[1].split("\n## ")[0]
    return {name for name, rest in re.findall(r"^\| `(\w+)` \|(.*)$", text, re.M) if "not built" not in rest}


def lines(script):
    """The calls of a script, in groups: service, caller, operation, options, what to keep."""
    for group in script.strip().replace("\\\n", " ").split("\n\n"):
        calls = []
        for line in group.splitlines():
            call, _, keep = line.partition(" => ")
            who, operation, *options = shlex.split(call)
            service, _, caller = who.partition("@")
            calls.append((service, caller, operation, options, dict(k.split("=") for k in keep.split())))
        yield calls


class Cli:
    """The AWS CLI with root's key, and what its answers have told so far."""

    def __init__(self, url, home):
        home.mkdir()
        self.home, self.known = home, {}
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **AWS,
               "AWS_ENDPOINT_URL_IAM": url, "AWS_ENDPOINT_URL_STS": url}
        self.shell = Shell(home, env)

    def env(self, caller):
        """The environment of root or of the user whose key is known."""
        own = {"AWS_ACCESS_KEY_ID": self.known["key"], "AWS_SECRET_ACCESS_KEY": self.known["secret"]} if caller else {}
        return {**self.shell.env, **own}

    def call(self, service, caller, operation, options, keep):
        """One call, which must end with 0 and print JSON if its model has an answer, else nothing."""
        options = [option.format_map(self.known) for option in options]
        text = self.shell.out("aws", service, xform_name(operation, "-"), *options, "--output", "json", env=self.env(caller))
        shape = botocore.session.get_session().get_service_model(service).operation_model(operation).output_shape
        assert bool(text) == bool(shape and shape.members), f"{operation} printed: {text}"
        answer = json.loads(text) if text else None
        self.known.update({name: jmespath.search(path, answer) for name, path in keep.items()})

    def play(self, script):
        """All calls of a script, group by group."""
        for group in lines(script):
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda call: self.call(*call), group))


@pytest.fixture
def cli(plain, tmp_path):
    """A user at a shell that has the key of root and knows where IAM and STS are."""
    return Cli(plain.url, tmp_path / "home")


def refusal(plain, key, secret):
    """The id of a decision against the user."""
    ecr = boto3.client("ecr", region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret,
                       endpoint_url=plain.url)
    with pytest.raises(ecr.exceptions.ClientError) as caught:
        ecr.delete_repository(repositoryName="none/of-mine")
    return caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-funaya-decision"]


def trust(issuer, saml):
    """A trust policy for the account, for a token of the issuer and for an assertion."""
    host = urllib.parse.urlsplit(issuer).netloc
    oidc = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"
    audience = {"StringEquals": {f"{host}:aud": "app"}}
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"Federated": oidc}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": audience},
        {"Effect": "Allow", "Principal": {"Federated": saml}, "Action": "sts:AssumeRoleWithSAML"}]})


def test_every_operation_has_a_call():
    """COMP-901: the scripts below and the table of routes name the same operations, all known to the SDK."""
    for service in ("iam", "sts"):
        called = {call[2] for script in (BEGINNING, MIDDLE, END) for group in lines(script) for call in group
                  if call[0] == service}
        model = botocore.session.get_session().get_service_model(service)
        assert built(service) <= set(model.operation_names)
        assert called == built(service) - REFUSED, called ^ (built(service) - REFUSED)


def test_every_operation(plain, cli, tmp_path):
    """COMP-001 to COMP-101, COMP-901: one set of entities, made, changed, read and deleted by the CLI alone."""
    issuer, idp = Issuer(), SamlProvider(tmp_path)
    metadata, seed, known = tmp_path / "metadata.xml", tmp_path / "seed", cli.known
    metadata.write_text(idp.metadata())
    names = {kind: fresh(f"cli-{kind}") for kind in ("user", "group", "policy", "device", "profile", "role", "idp")}
    asks = policy("ecr:*", Condition={"StringEquals": {"aws:ResourceTag/team": "a"}})
    known.update(names, allow=policy("ecr:List*", "sts:AssumeRole", "iam:ChangePassword"), asks=asks, issuer=issuer.url,
                 print="0" * 40, metadata=f"file://{metadata}", seed_file=str(seed), alias=fresh("cli"), password=PASSWORD,
                 administrator="arn:aws:iam::aws:policy/AdministratorAccess")
    saml, now = f"arn:aws:iam::{ACCOUNT}:saml-provider/{names['idp']}", time.time()
    try:
        # The role trusts providers, so their names are known before.
        known["trust"] = trust(issuer.url, saml)
        cli.play(BEGINNING)
        secret = seed.read_text().strip()
        codes = {f"code{n}": totp(secret, now + 30 * (n - 2)) for n in range(1, 5)}
        role = f"arn:aws:iam::{ACCOUNT}:role/cli/{names['role']}"
        assertion = idp.signed(idp.assertion(role, saml, now))
        known.update(codes, refusal=refusal(plain, known["key"], known["secret"]), token=issuer.token(sub="s", aud="app"),
                     assertion=base64.b64encode(assertion.encode()).decode())
        assert known["saml"] == saml and known["role_arn"] == role
        cli.play(MIDDLE)
        cli.play(END)
    finally:
        issuer.close()
    left = cli.shell.out("aws", "iam", "list-users", "--path-prefix", "/cli/", "--query", "Users")
    assert json.loads(left) == []


def test_refusals(cli):
    """ERR-22, COMP-047: code and text as the CLI prints them, exit code 254 or 255."""
    done = cli.shell("aws", "iam", "create-service-linked-role", "--aws-service-name", "ecr.amazonaws.com", check=False)
    assert done.returncode in (254, 255)
    assert "An error occurred (InvalidInput) when calling the CreateServiceLinkedRole operation" in done.stderr
    done = cli.shell("aws", "iam", "get-user", "--user-name", "nobody", check=False)
    assert "(NoSuchEntity) when calling the GetUser operation: The user with name nobody cannot be found." in done.stderr


def test_output(cli):
    """COMP-901: `--query` with `--output text` and `table`, for scripts."""
    user = fresh("cli-user")
    out = cli.shell.out
    try:
        assert out("aws", "iam", "create-user", "--user-name", user, "--query", "User.Arn", "--output", "text").endswith(user)
        assert out("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text") == ACCOUNT
        assert out("aws", "iam", "get-policy", "--policy-arn", READ_ONLY, "--query",
                   "Policy.[PolicyName,IsAttachable]", "--output", "text") == "AmazonEC2ContainerRegistryReadOnly\tTrue"
        key = out("aws", "iam", "create-access-key", "--user-name", user, "--query",
                  "AccessKey.[AccessKeyId,SecretAccessKey]", "--output", "text").split("\t")
        assert re.fullmatch("AKIA[A-Z2-7]{16}", key[0]) and len(key[1]) == 40
        assert out("aws", "iam", "list-access-keys", "--user-name", user, "--query",
                   "AccessKeyMetadata[].AccessKeyId", "--output", "text") == key[0]
        assert user in out("aws", "iam", "get-user", "--user-name", user, "--output", "table")
        text = out("aws", "sts", "get-session-token", "--query", "Credentials.AccessKeyId", "--output", "text")
        assert text.startswith("ASIA") and text != ACCESS_KEY
        # Waiters of the CLI read until the thing is there.
        cli.shell("aws", "iam", "wait", "user-exists", "--user-name", user)
        cli.shell("aws", "iam", "wait", "policy-exists", "--policy-arn", READ_ONLY)
        cli.shell("aws", "iam", "delete-access-key", "--user-name", user, "--access-key-id", key[0])
    finally:
        cli.shell("aws", "iam", "delete-user", "--user-name", user, check=False)


def test_pages(plain, cli):
    """COMP-903: thirty users, in pages of the server (`--page-size`) and of the CLI (`--max-items`)."""
    prefix, run = f"/{fresh('pages')}/", cli.shell.json
    iam = boto3.client("iam", region_name=REGION, aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
                       aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"], endpoint_url=plain.url)
    names = sorted(fresh(f"cli-{number:02}") for number in range(30))
    for name in names:
        iam.create_user(UserName=name, Path=prefix)
    try:
        listing = ["aws", "iam", "list-users", "--path-prefix", prefix, "--output", "json"]
        for size in ("7", "30", "1000"):
            assert [user["UserName"] for user in run(*listing, "--page-size", size)["Users"]] == names
        found, token = [], []
        while True:
            page = run(*listing, "--max-items", "11", "--page-size", "4", *token)
            found.append([user["UserName"] for user in page["Users"]])
            if "NextToken" not in page:
                break
            token = ["--starting-token", page["NextToken"]]
        assert [len(page) for page in found] == [11, 11, 8] and sum(found, []) == names
        first = run(*listing, "--no-paginate")
        assert [user["UserName"] for user in first["Users"]] == names and first["IsTruncated"] is False
        text = cli.shell.out(*listing[:-2], "--page-size", "9", "--query", "Users[].UserName", "--output", "text")
        assert text.split() == names
    finally:
        for name in names:
            iam.delete_user(UserName=name)
