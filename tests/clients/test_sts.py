"""STS by the AWS SDK: sessions of roles, of users and of tokens, and what they may do on the registry."""
import base64
import hashlib
import hmac
import json
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore import UNSIGNED
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.credentials import Credentials
from conftest import ACCOUNT, REGION, run, tool
from support.issuer import Issuer
from support.server import ACCESS_KEY, SECRET_KEY, Funaya, program
from support.web import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Web, sha256
from test_iam import READ_ONLY, fresh, policy, refused

PULL = ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:DescribeRepositories")


@pytest.fixture(scope="module")
def world(nothing_left, tmp_path_factory):
    """A server whose clock the tests can move, and which takes identity providers on this machine."""
    funaya = Funaya(tmp_path_factory.mktemp("sts") / "data",
                    env={"FUNAYA_TEST_CLOCK": "1", "FUNAYA_OIDC_LOOPBACK": "1", "FUNAYA_RATE_QUOTAS": "off"}).start()
    yield World(funaya)
    try:
        funaya.stop()
    finally:
        funaya.kill()


class World:
    """One server, and clients of it."""

    def __init__(self, funaya):
        self.funaya, self.moved = funaya, 0

    def client(self, service, credentials=None, **config):
        """An SDK client with these credentials of STS or IAM, or as root; one try."""
        c = credentials or {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY}
        config = boto3.session.Config(retries={"total_max_attempts": 1}, parameter_validation=False, **config)
        return boto3.client(service, region_name=REGION, aws_access_key_id=c["AccessKeyId"],
                            aws_secret_access_key=c["SecretAccessKey"], aws_session_token=c.get("SessionToken"),
                            endpoint_url=self.funaya.url, config=config)

    def advance(self, seconds):
        """Moves the server's clock; signatures stay good for a few minutes."""
        self.moved += seconds
        assert urllib.request.urlopen(urllib.request.Request(
            f"{self.funaya.url}/_test/clock?advance={seconds}", method="POST"), timeout=10).status == 200

    def now(self):
        """The server's time."""
        return time.time() + self.moved

    def web(self, credentials=None):
        """The registry by HTTP Basic."""
        token = self.client("ecr", credentials).get_authorization_token()["authorizationData"][0]["authorizationToken"]
        return Web(self.funaya.url, f"Basic {token}")

    def user(self, *statements):
        """A new user with these policies, and its key."""
        iam, name = self.client("iam"), fresh("user")
        iam.create_user(UserName=name)
        for number, document in enumerate(statements):
            iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=document)
        return name, iam.create_access_key(UserName=name)["AccessKey"]

    def role(self, principal, *statements, condition=None, action=("sts:AssumeRole",), **more):
        """A new role; its ARN."""
        iam, name = self.client("iam"), fresh("role")
        statement = {"Effect": "Allow", "Principal": principal, "Action": list(action)}
        if condition:
            statement["Condition"] = condition
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **more)["Role"]["Arn"]
        for number, document in enumerate(statements):
            iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=document)
        return arn

    def assume(self, arn, credentials, session="job", **more):
        """AssumeRole."""
        return self.client("sts", credentials).assume_role(RoleArn=arn, RoleSessionName=session, **more)


def arn_of(name):
    """A user's ARN."""
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


@pytest.fixture(scope="module")
def image(world):
    """A repository with one image, tag `v1`."""
    name = f"sts/{uuid.uuid4().hex[:8]}"
    world.client("ecr").create_repository(repositoryName=name)
    web, blobs = world.web(), [b"{}", b"layer"]
    for blob in blobs:
        place = web("POST", f"/v2/{name}/blobs/uploads/").headers["location"]
        joint = "&" if "?" in place else "?"
        assert web("PUT", f"{place}{joint}digest={sha256(blob)}", blob).status == 201
    parts = [{"mediaType": kind, "digest": sha256(blob), "size": len(blob)}
             for kind, blob in zip((OCI_CONFIG, OCI_LAYER), blobs)]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": parts[1:]})
    assert web("PUT", f"/v2/{name}/manifests/v1", manifest.encode(), {"Content-Type": OCI_MANIFEST}).status == 201
    return name


def test_who_calls(world):
    """COMP-098: every caller, without permission; also by a URL that is signed, as Kubernetes has it."""
    root = world.client("sts").get_caller_identity()
    assert (root["UserId"], root["Account"], root["Arn"]) == (ACCOUNT, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    name, key = world.user(policy("sts:GetCallerIdentity", effect="Deny"))
    me = world.client("sts", key).get_caller_identity()
    assert me["Arn"] == arn_of(name) and me["UserId"].startswith("AIDA")
    request = AWSRequest("GET", f"{world.funaya.url}/?Action=GetCallerIdentity&Version=2011-06-15",
                         headers={"x-k8s-aws-id": "cluster"})
    SigV4QueryAuth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "sts", REGION, expires=60).add_auth(request)
    asked = urllib.request.Request(request.url, headers={"x-k8s-aws-id": "cluster"})
    assert f"<Arn>{arn_of(name)}</Arn>" in urllib.request.urlopen(asked, timeout=10).read().decode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{world.funaya.url}/?Action=GetCallerIdentity&Version=2011-06-15", timeout=10)
    assert caught.value.code == 403 and b"MissingAuthenticationToken" in caught.value.read()


def test_role(world, image):
    """COMP-095, IAM-04, IAM-13, AUTH-10: a role's session on ECR's API and on the registry, and its end."""
    name, key = world.user()
    arn = world.role({"AWS": arn_of(name)}, policy(*PULL))
    made = world.assume(arn, key)
    role = arn.rsplit("/", 1)[1]
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/job"
    assert made["AssumedRoleUser"]["Arn"] == session
    assert made["AssumedRoleUser"]["AssumedRoleId"].startswith("AROA")
    credentials = made["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert 3500 < credentials["Expiration"].timestamp() - world.now() < 3700
    me = world.client("sts", credentials).get_caller_identity()
    assert me["Arn"] == session and me["UserId"] == made["AssumedRoleUser"]["AssumedRoleId"]
    ecr, web = world.client("ecr", credentials), world.web(credentials)
    assert ecr.describe_repositories(repositoryNames=[image])
    refused("AccessDeniedException", ecr.delete_repository, repositoryName=image, match=session)
    assert web("GET", f"/v2/{image}/manifests/v1").status == 200
    assert web("POST", f"/v2/{image}/blobs/uploads/").status == 403
    iam = world.client("iam")
    iam.delete_role_policy(RoleName=role, PolicyName="p0")
    refused("AccessDeniedException", ecr.describe_repositories, repositoryNames=[image])
    iam.delete_role(RoleName=role)
    refused("UnrecognizedClientException", ecr.describe_repositories, repositoryNames=[image])
    assert web("GET", f"/v2/{image}/manifests/v1").status in (401, 403)
    refused("AccessDenied", world.assume, arn, key, status=403, match="sts:AssumeRole on resource")


def test_who_may_assume(world):
    """IAM-30, IAM-34, COMP-906: the trust policy decides; what it leaves to the account, the caller's policies."""
    name, key = world.user()
    stranger = world.role({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    text = f"User: {arn_of(name)} is not authorized to perform: sts:AssumeRole on resource: {stranger}"
    assert refused("AccessDenied", world.assume, stranger, key, status=403)["Error"]["Message"] == text
    nowhere = f"arn:aws:iam::{ACCOUNT}:role/nowhere"
    missing = refused("AccessDenied", world.assume, nowhere, key, status=403)["Error"]["Message"]
    assert missing == text.replace(stranger, nowhere)
    world.client("iam").put_user_policy(UserName=name, PolicyName="may", PolicyDocument=policy("sts:AssumeRole"))
    assert world.assume(stranger, key)
    refused("AccessDenied", world.assume, nowhere, key, status=403)
    refused("AccessDenied", world.assume, stranger, None, match="Roles may not be assumed by root accounts.")
    refused("ValidationError", world.assume, "arn:aws:iam::123456789012:user/x", key)
    refused("ValidationError", world.assume, stranger, key, session="no blanks")
    refused("ValidationError", world.assume, stranger, key, DurationSeconds=60)


def test_external_id(world):
    """COMP-906: the third party must say what the role's owner agreed on with it."""
    name, key = world.user()
    arn = world.role({"AWS": arn_of(name)}, condition={"StringEquals": {"sts:ExternalId": "secret-42"}})
    refused("AccessDenied", world.assume, arn, key)
    refused("AccessDenied", world.assume, arn, key, ExternalId="other")
    assert world.assume(arn, key, ExternalId="secret-42")
    named = world.role({"AWS": arn_of(name)}, condition={"StringLike": {"sts:RoleSessionName": "ci-*"}})
    refused("AccessDenied", world.assume, named, key, session="job")
    assert world.assume(named, key, session="ci-7")


def test_limits_of_a_session(world, image):
    """IAM-22, IAM-24: boundary and session policies cut what the role has; each alone gives nothing."""
    name, key = world.user()
    iam = world.client("iam")
    boundary = iam.create_policy(PolicyName=fresh("b"), PolicyDocument=policy(*PULL, "ecr:ListImages"))["Policy"]["Arn"]
    arn = world.role({"AWS": arn_of(name)}, policy("ecr:*"), PermissionsBoundary=boundary)
    free = world.client("ecr", world.assume(arn, key)["Credentials"])
    assert free.list_images(repositoryName=image)
    refused("AccessDeniedException", free.delete_repository, repositoryName=image)
    made = world.assume(arn, key, Policy=policy("ecr:ListImages", "ecr:DeleteRepository"))
    assert made["PackedPolicySize"] > 0
    narrow = world.client("ecr", made["Credentials"])
    assert narrow.list_images(repositoryName=image)
    refused("AccessDeniedException", narrow.describe_repositories)
    refused("AccessDeniedException", narrow.delete_repository, repositoryName=image)
    by_arn = world.client("ecr", world.assume(arn, key, PolicyArns=[{"arn": READ_ONLY}])["Credentials"])
    assert by_arn.describe_repositories(repositoryNames=[image])
    assert world.web(world.assume(arn, key, Policy=policy(*PULL))["Credentials"])(
        "GET", f"/v2/{image}/manifests/v1").status == 200
    refused("MalformedPolicyDocument", world.assume, arn, key, Policy="{}")
    refused("ValidationError", world.assume, arn, key, PolicyArns=[{"arn": f"arn:aws:iam::{ACCOUNT}:policy/no"}])
    large = policy("ecr:*", resource=[f"arn:aws:ecr:*:*:repository/{n:060}" for n in range(23)])
    arns = [{"arn": iam.create_policy(PolicyName=f"{fresh('long')}{'x' * 100}", Path=f"/{'p' * 300}/",
                                      PolicyDocument=policy("ecr:*"))["Policy"]["Arn"]} for _ in range(5)]
    refused("PackedPolicyTooLarge", world.assume, arn, key, PolicyArns=arns, Policy=large, match="Packed policy consumes")


def test_durations_and_chains(world):
    """COMP-906: the role's longest session; an hour for sessions of sessions."""
    name, key = world.user()
    first = world.role({"AWS": arn_of(name)}, policy("sts:AssumeRole"), MaxSessionDuration=7200)
    second = world.role({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, policy(*PULL), MaxSessionDuration=7200)
    refused("ValidationError", world.assume, first, key, DurationSeconds=7201, match="MaxSessionDuration")
    made = world.assume(first, key, DurationSeconds=7200)["Credentials"]
    assert made["Expiration"].timestamp() - world.now() > 7000
    text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
    refused("ValidationError", world.assume, second, made, DurationSeconds=3601, match=text)
    chained = world.assume(second, made, DurationSeconds=3600)["Credentials"]
    assert second.rsplit("/", 1)[1] in world.client("sts", chained).get_caller_identity()["Arn"]


def test_tags(world):
    """COMP-095, IAM-51: tags need sts:TagSession; transitive ones go on; conditions see them."""
    name, key = world.user()
    plain = world.role({"AWS": arn_of(name)})
    tags = [{"Key": "team", "Value": "blue"}, {"Key": "job", "Value": "7"}]
    refused("AccessDenied", world.assume, plain, key, Tags=tags, match="sts:TagSession")
    tagging = ("sts:AssumeRole", "sts:TagSession")
    first = world.role({"AWS": arn_of(name)}, policy("sts:AssumeRole", "sts:TagSession"), action=tagging,
                       condition={"StringEquals": {"aws:RequestTag/team": "blue"}})
    refused("AccessDenied", world.assume, first, key)
    refused("ValidationError", world.assume, first, key, Tags=tags, TransitiveTagKeys=["other"])
    made = world.assume(first, key, Tags=tags, TransitiveTagKeys=["team"])["Credentials"]
    own = policy("ecr:CreateRepository", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})
    second = world.role({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, own, policy("ecr:DescribeRepositories", Condition={
        "Null": {"aws:PrincipalTag/job": "false"}}), action=tagging)
    refused("ValidationError", world.assume, second, made, Tags=[{"Key": "team", "Value": "red"}], match="conflicts")
    ecr = world.client("ecr", world.assume(second, made)["Credentials"])
    assert ecr.create_repository(repositoryName=fresh("tagged"))
    refused("AccessDeniedException", ecr.describe_repositories)


def test_source_identity(world):
    """COMP-095: who is behind a session stays, and needs a permission to be said."""
    name, key = world.user()
    refused("AccessDenied", world.assume, world.role({"AWS": arn_of(name)}), key, SourceIdentity="mia",
            match="sts:SetSourceIdentity")
    naming = ("sts:AssumeRole", "sts:SetSourceIdentity")
    first = world.role({"AWS": arn_of(name)}, policy(*naming), action=naming)
    made = world.assume(first, key, SourceIdentity="mia")
    assert made["SourceIdentity"] == "mia"
    second = world.role({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, action=naming)
    assert world.assume(second, made["Credentials"])["SourceIdentity"] == "mia"
    refused("AccessDenied", world.assume, second, made["Credentials"], SourceIdentity="tom")


def test_session_token(world, image):
    """COMP-100: the caller's own session; without MFA not for IAM; it ends with its key."""
    name, key = world.user(policy("*"))
    made = world.client("sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    assert world.client("sts", made).get_caller_identity()["Arn"] == arn_of(name)
    assert world.client("ecr", made).describe_repositories(repositoryNames=[image])
    refused("AccessDenied", world.client("iam", made).list_users)
    refused("AccessDenied", world.client("sts", made).get_session_token, match="session credentials")
    root = world.client("sts").get_session_token(DurationSeconds=129600)["Credentials"]
    assert root["Expiration"].timestamp() - world.now() < 3700
    world.client("iam").delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    refused("UnrecognizedClientException", world.client("ecr", made).describe_repositories)


def test_federation_token(world, image):
    """COMP-099: somebody whom a user vouches for has at most what the user has, and only what the policy says."""
    name, key = world.user(policy("ecr:ListImages", *PULL, "sts:GetFederationToken", "sts:TagSession"))
    sts = world.client("sts", key)
    made = sts.get_federation_token(Name="guest", Policy=policy("ecr:ListImages", "ecr:DeleteRepository"),
                                    Tags=[{"Key": "a", "Value": "b"}])
    assert made["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:guest",
                                     "Arn": f"arn:aws:sts::{ACCOUNT}:federated-user/guest"}
    ecr = world.client("ecr", made["Credentials"])
    assert ecr.list_images(repositoryName=image)
    refused("AccessDeniedException", ecr.delete_repository, repositoryName=image, match="federated-user/guest")
    refused("AccessDeniedException", ecr.describe_repositories)
    bare = sts.get_federation_token(Name="guest")["Credentials"]
    refused("AccessDeniedException", world.client("ecr", bare).list_images, repositoryName=image)
    refused("AccessDenied", world.client("iam", bare).list_users)
    other, poor = world.user()
    refused("AccessDenied", world.client("sts", poor).get_federation_token, Name="guest", match="federated-user/guest")
    arn = world.role({"AWS": arn_of(name)}, policy("*"))
    role = world.assume(arn, key)["Credentials"]
    refused("AccessDenied", world.client("sts", role).get_federation_token, Name="guest", match="session credentials")


def test_key_info(world):
    """COMP-101"""
    name, key = world.user(policy("sts:GetAccessKeyInfo"))
    sts = world.client("sts", key)
    assert sts.get_access_key_info(AccessKeyId=key["AccessKeyId"])["Account"] == ACCOUNT
    assert sts.get_access_key_info(AccessKeyId=ACCESS_KEY)["Account"] == ACCOUNT
    refused("ValidationError", sts.get_access_key_info, AccessKeyId="AKIA" + "A" * 16)
    refused("AccessDenied", world.client("sts", world.user()[1]).get_access_key_info, AccessKeyId=ACCESS_KEY)


def test_reasons(world, image):
    """D9: the id of a refusal, decoded by whoever may."""
    name, key = world.user(policy("ecr:DeleteRepository", effect="Deny", Sid="Never"))
    answer = refused("AccessDeniedException", world.client("ecr", key).delete_repository, repositoryName=image)
    message = answer["ResponseMetadata"]["HTTPHeaders"]["x-funaya-decision"]
    end = time.monotonic() + 10
    while True:
        try:
            text = world.client("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"]
            break
        except ClientError:
            assert time.monotonic() < end
            time.sleep(0.2)
    found = json.loads(text)
    assert (found["allowed"], found["explicitDeny"]) == (False, True)
    assert found["context"]["action"] == "ecr:DeleteRepository" and found["context"]["principal"]["arn"] == arn_of(name)
    assert found["matchedStatements"]["items"][0]["statementId"] == "Never"
    refused("AccessDenied", world.client("sts", key).decode_authorization_message, EncodedMessage=message)
    refused("InvalidAuthorizationMessageException", world.client("sts").decode_authorization_message,
            EncodedMessage="1-nothing")


def totp(seed, at):
    """RFC 6238."""
    key = base64.b32decode(seed)
    tag = hmac.new(key, int(at // 30).to_bytes(8, "big"), hashlib.sha1).digest()
    at = tag[-1] & 15
    return f"{(int.from_bytes(tag[at:at + 4], 'big') & 0x7fffffff) % 1000000:06}"


def device(world, user=None):
    """A device that a user has; serial number and seed. The next code comes a step later."""
    iam = world.client("iam")
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=fresh("phone"))["VirtualMFADevice"]
    seed = made["Base32StringSeed"].decode()
    assert made["QRCodePNG"].startswith(b"\x89PNG")
    now = world.now()
    iam.enable_mfa_device(UserName=user or "root", SerialNumber=made["SerialNumber"],
                          AuthenticationCode1=totp(seed, now - 30), AuthenticationCode2=totp(seed, now))
    return made["SerialNumber"], seed


def test_mfa(world, image):
    """COMP-019 to COMP-023, IAM-11, IAM-51: a session with a code may do what asks for one; no code counts twice."""
    strict = policy("ecr:ListImages", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    name, key = world.user(strict)
    serial, seed = device(world, name)
    sts = world.client("sts", key)
    plain = sts.get_session_token()["Credentials"]
    refused("AccessDeniedException", world.client("ecr", plain).list_images, repositoryName=image)
    refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode=totp(seed, world.now()), match="one time")
    world.advance(30)
    refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode="000000", match="one time")
    refused("AccessDenied", sts.get_session_token, SerialNumber=serial + "x", TokenCode="000000", match="serial number")
    code = totp(seed, world.now())
    made = sts.get_session_token(SerialNumber=serial, TokenCode=code)["Credentials"]
    assert world.client("ecr", made).list_images(repositoryName=image)
    refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode=code)
    arn = world.role({"AWS": arn_of(name)}, condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    refused("AccessDenied", world.assume, arn, key)
    assert world.assume(arn, made)
    world.advance(30)
    assert world.assume(arn, key, SerialNumber=serial, TokenCode=totp(seed, world.now()))
    other, stolen = world.user()
    world.advance(30)
    refused("AccessDenied", world.client("sts", stolen).get_session_token, SerialNumber=serial,
            TokenCode=totp(seed, world.now()), match="associated with this user")


def test_mfa_guessing(world):
    """IAM-11: after a few wrong codes the right one does not help, until the next step."""
    name, key = world.user()
    serial, seed = device(world, name)
    world.advance(30)
    sts = world.client("sts", key)
    if world.now() % 30 > 20:
        world.advance(15)
    for _ in range(5):
        refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode="999999")
    refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode=totp(seed, world.now()))
    world.advance(30)
    assert sts.get_session_token(SerialNumber=serial, TokenCode=totp(seed, world.now()))


def test_mfa_devices(world):
    """COMP-019 to COMP-023: the devices themselves."""
    iam, name = world.client("iam"), world.user()[0]
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=fresh("d"), Path="/team/",
                                         Tags=[{"Key": "a", "Value": "1"}])["VirtualMFADevice"]
    serial, seed = made["SerialNumber"], made["Base32StringSeed"].decode()
    assert serial.startswith(f"arn:aws:iam::{ACCOUNT}:mfa/team/") and len(seed) == 64
    refused("EntityAlreadyExists", iam.create_virtual_mfa_device, VirtualMFADeviceName=serial.rsplit("/", 1)[1], Path="/team/")
    now = world.now()
    codes = {"AuthenticationCode1": totp(seed, now - 30), "AuthenticationCode2": totp(seed, now)}
    swapped = {"AuthenticationCode1": codes["AuthenticationCode2"], "AuthenticationCode2": codes["AuthenticationCode1"]}
    refused("InvalidAuthenticationCode", iam.enable_mfa_device, UserName=name, SerialNumber=serial, status=403, **swapped)
    refused("NoSuchEntity", iam.enable_mfa_device, UserName="nobody", SerialNumber=serial, **codes)
    refused("NoSuchEntity", iam.enable_mfa_device, UserName=name, SerialNumber=serial + "x", **codes)
    iam.enable_mfa_device(UserName=name, SerialNumber=serial, **codes)
    refused("EntityAlreadyExists", iam.enable_mfa_device, UserName=name, SerialNumber=serial, **codes)
    listed = iam.list_mfa_devices(UserName=name)["MFADevices"]
    assert [(d["UserName"], d["SerialNumber"]) for d in listed] == [(name, serial)]
    assigned = iam.list_virtual_mfa_devices(AssignmentStatus="Assigned", MaxItems=1000)["VirtualMFADevices"]
    assert [d["User"]["UserName"] for d in assigned if d["SerialNumber"] == serial] == [name]
    free = iam.list_virtual_mfa_devices(AssignmentStatus="Unassigned")["VirtualMFADevices"]
    assert serial not in [d["SerialNumber"] for d in free]
    assert iam.get_mfa_device(SerialNumber=serial)["UserName"] == name
    iam.tag_mfa_device(SerialNumber=serial, Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_mfa_device(SerialNumber=serial, TagKeys=["a"])
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [{"Key": "b", "Value": "2"}]
    later = now + 60
    world.advance(60)
    iam.resync_mfa_device(UserName=name, SerialNumber=serial, AuthenticationCode1=totp(seed, later),
                          AuthenticationCode2=totp(seed, later + 30))
    refused("InvalidAuthenticationCode", iam.resync_mfa_device, UserName=name, SerialNumber=serial,
            AuthenticationCode1="000000", AuthenticationCode2="000001")
    refused("DeleteConflict", iam.delete_virtual_mfa_device, SerialNumber=serial, status=409)
    refused("DeleteConflict", iam.delete_user, UserName=name)
    iam.deactivate_mfa_device(UserName=name, SerialNumber=serial)
    refused("NoSuchEntity", iam.deactivate_mfa_device, UserName=name, SerialNumber=serial)
    iam.delete_virtual_mfa_device(SerialNumber=serial)
    refused("NoSuchEntity", iam.delete_virtual_mfa_device, SerialNumber=serial, status=404)


def raw(data):
    """Base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider(Issuer):
    """An issuer with a second key, on a curve, and tokens of every kind."""

    def __init__(self):
        super().__init__()
        self.curve = f"{self.folder.name}/curve.pem"
        run(tool("openssl"), "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.curve)
        point = subprocess.run([tool("openssl"), "ec", "-in", self.curve, "-pubout", "-outform", "DER"],
                               check=True, capture_output=True).stdout[-64:]
        self.jwks["keys"].append({"kty": "EC", "crv": "P-256", "kid": "curve", "x": raw(point[:32]), "y": raw(point[32:])})

    def claims(self, **more):
        """Of a service account's token."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": "system:serviceaccount:default:builder", "aud": "sts.amazonaws.com",
                  "iat": now, "exp": now + 3600, **more}
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, header, claims, key=None):
        """Signed with the RSA key, or another."""
        text = ".".join(raw(json.dumps(part).encode()) for part in (header, claims))
        made = subprocess.run([tool("openssl"), "dgst", "-sha256", "-sign", key or self.key], input=text.encode(),
                              check=True, capture_output=True).stdout
        return text, made

    def rsa(self, key=None, header=None, **claims):
        """RS256."""
        text, made = self.signed({"alg": "RS256", "kid": self.kid, **(header or {})}, self.claims(**claims), key)
        return f"{text}.{raw(made)}"

    def ecdsa(self, **claims):
        """ES256: the two numbers, not DER."""
        text, der = self.signed({"alg": "ES256", "kid": "curve"}, self.claims(**claims), self.curve)
        first = der[4:4 + der[3]]
        second = der[6 + der[3]:6 + der[3] + der[5 + der[3]]]
        pair = b"".join(number.lstrip(b"\0").rjust(32, b"\0") for number in (first, second))
        return f"{text}.{raw(pair)}"


@pytest.fixture(scope="module")
def provider(world):
    """An identity provider that the account knows."""
    issuer = Provider()
    arn = world.client("iam").create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40])["OpenIDConnectProviderArn"]
    issuer.bare = issuer.url.split("//")[1]
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer.bare}"
    issuer.arn = arn
    yield issuer
    issuer.close()


def by_token(world, arn, token, **more):
    """AssumeRoleWithWebIdentity, unsigned as SDKs send it."""
    sts = world.client("sts", signature_version=UNSIGNED)
    return sts.assume_role_with_web_identity(RoleArn=arn, RoleSessionName="job", WebIdentityToken=token, **more)


def test_web_identity(world, provider, image):
    """COMP-097, IAM-05, IAM-94: a service account's token pulls, by the SDK and by HTTP Basic."""
    condition = {"StringEquals": {f"{provider.bare}:aud": "sts.amazonaws.com",
                                  f"{provider.bare}:sub": "system:serviceaccount:default:builder"}}
    arn = world.role({"Federated": provider.arn}, policy(*PULL), action=["sts:AssumeRoleWithWebIdentity"],
                     condition=condition)
    for token in (provider.rsa(), provider.ecdsa(), provider.rsa(aud=["other", "sts.amazonaws.com"])):
        made = by_token(world, arn, token)
        assert made["SubjectFromWebIdentityToken"] == "system:serviceaccount:default:builder"
        assert (made["Provider"], made["Audience"]) == (provider.arn, "sts.amazonaws.com")
        assert world.web(made["Credentials"])("GET", f"/v2/{image}/manifests/v1").status == 200
        refused("AccessDeniedException", world.client("ecr", made["Credentials"]).delete_repository, repositoryName=image)
    text = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    refused("AccessDenied", by_token, world, arn, provider.rsa(sub="somebody"), status=403, match=text)
    refused("AccessDenied", by_token, world, f"arn:aws:iam::{ACCOUNT}:role/nowhere", provider.rsa(), match=text)
    refused("MalformedPolicyDocument", by_token, world, arn, provider.rsa(), Policy="{}")
    narrow = by_token(world, arn, provider.rsa(), Policy=policy("ecr:ListImages"))["Credentials"]
    refused("AccessDeniedException", world.client("ecr", narrow).describe_repositories)


def test_bad_tokens(world, provider, tmp_path):
    """COMP-097: what is no token of the provider for us."""
    arn = world.role({"Federated": provider.arn}, action=["sts:AssumeRoleWithWebIdentity"])
    now = int(time.time())
    bad = "InvalidIdentityToken"
    refused(bad, by_token, world, arn, "nonsense", status=400)
    head, body, _ = provider.rsa().split(".")
    none = raw(json.dumps({"alg": "none"}).encode())
    refused(bad, by_token, world, arn, f"{none}.{body}.")
    refused(bad, by_token, world, arn, f"{head}.{body}.")
    # The public key as if it were a shared secret, in every form an attacker can have it.
    public = run(tool("openssl"), "rsa", "-in", provider.key, "-pubout").stdout.encode()
    for secret in (public, public.strip(), base64.urlsafe_b64decode(provider.jwks["keys"][0]["n"] + "==")):
        text = f"{raw(json.dumps({'alg': 'HS256', 'kid': provider.kid}).encode())}.{body}"
        refused(bad, by_token, world, arn, f"{text}.{raw(hmac.new(secret, text.encode(), hashlib.sha256).digest())}")
    other = tmp_path / "other.pem"
    run(tool("openssl"), "genrsa", "-out", other, "2048")
    refused(bad, by_token, world, arn, provider.rsa(key=other))
    refused(bad, by_token, world, arn, provider.rsa(header={"kid": "curve"}))
    refused(bad, by_token, world, arn, provider.rsa(header={"kid": "unknown"}))
    refused(bad, by_token, world, arn, provider.rsa(aud="other"), match="audience")
    refused(bad, by_token, world, arn, provider.rsa(iss="https://elsewhere.example.com"), match="No OpenIDConnect provider")
    refused(bad, by_token, world, arn, provider.rsa(iat=now + 3600 + world.moved, nbf=now + 3600 + world.moved, exp=now + 9999))
    for name in ("sub", "exp", "iat", "aud", "iss"):
        refused(bad, by_token, world, arn, provider.rsa(**{name: None}))
    refused("ExpiredTokenException", by_token, world, arn, provider.rsa(exp=now - 3600), match="expired")
    flipped = provider.rsa()
    head, body, tag = flipped.split(".")
    more = json.loads(base64.urlsafe_b64decode(body + "==")) | {"sub": "admin"}
    refused(bad, by_token, world, arn, f"{head}.{raw(json.dumps(more).encode())}.{tag}")
    assert by_token(world, arn, provider.rsa())


def test_new_key(world, provider):
    """COMP-097: a key that is new at the provider is found, but not asked for at every token."""
    arn = world.role({"Federated": provider.arn}, action=["sts:AssumeRoleWithWebIdentity"])
    assert by_token(world, arn, provider.rsa())
    world.advance(31)
    kept = dict(provider.jwks["keys"][0])
    provider.jwks["keys"].append({**kept, "kid": "fresh"})
    assert by_token(world, arn, provider.rsa(header={"kid": "fresh"}))
    provider.jwks["keys"].append({**kept, "kid": "fresher"})
    refused("InvalidIdentityToken", by_token, world, arn, provider.rsa(header={"kid": "fresher"}))
    world.advance(31)
    assert by_token(world, arn, provider.rsa(header={"kid": "fresher"}))


def test_session_tags_by_token(world, provider):
    """COMP-097: tags of the token need sts:TagSession, and count as principal tags."""
    tags = {"https://aws.amazon.com/tags": {"principal_tags": {"team": ["blue"]}}}
    federated = {"Federated": provider.arn}
    plain = world.role(federated, action=["sts:AssumeRoleWithWebIdentity"])
    refused("AccessDenied", by_token, world, plain, provider.rsa(**tags))
    own = policy("ecr:DescribeRepositories", Condition={"StringEquals": {"aws:PrincipalTag/team": "blue"}})
    arn = world.role(federated, own, action=["sts:AssumeRoleWithWebIdentity", "sts:TagSession"])
    assert world.client("ecr", by_token(world, arn, provider.rsa(**tags))["Credentials"]).describe_repositories()
    refused("AccessDeniedException",
            world.client("ecr", by_token(world, arn, provider.rsa())["Credentials"]).describe_repositories)


def test_unreachable_issuer(world):
    """COMP-097: a provider that does not answer is told from a token that is wrong."""
    iam, issuer = world.client("iam"), Provider()
    made = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["sts.amazonaws.com"])
    arn = world.role({"Federated": made["OpenIDConnectProviderArn"]}, action=["sts:AssumeRoleWithWebIdentity"])
    token = issuer.rsa()
    issuer.server.shutdown()
    issuer.server.server_close()
    refused("IDPCommunicationError", by_token, world, arn, token, status=400)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=made["OpenIDConnectProviderArn"])
    refused("InvalidIdentityToken", by_token, world, arn, token)


def test_keys_from_files(nothing_left, tmp_path):
    """COMP-097: with key sets in files nobody is called."""
    issuer = Provider()
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(issuer.jwks))
    issuer.server.shutdown()
    issuer.server.server_close()
    funaya = Funaya(tmp_path / "data", env={"FUNAYA_OIDC_JWKS": f"{issuer.url}={keys}"}).start()
    try:
        world = World(funaya)
        made = world.client("iam").create_open_id_connect_provider(Url=issuer.url, ClientIDList=["sts.amazonaws.com"])
        arn = world.role({"Federated": made["OpenIDConnectProviderArn"]}, action=["sts:AssumeRoleWithWebIdentity"])
        assert by_token(world, arn, issuer.rsa()) and by_token(world, arn, issuer.ecdsa())
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "one.json").write_text(json.dumps({"issuer": issuer.url, **issuer.jwks}))
        funaya.stop()
        funaya.extra["FUNAYA_OIDC_JWKS"] = str(folder)
        funaya.start()
        assert by_token(world, arn, issuer.rsa())
        funaya.stop()
        del funaya.extra["FUNAYA_OIDC_JWKS"]
        funaya.start()
        # Without the setting for tests a provider on this machine is not called.
        refused("IDPCommunicationError", by_token, world, arn, issuer.rsa())
        funaya.stop()
    finally:
        funaya.kill()


def test_oidc_providers(world):
    """COMP-091 to COMP-094: the providers themselves."""
    iam, url = world.client("iam"), f"https://{fresh('idp')}.example.com/path"
    made = iam.create_open_id_connect_provider(Url=url, ClientIDList=["a"], Tags=[{"Key": "k", "Value": "v"}])
    arn = made["OpenIDConnectProviderArn"]
    assert made["Tags"] == [{"Key": "k", "Value": "v"}]
    refused("EntityAlreadyExists", iam.create_open_id_connect_provider, Url=url, status=409)
    for bad in ("http://idp.example.com", "https://idp.example.com/?x=1", "nonsense"):
        refused("InvalidInput", iam.create_open_id_connect_provider, Url=bad)
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="b")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["B" * 40])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == (url.split("//")[1], ["b"], ["b" * 40])
    assert arn in [p["Arn"] for p in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "k", "Value": "w"}])
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == [{"Key": "k", "Value": "w"}]
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["k"])
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    refused("NoSuchEntity", iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn, status=404)
    refused("NoSuchEntity", iam.delete_open_id_connect_provider, OpenIDConnectProviderArn=arn)


class SamlProvider:
    """An identity provider with a certificate, and assertions of every kind, written as canonical XML has them."""

    entity = "https://idp.example.com/saml"
    recipient = "https://signin.aws.amazon.com/saml"

    def __init__(self, folder):
        self.key, self.certificate = folder / "idp.key", folder / "idp.pem"
        run(tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=idp",
            "-keyout", self.key, "-out", self.certificate)

    def metadata(self):
        """With room for IAM's least size."""
        letters = "".join(self.certificate.read_text().splitlines()[1:-1])
        return (f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.entity}">'
                '<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
                '<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data>'
                f"<X509Certificate>{letters}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
                "</IDPSSODescriptor></EntityDescriptor>")

    def assertion(self, role, provider, now, name="mia", session="mia@example.com", more="", audience="urn:amazon:webservices",
                  recipient=None, issuer=None, end=300, id="_a1"):
        """Not signed yet."""
        def at(seconds):
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds))

        def attribute(kind, value):
            return (f'<saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/{kind}">'
                    f"<saml:AttributeValue>{value}</saml:AttributeValue></saml:Attribute>")
        return (f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{id}" IssueInstant="{at(0)}" '
                f'Version="2.0"><saml:Issuer>{issuer or self.entity}</saml:Issuer>'
                '<saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">'
                f'{name}</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
                f'<saml:SubjectConfirmationData NotOnOrAfter="{at(end)}" Recipient="{recipient or self.recipient}">'
                '</saml:SubjectConfirmationData></saml:SubjectConfirmation></saml:Subject>'
                f'<saml:Conditions NotBefore="{at(-60)}" NotOnOrAfter="{at(end)}"><saml:AudienceRestriction>'
                f"<saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
                f'<saml:AttributeStatement>{attribute("Role", f"{role},{provider}")}'
                f'{attribute("RoleSessionName", session)}{more}</saml:AttributeStatement></saml:Assertion>')

    def signed(self, text, id="_a1", key=None, method="rsa-sha256"):
        """With a signature after its issuer."""
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        info = ('<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
                '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod>'
                f'<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#{method}"></ds:SignatureMethod>'
                f'<ds:Reference URI="#{id}"><ds:Transforms>'
                '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform>'
                '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms>'
                '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>'
                f"<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>")
        made = subprocess.run([tool("openssl"), "dgst", "-sha256", "-sign", key or self.key], input=info.encode(), check=True,
                              capture_output=True).stdout
        bare = info.replace(' xmlns:ds="http://www.w3.org/2000/09/xmldsig#"', "", 1)
        signature = (f'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">{bare}'
                     f"<ds:SignatureValue>{base64.b64encode(made).decode()}</ds:SignatureValue></ds:Signature>")
        return text.replace("</saml:Issuer>", "</saml:Issuer>" + signature, 1)

    @staticmethod
    def response(*parts):
        """Around an assertion."""
        return ('<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_r1" Version="2.0"><samlp:Status>'
                '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
                + "".join(parts) + "</samlp:Response>")


@pytest.fixture(scope="module")
def saml(world, tmp_path_factory):
    """A SAML provider that the account knows."""
    provider = SamlProvider(tmp_path_factory.mktemp("saml"))
    provider.arn = world.client("iam").create_saml_provider(
        Name=fresh("saml"), SAMLMetadataDocument=provider.metadata())["SAMLProviderArn"]
    return provider


def by_assertion(world, role, provider, text, **more):
    """AssumeRoleWithSAML, unsigned as SDKs send it."""
    sts = world.client("sts", signature_version=UNSIGNED)
    return sts.assume_role_with_saml(RoleArn=role, PrincipalArn=provider,
                                     SAMLAssertion=base64.b64encode(text.encode()).decode(), **more)


def test_saml(world, saml, image):
    """COMP-096, IAM-05: an assertion gives a session of the role that it names."""
    role = world.role({"Federated": saml.arn}, policy(*PULL), action=["sts:AssumeRoleWithSAML"], condition={
        "StringEquals": {"saml:aud": saml.recipient, "saml:sub_type": "persistent", "saml:iss": saml.entity}})
    good = saml.signed(saml.assertion(role, saml.arn, world.now()))
    for text in (good, saml.response(good)):
        made = by_assertion(world, role, saml.arn, text)
        assert made["AssumedRoleUser"]["Arn"].endswith("/mia@example.com")
        assert (made["Subject"], made["SubjectType"], made["Issuer"]) == ("mia", "persistent", saml.entity)
        assert made["Audience"] == saml.recipient and len(base64.b64decode(made["NameQualifier"])) == 20
        assert world.web(made["Credentials"])("GET", f"/v2/{image}/manifests/v1").status == 200
    other = world.role({"Federated": saml.arn}, action=["sts:AssumeRoleWithSAML"])
    text = "Not authorized to perform sts:AssumeRoleWithSAML"
    refused("AccessDenied", by_assertion, world, other, saml.arn, good, status=403, match=text)
    foreign = saml.signed(saml.assertion(other, saml.arn, world.now()))
    closed = world.role({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    refused("AccessDenied", by_assertion, world, closed, saml.arn,
            saml.signed(saml.assertion(closed, saml.arn, world.now())), match=text)
    assert by_assertion(world, other, saml.arn, foreign)


def test_bad_assertions(world, saml, tmp_path):
    """COMP-096: what is not signed by the provider is not read, wherever it stands."""
    role = world.role({"Federated": saml.arn}, action=["sts:AssumeRoleWithSAML"])
    plain = saml.assertion(role, saml.arn, world.now())
    good, bad = saml.signed(plain), "InvalidIdentityToken"

    def no(text, code=bad, **more):
        return refused(code, by_assertion, world, role, saml.arn, text, **more)
    assert by_assertion(world, role, saml.arn, good)
    no("nonsense")
    no(plain)
    no(good.replace(">mia<", ">root<"))
    no(good.replace("mia@example.com", "root@example.com"))
    no(good.replace(">mia<", "><!-- -->root<"))
    other = tmp_path / "other.key"
    run(tool("openssl"), "genrsa", "-out", other, "2048")
    no(saml.signed(plain, key=other))
    # A signature that brings its own key is no better, and one of many is not looked at.
    own = SamlProvider(tmp_path)
    letters = "".join(own.certificate.read_text().splitlines()[1:-1])
    info = f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{letters}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
    brought = saml.signed(plain, key=own.key)
    no(brought.replace("</ds:SignatureValue>", f"</ds:SignatureValue>{info}"))
    assert by_assertion(world, role, saml.arn, good.replace("</ds:SignatureValue>", f"</ds:SignatureValue>{info}"))
    start, end = good.index("<ds:Signature "), good.index("</ds:Signature>") + len("</ds:Signature>")
    no(good[:end] + 2 * good[start:end] + good[end:])
    transform = good[good.index("<ds:Transform "):good.index("</ds:Transform>") + len("</ds:Transform>")]
    no(good.replace(transform, 4 * transform))
    no(saml.signed(plain, method="hmac-sha256"))
    no(good.replace("xmldsig-more#rsa-sha256", "xmldsig-more#rsa-sha512"))
    no('<!DOCTYPE x [<!ENTITY e "x">]>' + good)
    # The right assertion is there, and beside, around or inside it another one.
    evil = saml.assertion(role, saml.arn, world.now(), name="root", session="root@example.com", id="_evil")
    same = saml.assertion(role, saml.arn, world.now(), name="root", session="root@example.com")
    no(saml.response(evil, good))
    no(saml.response(good, evil))
    no(saml.response(same, good))
    no(evil.replace("</saml:Issuer>", f"</saml:Issuer>{good}", 1))
    no(saml.response(f"<samlp:Extensions>{good}</samlp:Extensions>", evil))
    signature = good[good.index("<ds:Signature "):good.index("</ds:Signature>") + len("</ds:Signature>")]
    no(evil.replace("</saml:Issuer>", f"</saml:Issuer>{signature}", 1))
    no(evil.replace("</saml:Issuer>", "</saml:Issuer>" + signature.replace(
        "</ds:Signature>", f"<ds:Object>{plain}</ds:Object></ds:Signature>"), 1))
    no(saml.response(f"<samlp:Extensions>{good}</samlp:Extensions>"))
    no(good.replace('URI="#_a1"', 'URI=""'))

    def signed(**more):
        return saml.signed(saml.assertion(role, saml.arn, world.now(), **more))
    no(signed(issuer="https://elsewhere.example.com"))
    no(signed(audience="https://elsewhere.example.com"), "IDPRejectedClaim", status=403)
    no(signed(recipient="https://elsewhere.example.com"))
    no(signed(end=-120), "ExpiredTokenException")
    no(signed(session="no blanks here"), "IDPRejectedClaim")
    failed = saml.response(good).replace("status:Success", "status:Responder")
    no(failed, "IDPRejectedClaim")
    refused(bad, by_assertion, world, role, saml.arn + "x", good)
    tag = ('<saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/PrincipalTag:team">'
           "<saml:AttributeValue>blue</saml:AttributeValue></saml:Attribute>")
    no(signed(more=tag), "AccessDenied", match="sts:TagSession")
    tagging = world.role({"Federated": saml.arn}, action=["sts:AssumeRoleWithSAML", "sts:TagSession"],
                         condition={"StringEquals": {"aws:RequestTag/team": "blue"}})
    assert by_assertion(world, tagging, saml.arn, saml.signed(saml.assertion(tagging, saml.arn, world.now(), more=tag)))


def test_saml_providers(world, saml):
    """COMP-088 to COMP-090: the providers themselves."""
    iam, name = world.client("iam"), fresh("saml")
    metadata = saml.metadata()
    arn = iam.create_saml_provider(Name=name, SAMLMetadataDocument=metadata)["SAMLProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:saml-provider/{name}"
    refused("EntityAlreadyExists", iam.create_saml_provider, Name=name, SAMLMetadataDocument=metadata)
    refused("InvalidInput", iam.create_saml_provider, Name=fresh("s"), SAMLMetadataDocument="x" * 1000)
    assert iam.get_saml_provider(SAMLProviderArn=arn)["SAMLMetadataDocument"].strip() == metadata.strip()
    assert iam.update_saml_provider(SAMLProviderArn=arn, SAMLMetadataDocument=metadata)["SAMLProviderArn"] == arn
    assert arn in [p["Arn"] for p in iam.list_saml_providers()["SAMLProviderList"]]
    iam.tag_saml_provider(SAMLProviderArn=arn, Tags=[{"Key": "k", "Value": "w"}])
    assert iam.list_saml_provider_tags(SAMLProviderArn=arn)["Tags"] == [{"Key": "k", "Value": "w"}]
    iam.untag_saml_provider(SAMLProviderArn=arn, TagKeys=["k"])
    refused("InvalidInput", iam.update_saml_provider, SAMLProviderArn=arn, SAMLMetadataDocument="x" * 1000)
    iam.delete_saml_provider(SAMLProviderArn=arn)
    refused("NoSuchEntity", iam.get_saml_provider, SAMLProviderArn=arn)


def outcomes(found):
    """What a simulation says, by action."""
    return {r["EvalActionName"]: r["EvalDecision"] for r in found["EvaluationResults"]}


def test_simulation(world):
    """COMP-083: what policies would say."""
    iam = world.client("iam")
    group = fresh("group")
    name, key = world.user(policy("ecr:*"), policy("ecr:DeleteRepository", effect="Deny"))
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="g", PolicyDocument=policy("iam:GetUser"))
    iam.add_user_to_group(GroupName=group, UserName=name)
    actions = ["ecr:PutImage", "ecr:DeleteRepository", "iam:GetUser", "iam:CreateUser"]
    found = iam.simulate_principal_policy(PolicySourceArn=arn_of(name), ActionNames=actions)
    assert list(outcomes(found).values()) == ["allowed", "explicitDeny", "allowed", "implicitDeny"]
    matched = found["EvaluationResults"][1]["MatchedStatements"]
    assert [(s["SourcePolicyId"], s["SourcePolicyType"]) for s in matched] == [("p1", "user")]
    places = [(s["StartPosition"]["Line"], s["StartPosition"]["Column"], s["EndPosition"]["Column"]) for s in matched]
    denies = policy("ecr:DeleteRepository", effect="Deny")
    assert [denies[start - 1:end - 1] for line, start, end in places] == [json.dumps(json.loads(denies)["Statement"][0])]
    boundary = iam.create_policy(PolicyName=fresh("b"), PolicyDocument=policy("iam:*"))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
    found = iam.simulate_principal_policy(PolicySourceArn=arn_of(name), ActionNames=actions)
    assert list(outcomes(found).values()) == ["implicitDeny", "explicitDeny", "allowed", "implicitDeny"]
    details = [r["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"] for r in found["EvaluationResults"]]
    assert details == [False, False, True, True]
    own = policy("ecr:PutImage", resource="arn:aws:ecr:*:*:repository/${aws:username}/*",
                 Condition={"StringEquals": {"aws:RequestTag/a": "b"}})
    assert set(iam.get_context_keys_for_custom_policy(PolicyInputList=[own])["ContextKeyNames"]) == {
        "aws:username", "aws:RequestTag/a"}
    assert "aws:RequestTag/a" in iam.get_context_keys_for_principal_policy(
        PolicySourceArn=arn_of(name), PolicyInputList=[own])["ContextKeyNames"]
    repository = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/alice/x"
    asked = {"PolicyInputList": [own], "ActionNames": ["ecr:PutImage"], "ResourceArns": [repository]}
    found = iam.simulate_custom_policy(**asked)["EvaluationResults"][0]
    assert (found["EvalDecision"], sorted(found["MissingContextValues"])) == (
        "implicitDeny", ["aws:RequestTag/a", "aws:username"])
    entries = [{"ContextKeyName": k, "ContextKeyValues": [v], "ContextKeyType": "string"}
               for k, v in (("aws:username", "alice"), ("aws:RequestTag/a", "b"))]
    assert outcomes(iam.simulate_custom_policy(**asked, ContextEntries=entries)) == {"ecr:PutImage": "allowed"}
    page = iam.simulate_custom_policy(PolicyInputList=[policy("*")], ActionNames=["a:b", "c:d", "e:f"], MaxItems=2)
    assert page["IsTruncated"] and len(page["EvaluationResults"]) == 2
    rest = iam.simulate_custom_policy(PolicyInputList=[policy("*")], ActionNames=["a:b", "c:d", "e:f"], MaxItems=2,
                                      Marker=page["Marker"])
    assert [r["EvalActionName"] for r in rest["EvaluationResults"]] == ["e:f"]
    resource_policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": arn_of(name)}, "Action": "ecr:ListImages"}]})
    found = iam.simulate_custom_policy(PolicyInputList=[policy("iam:None")], ActionNames=["ecr:ListImages"],
                                       ResourceArns=[repository], ResourcePolicy=resource_policy, CallerArn=arn_of(name))
    assert outcomes(found) == {"ecr:ListImages": "allowed"}
    refused("InvalidInput", iam.simulate_custom_policy, PolicyInputList=["{}"], ActionNames=["a:b"])
    refused("NoSuchEntity", iam.simulate_principal_policy, PolicySourceArn=arn_of("nobody"), ActionNames=["a:b"])
    refused("AccessDenied", world.client("iam", key).simulate_principal_policy, PolicySourceArn=arn_of(name),
            ActionNames=["a:b"])


def test_secrets_stay_out_of_the_log(world, provider):
    """TRAIL-12: no token, code, secret or assertion in log or audit records."""
    arn = world.role({"Federated": provider.arn}, action=["sts:AssumeRoleWithWebIdentity"])
    token = provider.rsa()
    made = by_token(world, arn, token)["Credentials"]
    time.sleep(2)
    records = run(program(), "audit", "--data", world.funaya.data).stdout
    assert made["AccessKeyId"] in records and "AssumeRoleWithWebIdentity" in records
    for secret in (token, token.split(".")[2], made["SecretAccessKey"], made["SessionToken"]):
        assert secret not in records and secret not in world.funaya.log.read_text(errors="replace")
