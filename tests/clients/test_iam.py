"""IAM by the AWS SDK: users, groups, roles, policies, keys, passwords; and what they let people do."""
import csv
import io
import json
import re
import threading
import time
import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import ACCOUNT, REGION, run
from support.server import ACCESS_KEY, SECRET_KEY, program

READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
PASSWORD = "Correct-Horse-1"


def aws(plain, service="iam", key=ACCESS_KEY, secret=SECRET_KEY):
    """An SDK client; one try, so that an error is seen as it comes."""
    config = boto3.session.Config(retries={"total_max_attempts": 1})
    return boto3.client(service, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret,
                        endpoint_url=plain.url, config=config)


def fresh(kind="x"):
    """A name that nobody has."""
    return f"{kind}-{uuid.uuid4().hex[:10]}"


def refused(code, call, *args, status=None, match="", **more):
    """The call fails with this code; the message comes back."""
    with pytest.raises(ClientError) as caught:
        call(*args, **more)
    answer = caught.value.response
    assert answer["Error"]["Code"] == code, answer
    assert status in (None, answer["ResponseMetadata"]["HTTPStatusCode"]), answer
    assert re.search(match, answer["Error"]["Message"]), answer
    return answer


def policy(*actions, resource="*", effect="Allow", **more):
    """A policy document of one statement."""
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal=None):
    """A trust policy."""
    statement = {"Effect": "Allow", "Principal": principal or {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def pages(call, result, **more):
    """All items of a list, and the sizes of its pages."""
    items, sizes, marker = [], [], {}
    while True:
        page = call(**more, **marker)
        items += page[result]
        sizes.append(len(page[result]))
        if not page["IsTruncated"]:
            assert "Marker" not in page
            return items, sizes
        marker = {"Marker": page["Marker"]}


@pytest.fixture(scope="module")
def iam(plain):
    """IAM as the root of the account."""
    return aws(plain)


@pytest.fixture
def user(iam):
    """A user with nothing."""
    name = fresh("user")
    iam.create_user(UserName=name)
    return name


@pytest.fixture
def group(iam):
    """A group without members."""
    name = fresh("group")
    iam.create_group(GroupName=name)
    return name


@pytest.fixture
def role(iam):
    """A role of the account."""
    name = fresh("role")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
    return name


def keys_of(iam, name):
    """A new key of a user: id, secret."""
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_users(iam):
    """COMP-001 to COMP-005, COMP-904: names, paths, ids, ARNs; names are unique without regard to case."""
    name = fresh("User")
    made = iam.create_user(UserName=name, Path="/team/", Tags=[{"Key": "Cost", "Value": "1"}])["User"]
    assert re.fullmatch("AIDA[A-Z2-7]{17}", made["UserId"])
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/team/{name}"
    assert made["Path"] == "/team/" and made["UserName"] == name and made["Tags"] == [{"Key": "Cost", "Value": "1"}]
    assert iam.get_user(UserName=name.lower())["User"] == made
    refused("EntityAlreadyExists", iam.create_user, UserName=name.upper(), status=409, match="already exists")
    refused("NoSuchEntity", iam.get_user, UserName="nobody", status=404,
            match="The user with name nobody cannot be found.")
    listed = iam.list_users(PathPrefix="/team/")["Users"]
    assert made["UserId"] in [u["UserId"] for u in listed] and all(u["Path"].startswith("/team/") for u in listed)
    # A rename keeps the id and all that hangs on it.
    key, _ = keys_of(iam, name)
    new = fresh("user")
    iam.update_user(UserName=name, NewUserName=new, NewPath="/")
    found = iam.get_user(UserName=new)["User"]
    assert found["UserId"] == made["UserId"] and found["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{new}"
    assert [k["AccessKeyId"] for k in iam.list_access_keys(UserName=new)["AccessKeyMetadata"]] == [key]
    refused("NoSuchEntity", iam.get_user, UserName=name)
    other = fresh("user")
    iam.create_user(UserName=other)
    refused("EntityAlreadyExists", iam.update_user, UserName=other, NewUserName=new)
    iam.update_user(UserName=other, NewUserName=other.upper())
    assert iam.get_user(UserName=other)["User"]["UserName"] == other.upper()
    refused("DeleteConflict", iam.delete_user, UserName=new, status=409, match="must delete access keys first")
    iam.delete_access_key(UserName=new, AccessKeyId=key)
    iam.delete_user(UserName=new)
    refused("NoSuchEntity", iam.delete_user, UserName=new)
    refused("NoSuchEntity", iam.update_user, UserName=new, NewPath="/x/")


def test_names_are_checked(iam):
    """COMP-904, ERR-22: the shape's constraints."""
    refused("ValidationError", iam.create_user, UserName="a b", status=400, match="userName")
    refused("ValidationError", iam.create_user, UserName="a" * 65)
    refused("ValidationError", iam.create_user, UserName="a", Path="team")
    refused("ValidationError", iam.create_role, RoleName="r" * 65, AssumeRolePolicyDocument=trust())
    assert iam.create_group(GroupName=(long := "g" * 118 + uuid.uuid4().hex[:10]))["Group"]["GroupName"] == long


def test_pages(iam):
    """COMP-903: Marker and MaxItems; a marker is good for its own list only."""
    path = f"/{fresh('p')}/"
    names = sorted(fresh("u") for _ in range(5))
    for name in names:
        iam.create_user(UserName=name, Path=path)
    users, sizes = pages(iam.list_users, "Users", PathPrefix=path, MaxItems=2)
    assert [u["UserName"] for u in users] == names and sizes == [2, 2, 1]
    marker = iam.list_users(PathPrefix=path, MaxItems=2)["Marker"]
    refused("ValidationError", iam.list_users, PathPrefix="/", Marker=marker, match="Marker")
    refused("ValidationError", iam.list_users, PathPrefix=path, Marker=marker[:-2] + "xx")
    refused("ValidationError", iam.list_groups, PathPrefix=path, Marker=marker)


def test_get_user_without_a_name(plain, iam, user):
    """COMP-002: the caller; root is shown as root."""
    root = iam.get_user()["User"]
    assert root["Arn"] == f"arn:aws:iam::{ACCOUNT}:root" and root["UserId"] == ACCOUNT
    iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=policy("iam:GetUser"))
    own = aws(plain, "iam", *keys_of(iam, user))
    assert own.get_user()["User"]["UserName"] == user


@pytest.mark.parametrize("kind", ["user", "role", "policy", "instance_profile"])
def test_tags(iam, kind):
    """COMP-006 to COMP-008, COMP-037 to COMP-039, IAM-10."""
    name = fresh("tagged")
    make = {"user": lambda: iam.create_user(UserName=name),
            "role": lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust()),
            "policy": lambda: iam.create_policy(PolicyName=name, PolicyDocument=policy("ecr:*")),
            "instance_profile": lambda: iam.create_instance_profile(InstanceProfileName=name)}
    make[kind]()
    named = {"user": {"UserName": name}, "role": {"RoleName": name},
             "policy": {"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/{name}"},
             "instance_profile": {"InstanceProfileName": name}}[kind]
    tag, untag, listed = (getattr(iam, name) for name in (f"tag_{kind}", f"untag_{kind}", f"list_{kind}_tags"))
    tag(**named, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    tag(**named, Tags=[{"Key": "A", "Value": "2"}])
    assert listed(**named)["Tags"] == [{"Key": "A", "Value": "2"}, {"Key": "b", "Value": ""}]
    assert listed(**named, MaxItems=1)["IsTruncated"]
    refused("InvalidInput", tag, **named, Tags=[{"Key": "c", "Value": "1"}, {"Key": "C", "Value": "2"}])
    refused("InvalidInput", tag, **named, Tags=[{"Key": "aws:x", "Value": "1"}])
    refused("LimitExceeded", tag, **named, Tags=[{"Key": f"k{n}", "Value": ""} for n in range(49)])
    untag(**named, TagKeys=["a", "nothing"])
    assert listed(**named)["Tags"] == [{"Key": "b", "Value": ""}]
    gone = {key: value.replace("tagged", "gone") for key, value in named.items()}
    for call, more in ((tag, {"Tags": [{"Key": "a", "Value": "1"}]}), (untag, {"TagKeys": ["a"]}), (listed, {})):
        refused("NoSuchEntity", call, **gone, **more)


def test_access_keys(plain, iam, user):
    """COMP-014 to COMP-018, IAM-07: two keys, the secret once."""
    refused("NoSuchEntity", iam.create_access_key, UserName="nobody")
    first = iam.create_access_key(UserName=user)["AccessKey"]
    assert re.fullmatch("AKIA[A-Z2-7]{16}", first["AccessKeyId"]) and len(first["SecretAccessKey"]) == 40
    assert first["Status"] == "Active" and first["UserName"] == user
    second = iam.create_access_key(UserName=user)["AccessKey"]
    refused("LimitExceeded", iam.create_access_key, UserName=user, status=409,
            match="Cannot exceed quota for AccessKeysPerUser: 2")
    listed = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    assert {k["AccessKeyId"] for k in listed} == {first["AccessKeyId"], second["AccessKeyId"]}
    assert not any("SecretAccessKey" in k for k in listed)
    assert len(pages(iam.list_access_keys, "AccessKeyMetadata", UserName=user, MaxItems=1)[1]) == 2
    iam.update_access_key(UserName=user, AccessKeyId=first["AccessKeyId"], Status="Inactive")
    status = {k["AccessKeyId"]: k["Status"] for k in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}
    assert status == {first["AccessKeyId"]: "Inactive", second["AccessKeyId"]: "Active"}
    used = iam.get_access_key_last_used(AccessKeyId=second["AccessKeyId"])
    assert used["UserName"] == user and used["AccessKeyLastUsed"]["ServiceName"] == "N/A"
    iam.delete_access_key(UserName=user, AccessKeyId=first["AccessKeyId"])
    refused("NoSuchEntity", iam.delete_access_key, UserName=user, AccessKeyId=first["AccessKeyId"],
            match="The Access Key with id AKIA.* cannot be found.")
    refused("NoSuchEntity", iam.update_access_key, UserName=user, AccessKeyId="AKIA0123456789ABCDEF", Status="Active")
    refused("NoSuchEntity", iam.get_access_key_last_used, AccessKeyId="AKIA0123456789ABCDEF")
    other = fresh("user")
    iam.create_user(UserName=other)
    refused("NoSuchEntity", iam.delete_access_key, UserName=other, AccessKeyId=second["AccessKeyId"])


def test_own_keys(plain, iam, user):
    """COMP-014: without UserName, the caller's own. Root may have a second key beside that of the settings."""
    iam.put_user_policy(UserName=user, PolicyName="keys", PolicyDocument=policy(
        "iam:*AccessKey*", resource=f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"))
    own = aws(plain, "iam", *keys_of(iam, user))
    made = own.create_access_key()["AccessKey"]
    assert made["UserName"] == user and len(own.list_access_keys()["AccessKeyMetadata"]) == 2
    own.update_access_key(AccessKeyId=made["AccessKeyId"], Status="Inactive")
    own.delete_access_key(AccessKeyId=made["AccessKeyId"])
    other = fresh("user")
    iam.create_user(UserName=other)
    refused("AccessDenied", own.create_access_key, UserName=other, status=403,
            match=f"not authorized to perform: iam:CreateAccessKey on resource: arn:aws:iam::{ACCOUNT}:user/{other}")
    rooted = iam.create_access_key()["AccessKey"]
    refused("LimitExceeded", iam.create_access_key)
    again = aws(plain, "iam", rooted["AccessKeyId"], rooted["SecretAccessKey"])
    assert again.get_user()["User"]["Arn"].endswith(":root")
    assert {k["AccessKeyId"] for k in again.list_access_keys()["AccessKeyMetadata"]} == {ACCESS_KEY, rooted["AccessKeyId"]}
    refused("UnmodifiableEntity", iam.delete_access_key, AccessKeyId=ACCESS_KEY)
    iam.delete_access_key(AccessKeyId=rooted["AccessKeyId"])
    refused("InvalidClientTokenId", again.get_user, status=403)


def test_groups(iam, user):
    """COMP-024 to COMP-030."""
    name = fresh("Group")
    made = iam.create_group(GroupName=name, Path="/dev/")["Group"]
    assert re.fullmatch("AGPA[A-Z2-7]{17}", made["GroupId"])
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/dev/{name}"
    refused("EntityAlreadyExists", iam.create_group, GroupName=name.lower(), match="Group with name .* already exists")
    assert iam.get_group(GroupName=name)["Group"] == made
    assert made in iam.list_groups(PathPrefix="/dev/")["Groups"]
    refused("NoSuchEntity", iam.get_group, GroupName="none", match="The group with name none cannot be found.")
    iam.add_user_to_group(GroupName=name, UserName=user)
    iam.add_user_to_group(GroupName=name, UserName=user)
    refused("NoSuchEntity", iam.add_user_to_group, GroupName="none", UserName=user)
    refused("NoSuchEntity", iam.add_user_to_group, GroupName=name, UserName="nobody")
    assert [u["UserName"] for u in iam.get_group(GroupName=name)["Users"]] == [user]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=user)["Groups"]] == [name]
    refused("DeleteConflict", iam.delete_group, GroupName=name, match="must remove users from group first")
    refused("DeleteConflict", iam.delete_user, UserName=user, match="must remove users from group first")
    new = fresh("group")
    iam.update_group(GroupName=name, NewGroupName=new, NewPath="/")
    assert iam.get_group(GroupName=new)["Group"]["GroupId"] == made["GroupId"]
    assert [u["UserName"] for u in iam.get_group(GroupName=new)["Users"]] == [user]
    refused("NoSuchEntity", iam.update_group, GroupName=name)
    iam.remove_user_from_group(GroupName=new, UserName=user)
    refused("NoSuchEntity", iam.remove_user_from_group, GroupName=new, UserName=user)
    iam.put_group_policy(GroupName=new, PolicyName="p", PolicyDocument=policy("ecr:*"))
    refused("DeleteConflict", iam.delete_group, GroupName=new, match="must delete policies first")
    iam.delete_group_policy(GroupName=new, PolicyName="p")
    iam.delete_group(GroupName=new)
    refused("NoSuchEntity", iam.delete_group, GroupName=new)


def test_ten_groups_of_a_user(iam, user):
    """COMP-028: the quota, and pages of members and of groups."""
    names = sorted(fresh("g") for _ in range(11))
    for name in names:
        iam.create_group(GroupName=name)
    for name in names[:10]:
        iam.add_user_to_group(GroupName=name, UserName=user)
    refused("LimitExceeded", iam.add_user_to_group, GroupName=names[10], UserName=user, match="GroupsPerUser: 10")
    groups, sizes = pages(iam.list_groups_for_user, "Groups", UserName=user, MaxItems=4)
    assert [g["GroupName"] for g in groups] == names[:10] and sizes == [4, 4, 2]
    others = [fresh("user") for _ in range(2)]
    for other in others:
        iam.create_user(UserName=other)
        iam.add_user_to_group(GroupName=names[0], UserName=other)
    users, sizes = pages(iam.get_group, "Users", GroupName=names[0], MaxItems=2)
    assert {u["UserName"] for u in users} == {user, *others} and sizes == [2, 1]


def test_roles(iam):
    """COMP-031 to COMP-036."""
    name = fresh("Role")
    made = iam.create_role(RoleName=name, Path="/svc/", AssumeRolePolicyDocument=trust(), Description="builds",
                           MaxSessionDuration=7200, Tags=[{"Key": "a", "Value": "b"}])["Role"]
    assert re.fullmatch("AROA[A-Z2-7]{17}", made["RoleId"])
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/svc/{name}" and made["MaxSessionDuration"] == 7200
    assert made["AssumeRolePolicyDocument"] == json.loads(trust())
    found = iam.get_role(RoleName=name)["Role"]
    assert found["Description"] == "builds" and found["Tags"] == [{"Key": "a", "Value": "b"}]
    assert found["RoleLastUsed"] == {}
    refused("EntityAlreadyExists", iam.create_role, RoleName=name, AssumeRolePolicyDocument=trust())
    refused("NoSuchEntity", iam.get_role, RoleName="none", match="The role with name none cannot be found.")
    assert made["RoleId"] in [r["RoleId"] for r in iam.list_roles(PathPrefix="/svc/")["Roles"]]
    iam.update_role(RoleName=name, Description="tests", MaxSessionDuration=3600)
    assert iam.update_role_description(RoleName=name, Description="more")["Role"]["Description"] == "more"
    found = iam.get_role(RoleName=name)["Role"]
    assert (found["Description"], found["MaxSessionDuration"]) == ("more", 3600)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust({"Service": "ec2.amazonaws.com"}))
    document = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    assert document["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    iam.attach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    refused("DeleteConflict", iam.delete_role, RoleName=name, match="must detach all policies first")
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    iam.delete_role(RoleName=name)
    for call, more in ((iam.delete_role, {}), (iam.update_role, {}), (iam.update_role_description, {"Description": ""}),
                       (iam.update_assume_role_policy, {"PolicyDocument": trust()})):
        refused("NoSuchEntity", call, RoleName=name, **more)


def test_trust_policies(iam, user):
    """COMP-031, POL-14, POL-15: principals must be there; one that goes is shown by its id."""
    arn, name = iam.get_user(UserName=user)["User"]["Arn"], fresh("role")
    nobody = f"arn:aws:iam::{ACCOUNT}:user/nobody"
    refused("MalformedPolicyDocument", iam.create_role, RoleName=name, AssumeRolePolicyDocument=trust({"AWS": nobody}),
            status=400, match=f'Invalid principal in policy: "AWS":"{nobody}"')
    for text in ("{}", "no", policy("sts:AssumeRole")):
        refused("MalformedPolicyDocument", iam.create_role, RoleName=name, AssumeRolePolicyDocument=text)
    large = json.dumps({"Statement": [{**json.loads(trust())["Statement"][0], "Sid": "a" * 2048}]})
    refused("LimitExceeded", iam.create_role, RoleName=name, AssumeRolePolicyDocument=large, match="ACLSizePerRole: 2048")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": arn}))
    new = fresh("user")
    iam.update_user(UserName=user, NewUserName=new)

    def principal():
        return iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert principal() == {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{new}"}
    number = iam.get_user(UserName=new)["User"]["UserId"]
    iam.delete_user(UserName=new)
    iam.create_user(UserName=new)
    assert principal() == {"AWS": number}


def test_service_linked_roles(iam):
    """COMP-047, IAM-14: refused."""
    refused("InvalidInput", iam.create_service_linked_role, AWSServiceName="ecr.amazonaws.com", status=400)


def test_instance_profiles(plain, iam, role, user):
    """COMP-040 to COMP-046, IAM-05, IAM-91: one role, which the caller must be allowed to pass."""
    name = fresh("Profile")
    made = iam.create_instance_profile(InstanceProfileName=name, Path="/ec2/")["InstanceProfile"]
    assert re.fullmatch("AIPA[A-Z2-7]{17}", made["InstanceProfileId"]) and made["Roles"] == []
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/ec2/{name}"
    refused("EntityAlreadyExists", iam.create_instance_profile, InstanceProfileName=name)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy("iam:AddRoleToInstanceProfile"))
    own = aws(plain, "iam", *keys_of(iam, user))
    refused("AccessDenied", own.add_role_to_instance_profile, InstanceProfileName=name, RoleName=role,
            match=f"iam:PassRole on resource: arn:aws:iam::{ACCOUNT}:role/{role}")
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    refused("LimitExceeded", iam.add_role_to_instance_profile, InstanceProfileName=name, RoleName=role)
    refused("NoSuchEntity", iam.add_role_to_instance_profile, InstanceProfileName=name, RoleName="none")
    found = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [r["RoleName"] for r in found["Roles"]] == [role]
    assert found in iam.list_instance_profiles(PathPrefix="/ec2/")["InstanceProfiles"]
    assert iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"] == [found]
    refused("NoSuchEntity", iam.list_instance_profiles_for_role, RoleName="none")
    refused("DeleteConflict", iam.delete_role, RoleName=role, match="must remove roles from instance profile first")
    refused("DeleteConflict", iam.delete_instance_profile, InstanceProfileName=name)
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
    refused("NoSuchEntity", iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=name)
    refused("NoSuchEntity", iam.get_instance_profile, InstanceProfileName=name,
            match=f"Instance Profile {name} cannot be found.")
    refused("NoSuchEntity", iam.delete_instance_profile, InstanceProfileName=name)


def test_managed_policies(iam, user):
    """COMP-048 to COMP-056."""
    name = fresh("Policy")
    made = iam.create_policy(PolicyName=name, Path="/ops/", PolicyDocument=policy("ecr:Describe*"), Description="look")
    made, arn = made["Policy"], f"arn:aws:iam::{ACCOUNT}:policy/ops/{name}"
    assert re.fullmatch("ANPA[A-Z2-7]{17}", made["PolicyId"]) and made["Arn"] == arn
    assert (made["DefaultVersionId"], made["AttachmentCount"], made["IsAttachable"]) == ("v1", 0, True)
    refused("EntityAlreadyExists", iam.create_policy, PolicyName=name, PolicyDocument=policy("ecr:*"),
            match=f"A policy called {name} already exists. Duplicate names are not allowed.")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["Description"] == "look"
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == json.loads(
        policy("ecr:Describe*"))
    for number in range(2, 6):
        version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(f"ecr:List{number}*"))["PolicyVersion"]
        assert version["VersionId"] == f"v{number}" and version["IsDefaultVersion"] is False
    refused("LimitExceeded", iam.create_policy_version, PolicyArn=arn, PolicyDocument=policy("ecr:*"), match="5 versions")
    versions, sizes = pages(iam.list_policy_versions, "Versions", PolicyArn=arn, MaxItems=2)
    assert [v["VersionId"] for v in versions] == ["v5", "v4", "v3", "v2", "v1"] and sizes == [2, 2, 1]
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v4")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v4"
    refused("DeleteConflict", iam.delete_policy_version, PolicyArn=arn, VersionId="v4", match="default version")
    for number in (1, 2, 3, 5):
        iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
    refused("NoSuchEntity", iam.delete_policy_version, PolicyArn=arn, VersionId="v5")
    refused("NoSuchEntity", iam.set_default_policy_version, PolicyArn=arn, VersionId="v5")
    refused("NoSuchEntity", iam.get_policy_version, PolicyArn=arn, VersionId="v5")
    version = iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy("ecr:*"), SetAsDefault=True)["PolicyVersion"]
    assert version["VersionId"] == "v6" and version["IsDefaultVersion"]
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn, match="more than one version")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v4")
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn, match="attached")
    iam.detach_user_policy(UserName=user, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    for call, more in ((iam.get_policy, {}), (iam.delete_policy, {}), (iam.list_policy_versions, {}),
                       (iam.create_policy_version, {"PolicyDocument": policy("ecr:*")})):
        refused("NoSuchEntity", call, PolicyArn=arn, match=f"Policy {arn} was not found.", **more)
    refused("ValidationError", iam.get_policy, PolicyArn="arn:aws:iam::1:polly/wrong")


def test_documents_are_checked(iam, user):
    """IAM-27, IAM-28, COMP-905."""
    whole = json.loads(policy("ecr:*"))["Statement"][0]
    for missing in ("Effect", "Action", "Resource"):
        text = json.dumps({"Version": "2012-10-17", "Statement": [{k: v for k, v in whole.items() if k != missing}]})
        refused("MalformedPolicyDocument", iam.create_policy, PolicyName=fresh(), PolicyDocument=text, status=400)
        refused("MalformedPolicyDocument", iam.put_user_policy, UserName=user, PolicyName="p", PolicyDocument=text)
    named = json.dumps({"Statement": [{**whole, "Principal": "*"}]})
    refused("MalformedPolicyDocument", iam.create_policy, PolicyName=fresh(), PolicyDocument=named)
    spaced = json.dumps({"Id": "of the guide", "Statement": [{**whole, "Sid": "with spaces"}]})
    iam.create_policy(PolicyName=fresh(), PolicyDocument=spaced)
    refused("LimitExceeded", iam.create_policy, PolicyName=fresh(), status=409, match="PolicySize: 6144",
            PolicyDocument=policy("ecr:*", Sid="a" * 6144))
    # White space does not count.
    iam.create_policy(PolicyName=fresh(), PolicyDocument=policy("ecr:*") + " " * 10_000)


def test_policies_of_aws(iam):
    """IAM-60 to IAM-65: there, readable, and nobody's to change."""
    arns = {p["Arn"] for p in iam.list_policies(Scope="AWS", MaxItems=1000)["Policies"]}
    assert {READ_ONLY, ADMINISTRATOR,
            "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"} <= arns
    found = iam.get_policy(PolicyArn=READ_ONLY)["Policy"]
    assert found["CreateDate"].year == 2015 and found["Path"] == "/"
    document = iam.get_policy_version(PolicyArn=READ_ONLY, VersionId=found["DefaultVersionId"])["PolicyVersion"]["Document"]
    assert "ecr:BatchGetImage" in document["Statement"][0]["Action"]
    for call, more in ((iam.delete_policy, {}), (iam.create_policy_version, {"PolicyDocument": policy("ecr:*")}),
                       (iam.tag_policy, {"Tags": [{"Key": "a", "Value": "b"}]})):
        refused("AccessDenied", call, PolicyArn=READ_ONLY, status=403, match="outside your own account", **more)


def test_list_policies(iam, user):
    """COMP-050: scope, path, what is attached, pages over the account's own and AWS's."""
    path = f"/{fresh('p')}/"
    arns = [iam.create_policy(PolicyName=fresh("p"), Path=path, PolicyDocument=policy("ecr:*"))["Policy"]["Arn"]
            for _ in range(3)]
    assert {p["Arn"] for p in iam.list_policies(Scope="Local", PathPrefix=path)["Policies"]} == set(arns)
    iam.attach_user_policy(UserName=user, PolicyArn=arns[0])
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=arns[1])
    assert [p["Arn"] for p in iam.list_policies(PathPrefix=path, OnlyAttached=True)["Policies"]] == [arns[0]]
    bounding = iam.list_policies(PathPrefix=path, PolicyUsageFilter="PermissionsBoundary")["Policies"]
    assert [(p["Arn"], p["PermissionsBoundaryUsageCount"]) for p in bounding] == [(arns[1], 1)]
    whole = [p["Arn"] for p in iam.list_policies(MaxItems=1000)["Policies"]]
    paged, sizes = pages(iam.list_policies, "Policies", MaxItems=7)
    assert [p["Arn"] for p in paged] == whole and max(sizes) == 7 and len(whole) == len(set(whole))


@pytest.mark.parametrize("kind", ["user", "group", "role"])
def test_attachments(iam, kind, request):
    """COMP-057 to COMP-066: attach, list, detach; ten at most."""
    name = request.getfixturevalue(kind)
    named = {f"{kind.capitalize()}Name": name}
    attach, detach, listed = (getattr(iam, name) for name in (
        f"attach_{kind}_policy", f"detach_{kind}_policy", f"list_attached_{kind}_policies"))
    path = f"/{fresh('p')}/"
    arns = [iam.create_policy(PolicyName=fresh("p"), Path=path, PolicyDocument=policy("ecr:*"))["Policy"]["Arn"]
            for _ in range(10)]
    attach(**named, PolicyArn=READ_ONLY)
    for arn in arns[:9]:
        attach(**named, PolicyArn=arn)
        attach(**named, PolicyArn=arn)
    refused("LimitExceeded", attach, **named, PolicyArn=arns[9], match=f"PoliciesPer{kind.capitalize()}: 10")
    policies, sizes = pages(listed, "AttachedPolicies", **named, MaxItems=4)
    assert {p["PolicyArn"] for p in policies} == {READ_ONLY, *arns[:9]} and sizes == [4, 4, 2]
    assert {p["PolicyArn"] for p in listed(**named, PathPrefix=path)["AttachedPolicies"]} == set(arns[:9])
    entities = iam.list_entities_for_policy(PolicyArn=arns[0])
    assert [e[f"{kind.capitalize()}Name"] for e in entities[f"Policy{kind.capitalize()}s"]] == [name]
    assert iam.get_policy(PolicyArn=arns[0])["Policy"]["AttachmentCount"] == 1
    detach(**named, PolicyArn=arns[0])
    refused("NoSuchEntity", detach, **named, PolicyArn=arns[0], match=f"Policy {arns[0]} was not found.")
    refused("NoSuchEntity", attach, **named, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/none",
            match="does not exist or is not attachable")
    gone = {f"{kind.capitalize()}Name": "none"}
    refused("NoSuchEntity", attach, **gone, PolicyArn=READ_ONLY)
    refused("NoSuchEntity", detach, **gone, PolicyArn=READ_ONLY)
    refused("NoSuchEntity", listed, **gone)


def test_entities_for_policy(iam, user, group, role):
    """COMP-057: by kind, by use, in pages."""
    arn = iam.create_policy(PolicyName=fresh(), PolicyDocument=policy("ecr:*"))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=arn)

    def names(**more):
        found = iam.list_entities_for_policy(PolicyArn=arn, **more)
        return [e[f"{k}Name"] for k in ("User", "Group", "Role") for e in found[f"Policy{k}s"]]
    assert names() == [user, group, role] and names(EntityFilter="Role") == [role]
    assert names(PolicyUsageFilter="PermissionsBoundary") == [user]
    assert names(PolicyUsageFilter="PermissionsPolicy") == [group, role] and names(PathPrefix="/none/") == []
    page = iam.list_entities_for_policy(PolicyArn=arn, MaxItems=2)
    rest = iam.list_entities_for_policy(PolicyArn=arn, MaxItems=2, Marker=page["Marker"])
    assert page["IsTruncated"] and not rest["IsTruncated"]
    refused("NoSuchEntity", iam.list_entities_for_policy, PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/none")


@pytest.mark.parametrize("kind, most", [("user", 2048), ("group", 5120), ("role", 10240)])
def test_inline_policies(iam, kind, most, request):
    """COMP-067 to COMP-078, COMP-905: put, read as it was put, list, delete; sizes together."""
    name = request.getfixturevalue(kind)
    named = {f"{kind.capitalize()}Name": name}
    put, get, delete = (getattr(iam, f"{verb}_{kind}_policy") for verb in ("put", "get", "delete"))
    listed = getattr(iam, f"list_{kind}_policies")
    text = policy("ecr:Describe*", Sid="ü")
    for policy_name in ("b", "a", "c"):
        put(**named, PolicyName=policy_name, PolicyDocument=text.replace("\\u00fc", "x"))
    found = get(**named, PolicyName="a")
    assert found["PolicyDocument"]["Statement"][0]["Action"] == ["ecr:Describe*"]
    assert found[f"{kind.capitalize()}Name"] == name and found["PolicyName"] == "a"
    names, sizes = pages(listed, "PolicyNames", **named, MaxItems=2)
    assert names == ["a", "b", "c"] and sizes == [2, 1]
    refused("LimitExceeded", put, **named, PolicyName="d", PolicyDocument=policy("ecr:*", Sid="a" * most), status=409,
            match=f"Maximum policy size of {most} bytes exceeded for {kind} {name}")
    delete(**named, PolicyName="a")
    refused("NoSuchEntity", delete, **named, PolicyName="a",
            match=f"The {kind} policy with name a cannot be found.")
    refused("NoSuchEntity", get, **named, PolicyName="a")
    gone = {f"{kind.capitalize()}Name": "none"}
    refused("NoSuchEntity", put, **gone, PolicyName="a", PolicyDocument=policy("ecr:*"))
    refused("NoSuchEntity", get, **gone, PolicyName="a")
    refused("NoSuchEntity", listed, **gone)


@pytest.mark.parametrize("kind", ["user", "role"])
def test_boundaries(iam, kind, request):
    """COMP-079 to COMP-082."""
    name = request.getfixturevalue(kind)
    named = {f"{kind.capitalize()}Name": name}
    put, delete = (getattr(iam, f"{verb}_{kind}_permissions_boundary") for verb in ("put", "delete"))
    refused("NoSuchEntity", delete, **named)
    refused("NoSuchEntity", put, **named, PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/none")
    put(**named, PermissionsBoundary=READ_ONLY)
    put(**named, PermissionsBoundary=ADMINISTRATOR)
    found = getattr(iam, f"get_{kind}")(**named)[kind.capitalize()]
    assert found["PermissionsBoundary"] == {"PermissionsBoundaryType": "PermissionsBoundaryPolicy",
                                            "PermissionsBoundaryArn": ADMINISTRATOR}
    delete(**named)
    assert "PermissionsBoundary" not in getattr(iam, f"get_{kind}")(**named)[kind.capitalize()]
    refused("NoSuchEntity", put, **{f"{kind.capitalize()}Name": "none"}, PermissionsBoundary=READ_ONLY)


def test_passwords(plain, iam, user):
    """COMP-009 to COMP-013, IAM-08: a user may not even change the own password."""
    refused("NoSuchEntity", iam.get_login_profile, UserName=user, match=f"Login Profile for User {user} cannot be found.")
    refused("PasswordPolicyViolation", iam.create_login_profile, UserName=user, Password="short", status=400,
            match="minimum length of 8")
    refused("PasswordPolicyViolation", iam.create_login_profile, UserName=user, Password="onlysmallletters")
    made = iam.create_login_profile(UserName=user, Password=PASSWORD, PasswordResetRequired=True)["LoginProfile"]
    assert made["UserName"] == user and made["PasswordResetRequired"] is True
    assert iam.get_login_profile(UserName=user)["LoginProfile"] == made
    refused("EntityAlreadyExists", iam.create_login_profile, UserName=user, Password=PASSWORD,
            match=f"Login Profile for user {user} already exists.")
    own = aws(plain, "iam", *keys_of(iam, user))
    refused("AccessDenied", own.change_password, OldPassword=PASSWORD, NewPassword=PASSWORD + "2")
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/IAMUserChangePassword")
    refused("AccessDenied", own.change_password, OldPassword="wrong", NewPassword=PASSWORD + "2", status=403,
            match="old password was incorrect")
    refused("PasswordPolicyViolation", own.change_password, OldPassword=PASSWORD, NewPassword="x")
    own.change_password(OldPassword=PASSWORD, NewPassword=PASSWORD + "2")
    refused("AccessDenied", own.change_password, OldPassword=PASSWORD, NewPassword=PASSWORD + "3")
    assert iam.get_login_profile(UserName=user)["LoginProfile"]["PasswordResetRequired"] is False
    iam.update_login_profile(UserName=user, Password=PASSWORD + "4", PasswordResetRequired=True)
    assert iam.get_login_profile(UserName=user)["LoginProfile"]["PasswordResetRequired"] is True
    own.change_password(OldPassword=PASSWORD + "4", NewPassword=PASSWORD + "5")
    iam.detach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/IAMUserChangePassword")
    refused("AccessDenied", own.change_password, OldPassword=PASSWORD + "5", NewPassword=PASSWORD + "6")
    iam.update_account_password_policy(AllowUsersToChangePassword=True)
    own.change_password(OldPassword=PASSWORD + "5", NewPassword=PASSWORD + "6")
    iam.delete_account_password_policy()
    refused("AccessDenied", own.change_password, OldPassword=PASSWORD + "6", NewPassword=PASSWORD + "7")
    refused("InvalidUserType", iam.change_password, OldPassword=PASSWORD, NewPassword=PASSWORD, status=400)
    refused("ValidationError", iam.get_login_profile)
    iam.delete_login_profile(UserName=user)
    for call in (iam.delete_login_profile, iam.update_login_profile):
        refused("NoSuchEntity", call, UserName=user)


def test_password_policy(iam, user):
    """COMP-009: the account's rules for passwords, and passwords that may not come again."""
    refused("NoSuchEntity", iam.get_account_password_policy, match=ACCOUNT)
    refused("NoSuchEntity", iam.delete_account_password_policy)
    iam.update_account_password_policy(MinimumPasswordLength=12, RequireSymbols=True, RequireNumbers=True,
                                       RequireUppercaseCharacters=True, RequireLowercaseCharacters=True,
                                       MaxPasswordAge=90, PasswordReusePrevention=2)
    try:
        rules = iam.get_account_password_policy()["PasswordPolicy"]
        assert rules["MinimumPasswordLength"] == 12 and rules["ExpirePasswords"] and rules["MaxPasswordAge"] == 90
        for password, text in (("Ab1!", "length of 12"), ("ABCDEFGH1234!", "lowercase"), ("abcdefgh1234!", "uppercase"),
                               ("Abcdefghijkl!", "number"), ("Abcdefgh12345", "symbol")):
            refused("PasswordPolicyViolation", iam.create_login_profile, UserName=user, Password=password, match=text)
        iam.create_login_profile(UserName=user, Password="Abcdefgh1234!")
        iam.update_login_profile(UserName=user, Password="Abcdefgh1234!2")
        for old in ("Abcdefgh1234!", "Abcdefgh1234!2"):
            refused("PasswordPolicyViolation", iam.update_login_profile, UserName=user, Password=old, match="before")
        iam.update_login_profile(UserName=user, Password="Abcdefgh1234!3")
        iam.update_login_profile(UserName=user, Password="Abcdefgh1234!")
    finally:
        iam.delete_account_password_policy()
    refused("NoSuchEntity", iam.get_account_password_policy)


def test_account(iam):
    """COMP-084 to COMP-087, IAM-12: one alias; the summary counts."""
    assert iam.list_account_aliases()["AccountAliases"] == []
    iam.create_account_alias(AccountAlias="funaya-one")
    iam.create_account_alias(AccountAlias="funaya-two")
    assert iam.list_account_aliases()["AccountAliases"] == ["funaya-two"]
    refused("EntityAlreadyExists", iam.create_account_alias, AccountAlias="funaya-two", status=409)
    refused("NoSuchEntity", iam.delete_account_alias, AccountAlias="funaya-one", status=404)
    refused("ValidationError", iam.create_account_alias, AccountAlias="-no-")
    assert iam.get_user()["User"]["UserName"] == "funaya-two"
    iam.delete_account_alias(AccountAlias="funaya-two")
    iam.create_account_alias(AccountAlias="funaya-one")
    iam.delete_account_alias(AccountAlias="funaya-one")
    before = iam.get_account_summary()["SummaryMap"]
    iam.create_user(UserName=fresh("user"))
    after = iam.get_account_summary()["SummaryMap"]
    assert after["Users"] == before["Users"] + 1 and after["UsersQuota"] == 5000
    assert after["AccessKeysPerUserQuota"] == 2 and after["AccountAccessKeysPresent"] == 1


def test_credential_report(iam, user):
    """Who has which credentials."""
    key, _ = keys_of(iam, user)
    refused("ReportNotPresent", iam.get_credential_report, status=410)
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    report = iam.get_credential_report()
    assert report["ReportFormat"] == "text/csv"
    rows = {row["user"]: row for row in csv.DictReader(io.StringIO(report["Content"].decode()))}
    assert rows["<root_account>"]["arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert rows[user]["access_key_1_active"] == "true" and rows[user]["access_key_2_active"] == "false"
    assert rows[user]["password_enabled"] == "false" and rows[user]["cert_2_last_rotated"] == "N/A"


def test_authorization_details(iam, user, group, role):
    """Everything about everybody, in pages."""
    arn = iam.create_policy(PolicyName=fresh("p"), PolicyDocument=policy("ecr:*"))["Policy"]["Arn"]
    iam.add_user_to_group(GroupName=group, UserName=user)
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    iam.attach_group_policy(GroupName=group, PolicyArn=arn)
    iam.put_role_policy(RoleName=role, PolicyName="in", PolicyDocument=policy("ecr:*"))
    lists = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
    found, marker, count = {name: [] for name in lists}, {}, 0
    while True:
        page = iam.get_account_authorization_details(MaxItems=5, **marker)
        assert sum(len(page[name]) for name in lists) <= 5
        for name in lists:
            found[name] += page[name]
        count += 1
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    assert count > 1
    whole = iam.get_account_authorization_details(MaxItems=1000)
    assert all(found[name] == whole[name] for name in lists)
    one = next(u for u in whole["UserDetailList"] if u["UserName"] == user)
    assert one["GroupList"] == [group] and one["AttachedManagedPolicies"][0]["PolicyArn"] == READ_ONLY
    one = next(r for r in whole["RoleDetailList"] if r["RoleName"] == role)
    assert one["RolePolicyList"][0]["PolicyDocument"] == json.loads(policy("ecr:*"))
    policies = {p["Arn"]: p for p in whole["Policies"]}
    assert policies[arn]["AttachmentCount"] == 1 and policies[READ_ONLY]["PolicyVersionList"][0]["Document"]
    only = iam.get_account_authorization_details(Filter=["Group"], MaxItems=1000)
    assert only["GroupDetailList"] == whole["GroupDetailList"] and not only["UserDetailList"]


# What they let people do.

def test_a_user_without_policies_may_do_nothing(plain, iam, user):
    """IAM-08, IAM-31, IAM-33, IAM-34: nothing is told of what exists."""
    key = keys_of(iam, user)
    own, ecr = aws(plain, "iam", *key), aws(plain, "ecr", *key)
    arn = f"arn:aws:iam::{ACCOUNT}:user/{user}"
    answer = refused("AccessDenied", own.get_user, status=403,
                     match=f"User: {arn} is not authorized to perform: iam:GetUser on resource: {arn}")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-funaya-decision"]
    texts = {refused("AccessDenied", own.get_user, UserName=name)["Error"]["Message"].replace(name, "X")
             for name in (fresh("none"), fresh("none"))}
    assert len(texts) == 1
    for call in (own.list_users, own.list_policies, own.get_account_summary, own.create_access_key):
        refused("AccessDenied", call)
    refused("AccessDenied", own.create_user, UserName="not valid")
    refused("AccessDeniedException", ecr.describe_repositories)
    refused("AccessDeniedException", ecr.get_authorization_token)


def token_of(ecr):
    """The registry token, as docker sends it."""
    return ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]


def docker(plain, token, path="/v2/"):
    """What a Docker client is told."""
    request = urllib.request.Request(plain.url + path, headers={"Authorization": f"Basic {token}"})
    try:
        return urllib.request.urlopen(request, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code


def test_attaching_and_detaching_act_at_once(plain, iam, user):
    """IAM-35, IAM-62: read-only lets look and pull, not make."""
    key = keys_of(iam, user)
    ecr, name = aws(plain, "ecr", *key), fresh("repo")
    aws(plain, "ecr").create_repository(repositoryName=name)
    refused("AccessDeniedException", ecr.describe_images, repositoryName=name)
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    assert ecr.describe_images(repositoryName=name)["imageDetails"] == []
    token = token_of(ecr)
    assert docker(plain, token) == 200 and docker(plain, token, f"/v2/{name}/tags/list") == 200
    refused("AccessDeniedException", ecr.create_repository, repositoryName=fresh("repo"))
    iam.detach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    refused("AccessDeniedException", ecr.describe_images, repositoryName=name)
    assert docker(plain, token, f"/v2/{name}/tags/list") == 403


def test_groups_give_and_take(plain, iam, user, group):
    """IAM-26, IAM-35: membership, the group's policies, and both after a rename."""
    ecr = aws(plain, "ecr", *keys_of(iam, user))
    iam.attach_group_policy(GroupName=group, PolicyArn=READ_ONLY)
    refused("AccessDeniedException", ecr.describe_repositories)
    iam.add_user_to_group(GroupName=group, UserName=user)
    ecr.describe_repositories()
    new = fresh("group")
    iam.update_group(GroupName=group, NewGroupName=new)
    iam.update_user(UserName=user, NewUserName=(renamed := fresh("user")))
    ecr.describe_repositories()
    iam.remove_user_from_group(GroupName=new, UserName=renamed)
    refused("AccessDeniedException", ecr.describe_repositories)
    iam.add_user_to_group(GroupName=new, UserName=renamed)
    iam.detach_group_policy(GroupName=new, PolicyArn=READ_ONLY)
    refused("AccessDeniedException", ecr.describe_repositories)
    iam.put_group_policy(GroupName=new, PolicyName="p", PolicyDocument=policy("ecr:DescribeRepositories"))
    ecr.describe_repositories()
    iam.delete_group_policy(GroupName=new, PolicyName="p")
    refused("AccessDeniedException", ecr.describe_repositories)


def test_versions_act_at_once(plain, iam, user):
    """COMP-055, IAM-35."""
    ecr = aws(plain, "ecr", *keys_of(iam, user))
    arn = iam.create_policy(PolicyName=fresh(), PolicyDocument=policy("ecr:DescribeRepositories"))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user, PolicyArn=arn)
    ecr.describe_repositories()
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy("ecr:ListImages"), SetAsDefault=True)
    refused("AccessDeniedException", ecr.describe_repositories)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    ecr.describe_repositories()


def test_boundary_is_a_ceiling(plain, iam, user):
    """IAM-22."""
    ecr = aws(plain, "ecr", *keys_of(iam, user))
    iam.attach_user_policy(UserName=user, PolicyArn=ADMINISTRATOR)
    ecr.create_repository(repositoryName=fresh("repo"))
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=READ_ONLY)
    ecr.describe_repositories()
    refused("AccessDeniedException", ecr.create_repository, repositoryName=fresh("repo"))
    iam.delete_user_permissions_boundary(UserName=user)
    ecr.create_repository(repositoryName=fresh("repo"))


def test_delegation(plain, iam, user):
    """Conditions of IAM itself: iam:PolicyARN, iam:PermissionsBoundary, tags. Members that an operation does not have
    don't count."""
    statements = [
        {"Effect": "Allow", "Action": "iam:CreateUser", "Resource": "*",
         "Condition": {"StringEquals": {"iam:PermissionsBoundary": READ_ONLY, "aws:RequestTag/team": "red"}}},
        {"Effect": "Allow", "Action": "iam:AttachUserPolicy", "Resource": "*",
         "Condition": {"ArnEquals": {"iam:PolicyARN": READ_ONLY}}},
        {"Effect": "Allow", "Action": "iam:PutUserPolicy", "Resource": "*",
         "Condition": {"StringEquals": {"iam:PermissionsBoundary": READ_ONLY}}},
        {"Effect": "Allow", "Action": "iam:DeleteUser", "Resource": "*",
         "Condition": {"StringEquals": {"aws:ResourceTag/team": "red"}}},
    ]
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps({"Statement": statements}))
    own, red = aws(plain, "iam", *keys_of(iam, user)), [{"Key": "team", "Value": "red"}]
    one, two = fresh("user"), fresh("user")
    refused("AccessDenied", own.create_user, UserName=one)
    refused("AccessDenied", own.create_user, UserName=one, PermissionsBoundary=READ_ONLY)
    refused("AccessDenied", own.create_user, UserName=one, PermissionsBoundary=ADMINISTRATOR, Tags=red)
    own.create_user(UserName=one, PermissionsBoundary=READ_ONLY, Tags=red)
    iam.create_user(UserName=two)
    own.attach_user_policy(UserName=one, PolicyArn=READ_ONLY)
    refused("AccessDenied", own.attach_user_policy, UserName=one, PolicyArn=ADMINISTRATOR)
    own.put_user_policy(UserName=one, PolicyName="p", PolicyDocument=policy("ecr:*"))
    refused("AccessDenied", own.put_user_policy, UserName=two, PolicyName="p", PolicyDocument=policy("ecr:*"))
    refused("AccessDenied", own.delete_user, UserName=two)
    refused("DeleteConflict", own.delete_user, UserName=one)


def test_keys_stop_at_once(plain, iam, user):
    """AUTH-19: an inactive or deleted key signs nothing, and its registry tokens end; an active one works again."""
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    key = keys_of(iam, user)
    ecr = aws(plain, "ecr", *key)
    token = token_of(ecr)
    assert docker(plain, token) == 200
    iam.update_access_key(UserName=user, AccessKeyId=key[0], Status="Inactive")
    refused("UnrecognizedClientException", ecr.describe_repositories)
    refused("InvalidClientTokenId", aws(plain, "iam", *key).get_user, status=403)
    assert docker(plain, token) in (401, 403)
    iam.update_access_key(UserName=user, AccessKeyId=key[0], Status="Active")
    ecr.describe_repositories()
    assert docker(plain, token) == 200
    iam.delete_access_key(UserName=user, AccessKeyId=key[0])
    refused("UnrecognizedClientException", ecr.describe_repositories)
    assert docker(plain, token) in (401, 403)


def test_a_user_made_again_is_another(plain, iam, user):
    """AUTH-19, POL-15: of the same name, but with nothing of the old one."""
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    key = keys_of(iam, user)
    token = token_of(aws(plain, "ecr", *key))
    iam.detach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    iam.delete_access_key(UserName=user, AccessKeyId=key[0])
    number = iam.get_user(UserName=user)["User"]["UserId"]
    iam.delete_user(UserName=user)
    assert iam.create_user(UserName=user)["User"]["UserId"] != number
    assert iam.list_attached_user_policies(UserName=user)["AttachedPolicies"] == []
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"] == []
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    refused("UnrecognizedClientException", aws(plain, "ecr", *key).describe_repositories)
    assert docker(plain, token) in (401, 403)


def test_own_information(plain, iam, user, group):
    """IAM-46, IAM-70: the guide's policy lets a user see the own policies."""
    iam.add_user_to_group(GroupName=group, UserName=user)
    statements = [
        {"Sid": "ViewOwnUserInfo", "Effect": "Allow", "Resource": ["arn:aws:iam::*:user/${aws:username}"],
         "Action": ["iam:GetUserPolicy", "iam:ListGroupsForUser", "iam:ListAttachedUserPolicies", "iam:ListUserPolicies",
                    "iam:GetUser"]},
        {"Sid": "NavigateInConsole", "Effect": "Allow", "Resource": "*",
         "Action": ["iam:GetGroupPolicy", "iam:GetPolicyVersion", "iam:GetPolicy", "iam:ListAttachedGroupPolicies",
                    "iam:ListGroupPolicies", "iam:ListPolicyVersions", "iam:ListPolicies", "iam:ListUsers"]},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=document)
    own = aws(plain, "iam", *keys_of(iam, user))
    assert own.list_user_policies(UserName=user)["PolicyNames"] == ["own"]
    assert own.get_user_policy(UserName=user, PolicyName="own")["PolicyDocument"] == json.loads(document)
    assert own.list_groups_for_user(UserName=user)["Groups"][0]["GroupName"] == group
    assert own.list_attached_group_policies(GroupName=group)["AttachedPolicies"] == []
    assert own.list_users()["Users"] and own.get_policy(PolicyArn=READ_ONLY)
    refused("AccessDenied", own.list_user_policies, UserName=fresh("user"))


def test_races_leave_one_order(plain, iam, user):
    """COMP-005, COMP-014: keys made at once stay two; a user who is deleted while things are attached leaves nothing."""
    made, failed = [], []

    def make():
        try:
            made.append(aws(plain).create_access_key(UserName=user))
        except ClientError as error:
            failed.append(error.response["Error"]["Code"])
    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2 and set(failed) == {"LimitExceeded"}
    assert len(iam.list_access_keys(UserName=user)["AccessKeyMetadata"]) == 2

    name, codes = fresh("user"), []
    arn = iam.create_policy(PolicyName=fresh(), PolicyDocument=policy("ecr:*"))["Policy"]["Arn"]
    for _ in range(8):
        iam.create_user(UserName=name)
        attach = threading.Thread(target=lambda: codes.append(code_of(aws(plain).attach_user_policy, name, arn)))
        attach.start()
        gone = code_of(iam.delete_user, name)
        attach.join()
        if gone == "DeleteConflict":
            iam.detach_user_policy(UserName=name, PolicyArn=arn)
            iam.delete_user(UserName=name)
        assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 0
    assert set(codes) <= {"", "NoSuchEntity"}


def code_of(call, name, arn=None):
    """The error's code, or nothing."""
    try:
        call(UserName=name, **({"PolicyArn": arn} if arn else {}))
        return ""
    except ClientError as error:
        return error.response["Error"]["Code"]


def test_unbuilt_and_unknown_operations(iam):
    """COMP-901, API-72: the service's own error, no crash."""
    refused("InvalidAction", iam.list_server_certificates, status=400,
            match="Could not find operation ListServerCertificates for version 2010-05-08")


def test_cli(plain, shell, iam, user):
    """COMP-901: the AWS CLI."""
    for args in (["get-user", "--user-name", user], ["list-users"], ["list-policies", "--scope", "AWS"],
                 ["create-access-key", "--user-name", user]):
        shell.json("aws", "--endpoint-url", plain.url, "--output", "json", "iam", *args)


def test_credentials_name_the_endpoints(plain):
    """`funaya credentials` tells the SDKs where IAM, STS and Organizations are."""
    text = run(program(), "credentials", "--data", plain.data, "--format", "env").stdout
    for service in ("ECR", "IAM", "STS", "ORGANIZATIONS"):
        assert f"export AWS_ENDPOINT_URL_{service}={plain.url}" in text


def test_last_use_is_kept(plain, iam, user):
    """COMP-018: kept to the minute, and stored some seconds later."""
    key = keys_of(iam, user)
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    aws(plain, "ecr", *key).describe_repositories()
    end = time.monotonic() + 90
    while time.monotonic() < end:
        used = iam.get_access_key_last_used(AccessKeyId=key[0])["AccessKeyLastUsed"]
        if used["ServiceName"] != "N/A":
            assert (used["ServiceName"], used["Region"]) == ("ecr", REGION) and used["LastUsedDate"]
            return
        time.sleep(1)
    pytest.fail("no use was kept")


def test_audit(plain, iam, user):
    """TRAIL-11 to TRAIL-16, IAM-33: who did what; no secret anywhere."""
    secret = keys_of(iam, user)[1]
    iam.create_login_profile(UserName=user, Password=PASSWORD)
    refused("NoSuchEntity", iam.get_role, RoleName=(none := fresh("none")))
    # Records of failures are written a moment later.
    time.sleep(1)
    text = run(program(), "audit", "--data", plain.data).stdout
    assert secret not in text and PASSWORD not in text
    records = [json.loads(line) for line in text.splitlines()]
    ours = [r for r in records if r["eventSource"] == "iam.amazonaws.com"]
    made = next(r for r in ours if r["eventName"] == "CreateUser" and r["requestParameters"].get("userName") == user)
    assert made["responseElements"]["user"]["arn"] == f"arn:aws:iam::{ACCOUNT}:user/{user}"
    assert made["awsRegion"] == "us-east-1" and made["readOnly"] is False and made["userIdentity"]["type"] == "Root"
    made = next(r for r in ours if r["eventName"] == "CreateLoginProfile"
                and r["requestParameters"].get("userName") == user)
    assert set(made["requestParameters"]) == {"userName"}
    failed = next(r for r in ours if r["eventName"] == "GetRole" and r["requestParameters"].get("roleName") == none)
    assert failed["errorCode"] == "NoSuchEntity" and failed["readOnly"] is True


def test_quoting(iam, user):
    """COMP-903: documents come back as they were put, whatever characters they hold."""
    text = policy("ecr:*", Condition={"StringLike": {"aws:UserAgent": ["a+b %20&<>\"'\\/ é"]}})
    iam.put_user_policy(UserName=user, PolicyName="q", PolicyDocument=text)
    assert iam.get_user_policy(UserName=user, PolicyName="q")["PolicyDocument"] == json.loads(text)
