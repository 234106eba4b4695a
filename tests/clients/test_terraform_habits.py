"""What Terraform's AWS provider does with ECR and IAM, call by call: create, read back, plan, update, import, destroy.

Each resource has the provider's calls in the provider's order. A resource is right if what is read is what was asked
for, now and once more (the second plan is empty), if it can be changed in place and found by its import id, and if
reading it after the destruction gives the error by which the provider knows that it is gone.
"""
import contextlib
import json
import urllib.parse

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import ACCOUNT, REGION
from support.server import ACCESS_KEY, SECRET_KEY
from test_iam import ADMINISTRATOR, READ_ONLY, fresh, refused


@pytest.fixture(scope="module")
def ecr(plain):
    """ECR with the provider's retries."""
    return aws(plain, "ecr")


@pytest.fixture(scope="module")
def iam(plain):
    """IAM with the provider's retries."""
    return aws(plain, "iam")


@pytest.fixture
def stack():
    """Destroys in the reverse order of creation."""
    with contextlib.ExitStack() as stack:
        yield stack


def aws(plain, service):
    """A client of root; the provider tries again as the SDK does."""
    return boto3.client(service, region_name=REGION, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
                        endpoint_url=plain.url)


def same(text):
    """A document as the provider compares it."""
    return text if isinstance(text, dict) else json.loads(text)


def document(*actions, **more):
    """A policy as `jsonencode` or `aws_iam_policy_document` print it, with their white space."""
    statement = {"Sid": "", "Effect": "Allow", "Action": list(actions), **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def tags(mapping):
    """As requests have them."""
    return [{"Key": key, "Value": value} for key, value in mapping.items()]


def untagged(answer):
    """As state files have them."""
    return {tag["Key"]: tag["Value"] for tag in answer}


def retag(have, want, tag, untag):
    """What is too much goes first, then comes what is new or other."""
    if gone := sorted(have.keys() - want.keys()):
        untag(gone)
    if fresh_ones := {key: value for key, value in want.items() if have.get(key) != value}:
        tag(tags(fresh_ones))


class Resource:
    """One resource: subclasses say how it is made, read, changed and destroyed."""

    gone = "NoSuchEntity"

    def __init__(self, client, id, *more):
        self.client, self.id, self.more = client, id, more

    def import_id(self):
        """The id with which `terraform import` finds it; by default the one it has."""
        return self.id


def applied(stack, resource, *states):
    """Brings a resource into one state after the other, and destroys it when the stack is left."""
    have = None
    for want in states:
        if have is None:
            resource.create(want)
            stack.callback(destroyed, resource)
        else:
            resource.update(have, want)
        found = resource.read()
        assert found == want, f"{type(resource).__name__} {resource.id}"
        assert resource.read() == found, "the second plan is not empty"
        have = want
    imported = type(resource)(resource.client, resource.import_id(), *resource.more)
    assert imported.read() == have
    return resource


def destroyed(resource):
    """Destroys it; then it is not found, and destroying it once more says so too."""
    resource.destroy()
    refused(resource.gone, resource.read)
    refused(resource.gone, resource.destroy)


# --- ECR


class Repository(Resource):
    """aws_ecr_repository"""
    gone = "RepositoryNotFoundException"

    def arn(self):
        return f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{self.id}"

    def create(self, want):
        filters = {"imageTagMutabilityExclusionFilters": want["filters"]} if want["filters"] else {}
        made = self.client.create_repository(
            repositoryName=self.id, imageTagMutability=want["mutability"], tags=tags(want["tags"]), **filters,
            encryptionConfiguration={"encryptionType": "AES256"}, imageScanningConfiguration={"scanOnPush": want["scan"]})
        assert made["repository"]["repositoryArn"] == self.arn() and made["repository"]["registryId"] == ACCOUNT

    def read(self):
        found = self.client.describe_repositories(repositoryNames=[self.id])["repositories"]
        assert len(found) == 1 and found[0]["repositoryUri"].endswith(f"/{self.id}")
        assert found[0]["encryptionConfiguration"] == {"encryptionType": "AES256"}
        listed = self.client.list_tags_for_resource(resourceArn=found[0]["repositoryArn"])["tags"]
        return {"mutability": found[0]["imageTagMutability"], "tags": untagged(listed),
                "filters": found[0].get("imageTagMutabilityExclusionFilters", []),
                "scan": found[0]["imageScanningConfiguration"]["scanOnPush"]}

    def update(self, have, want):
        if (have["mutability"], have["filters"]) != (want["mutability"], want["filters"]):
            filters = {"imageTagMutabilityExclusionFilters": want["filters"]} if want["filters"] else {}
            self.client.put_image_tag_mutability(repositoryName=self.id, registryId=ACCOUNT,
                                                 imageTagMutability=want["mutability"], **filters)
        retag(have["tags"], want["tags"], lambda t: self.client.tag_resource(resourceArn=self.arn(), tags=t),
              lambda k: self.client.untag_resource(resourceArn=self.arn(), tagKeys=k))

    def destroy(self):
        self.client.delete_repository(repositoryName=self.id, registryId=ACCOUNT, force=bool(self.more))


def wildcards(*texts):
    """Exclusion filters."""
    return [{"filterType": "WILDCARD", "filter": text} for text in texts]


def test_repository(stack, ecr):
    """REPO-10 to REPO-46, TAG-20 to TAG-33: aws_ecr_repository, also with exclusion filters."""
    first = {"mutability": "MUTABLE", "filters": [], "scan": False, "tags": {"Name": "web", "env": "dev"}}
    excluded = {"mutability": "IMMUTABLE_WITH_EXCLUSION", "filters": wildcards("latest", "dev-*")}
    states = [first, {**first, "tags": {"env": "prod", "Team": ""}}, {**first, **excluded},
              {**first, **excluded, "filters": wildcards("dev-*")}, {**first, "mutability": "IMMUTABLE", "tags": {}},
              {**first, "mutability": "MUTABLE_WITH_EXCLUSION", "filters": wildcards("v*")}, first]
    applied(stack, Repository(ecr, f"tf/{fresh('web')}"), *states)
    applied(stack, Repository(ecr, f"tf/{fresh('web')}"), {**first, **excluded, "scan": True})


def test_repository_with_images(ecr):
    """REPO-40 to REPO-46: force_delete."""
    name = f"tf/{fresh('full')}"
    ecr.create_repository(repositoryName=name)
    ecr.put_image(repositoryName=name, imageTag="v1", imageManifest=json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}))
    refused("RepositoryNotEmptyException", Repository(ecr, name).destroy)
    Repository(ecr, name, "force").destroy()
    refused("RepositoryNotFoundException", Repository(ecr, name).read)


class RepositoryPolicy(Resource):
    """aws_ecr_repository_policy"""
    gone = "RepositoryPolicyNotFoundException"

    def create(self, want):
        self.client.set_repository_policy(repositoryName=self.id, policyText=json.dumps(want))

    def read(self):
        found = self.client.get_repository_policy(repositoryName=self.id)
        assert (found["repositoryName"], found["registryId"]) == (self.id, ACCOUNT)
        return same(found["policyText"])

    def update(self, _, want):
        self.create(want)

    def destroy(self):
        self.client.delete_repository_policy(repositoryName=self.id, registryId=ACCOUNT)


class LifecyclePolicy(Resource):
    """aws_ecr_lifecycle_policy"""
    gone = "LifecyclePolicyNotFoundException"

    def create(self, want):
        self.client.put_lifecycle_policy(repositoryName=self.id, lifecyclePolicyText=json.dumps(want, indent=1))

    def read(self):
        found = self.client.get_lifecycle_policy(repositoryName=self.id)
        assert (found["repositoryName"], found["registryId"]) == (self.id, ACCOUNT)
        return same(found["lifecyclePolicyText"])

    def update(self, _, want):
        self.create(want)

    def destroy(self):
        self.client.delete_lifecycle_policy(repositoryName=self.id, registryId=ACCOUNT)


class RegistryPolicy(Resource):
    """aws_ecr_registry_policy"""
    gone = "RegistryPolicyNotFoundException"

    def create(self, want):
        self.client.put_registry_policy(policyText=json.dumps(want))

    def read(self):
        found = self.client.get_registry_policy()
        assert found["registryId"] == ACCOUNT
        return same(found["policyText"])

    def update(self, _, want):
        self.create(want)

    def destroy(self):
        self.client.delete_registry_policy()


def rule(priority, **selection):
    """A lifecycle rule."""
    return {"rulePriority": priority, "description": f"rule {priority}", "selection": selection, "action": {"type": "expire"}}


def test_policies_of_repositories(stack, ecr, iam):
    """POL-01 to POL-15, LIFE-10 to LIFE-24: the three kinds of documents, written once and read as they were."""
    name, user = f"tf/{fresh('web')}", fresh("tf-user")
    first = {"mutability": "MUTABLE", "filters": [], "scan": False, "tags": {}}
    applied(stack, Repository(ecr, name), first)
    applied(stack, User(iam, user), {"path": "/", "boundary": None, "tags": {}})
    person = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{user}"}
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    policies = [same(document(*pull, Principal=who, **more)) for who, more in (
        (person, {}), ("*", {"Condition": {"StringEquals": {"aws:PrincipalAccount": [ACCOUNT]}}}),
        ({"AWS": ["210987654321", person["AWS"]], "Service": "codebuild.amazonaws.com"}, {}))]
    applied(stack, RepositoryPolicy(ecr, name), *policies)
    untagged_ones = rule(1, tagStatus="untagged", countType="sinceImagePushed", countUnit="days", countNumber=14)
    some = rule(2, tagStatus="tagged", tagPrefixList=["v"], countType="imageCountMoreThan", countNumber=30)
    others = rule(3, tagStatus="tagged", tagPatternList=["*-dev"], countType="imageCountMoreThan", countNumber=1)
    applied(stack, LifecyclePolicy(ecr, name), {"rules": [untagged_ones]}, {"rules": [untagged_ones, some, others]})
    inside = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/*"
    applied(stack, RegistryPolicy(ecr, ACCOUNT),
            same(document("ecr:ReplicateImage", Principal={"AWS": "arn:aws:iam::210987654321:root"}, Resource=[inside])),
            same(document("ecr:ReplicateImage", "ecr:CreateRepository", Principal=person, Resource=[inside])))


# --- IAM


def bound(thing):
    """The boundary in an answer."""
    return thing.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")


class User(Resource):
    """aws_iam_user"""

    def create(self, want):
        boundary = {"PermissionsBoundary": want["boundary"]} if want["boundary"] else {}
        self.client.create_user(UserName=self.id, Path=want["path"], Tags=tags(want["tags"]), **boundary)

    def read(self):
        found = self.client.get_user(UserName=self.id)["User"]
        assert found["Arn"] == f"arn:aws:iam::{ACCOUNT}:user{found['Path']}{self.id}" and found["UserId"].startswith("AIDA")
        return {"path": found["Path"], "boundary": bound(found), "tags": untagged(found.get("Tags", []))}

    def update(self, have, want):
        if have["path"] != want["path"]:
            self.client.update_user(UserName=self.id, NewUserName=self.id, NewPath=want["path"])
        if want["boundary"] and have["boundary"] != want["boundary"]:
            self.client.put_user_permissions_boundary(UserName=self.id, PermissionsBoundary=want["boundary"])
        elif have["boundary"] and not want["boundary"]:
            self.client.delete_user_permissions_boundary(UserName=self.id)
        retag(have["tags"], want["tags"], lambda t: self.client.tag_user(UserName=self.id, Tags=t),
              lambda k: self.client.untag_user(UserName=self.id, TagKeys=k))

    def destroy(self):
        for group in self.client.list_groups_for_user(UserName=self.id)["Groups"]:
            self.client.remove_user_from_group(UserName=self.id, GroupName=group["GroupName"])
        self.client.delete_user(UserName=self.id)


class Group(Resource):
    """aws_iam_group"""

    def create(self, want):
        self.client.create_group(GroupName=self.id, Path=want["path"])

    def read(self):
        found = self.client.get_group(GroupName=self.id)["Group"]
        assert found["Arn"] == f"arn:aws:iam::{ACCOUNT}:group{found['Path']}{self.id}"
        return {"path": found["Path"]}

    def update(self, _, want):
        self.client.update_group(GroupName=self.id, NewGroupName=self.id, NewPath=want["path"])

    def destroy(self):
        self.client.delete_group(GroupName=self.id)


class Membership(Resource):
    """aws_iam_group_membership and aws_iam_user_group_membership"""

    def create(self, want):
        self.update(set(), want)

    def read(self):
        pages = self.client.get_paginator("get_group").paginate(GroupName=self.id, PaginationConfig={"PageSize": 1})
        users = {user["UserName"] for page in pages for user in page["Users"]}
        for user in users:
            assert self.id in [g["GroupName"] for g in self.client.list_groups_for_user(UserName=user)["Groups"]]
        return users

    def update(self, have, want):
        for user in have - want:
            self.client.remove_user_from_group(GroupName=self.id, UserName=user)
        for user in want - have:
            self.client.add_user_to_group(GroupName=self.id, UserName=user)

    def destroy(self):
        for user in self.read():
            self.client.remove_user_from_group(GroupName=self.id, UserName=user)


class Role(Resource):
    """aws_iam_role"""

    def create(self, want):
        boundary = {"PermissionsBoundary": want["boundary"]} if want["boundary"] else {}
        self.client.create_role(RoleName=self.id, AssumeRolePolicyDocument=json.dumps(want["trust"]), Path=want["path"],
                                Description=want["description"], MaxSessionDuration=want["duration"],
                                Tags=tags(want["tags"]), **boundary)

    def read(self):
        found = self.client.get_role(RoleName=self.id)["Role"]
        assert found["Arn"] == f"arn:aws:iam::{ACCOUNT}:role{found['Path']}{self.id}" and found["RoleId"].startswith("AROA")
        # The provider looks for policies that are not its own.
        assert self.client.list_role_policies(RoleName=self.id)["PolicyNames"] == []
        assert self.client.list_attached_role_policies(RoleName=self.id)["AttachedPolicies"] == []
        return {"path": found["Path"], "trust": same(found["AssumeRolePolicyDocument"]), "boundary": bound(found),
                "description": found.get("Description", ""), "duration": found["MaxSessionDuration"],
                "tags": untagged(found.get("Tags", []))}

    def update(self, have, want):
        role = {"RoleName": self.id}
        if have["trust"] != want["trust"]:
            self.client.update_assume_role_policy(**role, PolicyDocument=json.dumps(want["trust"]))
        if have["description"] != want["description"]:
            self.client.update_role_description(**role, Description=want["description"])
        if have["duration"] != want["duration"]:
            self.client.update_role(**role, MaxSessionDuration=want["duration"])
        if want["boundary"] and have["boundary"] != want["boundary"]:
            self.client.put_role_permissions_boundary(**role, PermissionsBoundary=want["boundary"])
        elif have["boundary"] and not want["boundary"]:
            self.client.delete_role_permissions_boundary(**role)
        retag(have["tags"], want["tags"], lambda t: self.client.tag_role(**role, Tags=t),
              lambda k: self.client.untag_role(**role, TagKeys=k))

    def destroy(self):
        for profile in self.client.list_instance_profiles_for_role(RoleName=self.id)["InstanceProfiles"]:
            self.client.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=self.id)
        self.client.delete_role(RoleName=self.id)


class Policy(Resource):
    """aws_iam_policy; the id is the ARN"""

    def create(self, want):
        made = self.client.create_policy(PolicyName=self.id.rpartition("/")[2], Path=want["path"],
                                         Description=want["description"], PolicyDocument=json.dumps(want["document"]),
                                         Tags=tags(want["tags"]))["Policy"]
        assert made["Arn"] == self.id

    def read(self):
        found = self.client.get_policy(PolicyArn=self.id)["Policy"]
        version = self.client.get_policy_version(PolicyArn=self.id, VersionId=found["DefaultVersionId"])["PolicyVersion"]
        assert version["IsDefaultVersion"] is True
        return {"path": found["Path"], "description": found.get("Description", ""), "document": same(version["Document"]),
                "tags": untagged(found.get("Tags", []))}

    def update(self, have, want):
        if have["document"] != want["document"]:
            versions = self.client.list_policy_versions(PolicyArn=self.id)["Versions"]
            if len(versions) >= 5:
                oldest = min((v for v in versions if not v["IsDefaultVersion"]), key=lambda v: int(v["VersionId"][1:]))
                self.client.delete_policy_version(PolicyArn=self.id, VersionId=oldest["VersionId"])
            self.client.create_policy_version(PolicyArn=self.id, PolicyDocument=json.dumps(want["document"]),
                                              SetAsDefault=True)
        retag(have["tags"], want["tags"], lambda t: self.client.tag_policy(PolicyArn=self.id, Tags=t),
              lambda k: self.client.untag_policy(PolicyArn=self.id, TagKeys=k))

    def destroy(self):
        for version in self.client.list_policy_versions(PolicyArn=self.id)["Versions"]:
            if not version["IsDefaultVersion"]:
                self.client.delete_policy_version(PolicyArn=self.id, VersionId=version["VersionId"])
        self.client.delete_policy(PolicyArn=self.id)


class Inline(Resource):
    """aws_iam_user_policy, aws_iam_group_policy, aws_iam_role_policy; the id is `holder:name`"""

    def call(self, verb, **more):
        holder, name = self.id.split(":")
        kind, = self.more
        return getattr(self.client, f"{verb}_{kind}_policy")(
            **{f"{kind.title()}Name": holder, "PolicyName": name, **more})

    def create(self, want):
        self.call("put", PolicyDocument=json.dumps(want, indent=2))

    def read(self):
        return same(self.call("get")["PolicyDocument"])

    def update(self, _, want):
        self.create(want)

    def destroy(self):
        self.call("delete")


class Attachment(Resource):
    """aws_iam_user_policy_attachment, …_group_…, …_role_…: the whole list is read and looked through"""

    def call(self, verb, more=""):
        kind, = self.more
        names = {f"{kind.title()}Name": self.id.split("/")[0]}
        if not more:
            names["PolicyArn"] = self.id.split("/", 1)[1]
        return getattr(self.client, f"{verb}_{kind}_{more or 'policy'}")(**names)

    def create(self, _):
        self.call("attach")

    def read(self):
        kind, = self.more
        listed = self.client.get_paginator(f"list_attached_{kind}_policies").paginate(
            **{f"{kind.title()}Name": self.id.split("/")[0]}, PaginationConfig={"PageSize": 1})
        arns = [policy["PolicyArn"] for page in listed for policy in page["AttachedPolicies"]]
        if self.id.split("/", 1)[1] not in arns:
            raise ClientError({"Error": {"Code": "NoSuchEntity", "Message": "as the provider says it"},
                               "ResponseMetadata": {"HTTPStatusCode": 404}}, "Read")
        return "attached"

    def destroy(self):
        self.call("detach")


class InstanceProfile(Resource):
    """aws_iam_instance_profile"""

    def create(self, want):
        self.client.create_instance_profile(InstanceProfileName=self.id, Path=want["path"], Tags=tags(want["tags"]))
        self.client.get_waiter("instance_profile_exists").wait(InstanceProfileName=self.id)
        self.client.add_role_to_instance_profile(InstanceProfileName=self.id, RoleName=want["role"])

    def read(self):
        found = self.client.get_instance_profile(InstanceProfileName=self.id)["InstanceProfile"]
        role, = [role["RoleName"] for role in found["Roles"]]
        return {"path": found["Path"], "role": role, "tags": untagged(found.get("Tags", []))}

    def update(self, have, want):
        if have["role"] != want["role"]:
            self.client.remove_role_from_instance_profile(InstanceProfileName=self.id, RoleName=have["role"])
            self.client.add_role_to_instance_profile(InstanceProfileName=self.id, RoleName=want["role"])
        name = {"InstanceProfileName": self.id}
        retag(have["tags"], want["tags"], lambda t: self.client.tag_instance_profile(**name, Tags=t),
              lambda k: self.client.untag_instance_profile(**name, TagKeys=k))

    def destroy(self):
        for role in self.client.get_instance_profile(InstanceProfileName=self.id)["InstanceProfile"]["Roles"]:
            self.client.remove_role_from_instance_profile(InstanceProfileName=self.id, RoleName=role["RoleName"])
        self.client.delete_instance_profile(InstanceProfileName=self.id)


class OidcProvider(Resource):
    """aws_iam_openid_connect_provider; the id is the ARN"""

    def create(self, want):
        made = self.client.create_open_id_connect_provider(
            Url=want["url"], ClientIDList=want["clients"], ThumbprintList=want["prints"], Tags=tags(want["tags"]))
        assert made["OpenIDConnectProviderArn"] == self.id

    def read(self):
        found = self.client.get_open_id_connect_provider(OpenIDConnectProviderArn=self.id)
        # AWS leaves the scheme out.
        assert "://" not in found["Url"]
        return {"url": f"https://{found['Url']}", "clients": sorted(found["ClientIDList"]), "prints": found["ThumbprintList"],
                "tags": untagged(found.get("Tags", []))}

    def update(self, have, want):
        arn = {"OpenIDConnectProviderArn": self.id}
        if have["prints"] != want["prints"]:
            self.client.update_open_id_connect_provider_thumbprint(**arn, ThumbprintList=want["prints"])
        for client in set(want["clients"]) - set(have["clients"]):
            self.client.add_client_id_to_open_id_connect_provider(**arn, ClientID=client)
        for client in set(have["clients"]) - set(want["clients"]):
            self.client.remove_client_id_from_open_id_connect_provider(**arn, ClientID=client)
        retag(have["tags"], want["tags"], lambda t: self.client.tag_open_id_connect_provider(**arn, Tags=t),
              lambda k: self.client.untag_open_id_connect_provider(**arn, TagKeys=k))

    def destroy(self):
        self.client.delete_open_id_connect_provider(OpenIDConnectProviderArn=self.id)


class PasswordPolicy(Resource):
    """aws_iam_account_password_policy"""

    def create(self, want):
        self.client.update_account_password_policy(**want)

    def read(self):
        found = self.client.get_account_password_policy()["PasswordPolicy"]
        assert found.pop("ExpirePasswords") == bool(found.get("MaxPasswordAge"))
        return found

    def update(self, _, want):
        self.create(want)

    def destroy(self):
        self.client.delete_account_password_policy()


def trusting(principal, **more):
    """A trust policy as a state has it."""
    return same(document("sts:AssumeRole", Principal=principal, **more))


def test_users(stack, iam):
    """COMP-001 to COMP-008, IAM-22: aws_iam_user, group, membership."""
    first = {"path": "/", "boundary": None, "tags": {"Name": "ci", "env": "dev"}}
    names = [fresh("tf-user") for _ in range(3)]
    applied(stack, User(iam, names[0]), first, {**first, "path": "/ci/", "tags": {"env": "prod", "empty": ""}},
            {**first, "path": "/ci/", "boundary": READ_ONLY}, {**first, "boundary": ADMINISTRATOR}, first)
    for name in names[1:]:
        applied(stack, User(iam, name), {**first, "path": "/a/b/", "tags": {}, "boundary": ADMINISTRATOR})
    group = fresh("tf-group")
    applied(stack, Group(iam, group), {"path": "/"}, {"path": "/x/"}, {"path": "/"})
    membership = Membership(iam, group)
    membership.create({names[0], names[1]})
    assert membership.read() == membership.read() == {names[0], names[1]}
    membership.update(membership.read(), {names[1], names[2]})
    assert Membership(iam, group).read() == {names[1], names[2]}
    refused("DeleteConflict", iam.delete_group, GroupName=group)
    membership.destroy()
    assert membership.read() == set()


def test_force_destroy(iam):
    """COMP-008, COMP-014 to COMP-023: aws_iam_user with force_destroy asks for every kind of credential and takes
    them away."""
    name = fresh("tf-user")
    iam.create_user(UserName=name)
    iam.create_access_key(UserName=name)
    iam.create_login_profile(UserName=name, Password="Str0ng-enough!")
    refused("DeleteConflict", iam.delete_user, UserName=name)
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    assert iam.list_ssh_public_keys(UserName=name)["SSHPublicKeys"] == []
    assert iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"] == []
    assert iam.list_mfa_devices(UserName=name)["MFADevices"] == []
    iam.delete_login_profile(UserName=name)
    assert iam.list_signing_certificates(UserName=name)["Certificates"] == []
    assert iam.list_service_specific_credentials(UserName=name)["ServiceSpecificCredentials"] == []
    iam.delete_user(UserName=name)
    for ask in (iam.list_ssh_public_keys, iam.list_signing_certificates, iam.list_service_specific_credentials):
        refused("NoSuchEntity", ask, UserName=name)


def test_roles(stack, iam):
    """COMP-024 to COMP-046: aws_iam_role with everything, aws_iam_instance_profile."""
    first = {"path": "/service-role/", "trust": trusting({"Service": "ec2.amazonaws.com"}), "boundary": READ_ONLY,
             "description": "Für CI", "duration": 7200, "tags": {"Name": "ci", "env": "dev"}}
    role, other = fresh("tf-role"), fresh("tf-role")
    several = trusting({"AWS": [f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{ACCOUNT}:role/{other}"],
                        "Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"]},
                       Condition={"StringEquals": {"sts:ExternalId": ["a", "b"]}, "Bool": {"aws:SecureTransport": "true"}})
    plain = {"path": "/", "trust": trusting({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), "boundary": None, "description": "",
             "duration": 3600, "tags": {}}
    applied(stack, Role(iam, other), plain, {**plain, "duration": 43200, "description": "long"}, plain)
    applied(stack, Role(iam, role), first, {**first, "trust": several}, {**first, "boundary": None, "tags": {"env": "x"}},
            {**first, "boundary": ADMINISTRATOR, "description": "", "duration": 3600})
    profile = {"path": "/ec2/", "role": role, "tags": {"a": "b"}}
    applied(stack, InstanceProfile(iam, fresh("tf-profile")), profile, {**profile, "role": other, "tags": {"c": ""}}, profile)


def test_policies(stack, iam):
    """COMP-048 to COMP-056: aws_iam_policy through more than five versions."""
    name = fresh("tf-policy")
    resource = {"Resource": [f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/*"]}
    first = {"path": "/team/", "description": "what CI may do", "tags": {"env": "dev"},
             "document": same(document("ecr:BatchGetImage", **resource))}
    states = [{**first, "document": same(document(f"ecr:Describe{n}*", "ecr:List*", Resource="*"))} for n in range(8)]
    arn = f"arn:aws:iam::{ACCOUNT}:policy/team/{name}"
    applied(stack, Policy(iam, arn), first, *states, {**states[-1], "tags": {"env": "prod", "Name": name}})
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [v["VersionId"] for v in versions] == ["v9", "v8", "v7", "v6", "v5"]
    # A version of before, made the default by hand, is what the next plan sees.
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v6")
    assert Policy(iam, arn).read()["document"] == states[4]["document"]
    Policy(iam, arn).update(states[4], {**states[7], "document": first["document"]})
    assert Policy(iam, arn).read()["document"] == first["document"]


def test_policies_of_entities(stack, iam):
    """COMP-057 to COMP-079: inline policies and attachments of users, groups and roles."""
    name = fresh("tf")
    user = User(iam, f"{name}-user")
    applied(stack, user, {"path": "/", "boundary": None, "tags": {}})
    applied(stack, Group(iam, f"{name}-group"), {"path": "/"})
    role = {"path": "/", "trust": trusting({"Service": "ec2.amazonaws.com"}), "boundary": None, "description": "",
            "duration": 3600, "tags": {}}
    applied(stack, Role(iam, f"{name}-role"), role)
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
    applied(stack, Policy(iam, arn), {"path": "/", "description": "", "tags": {}, "document": same(document("*", Resource="*"))})
    for kind in ("user", "group", "role"):
        applied(stack, Inline(iam, f"{name}-{kind}:first", kind), same(document("ecr:*", Resource="*")),
                same(document("ecr:Get*", Resource="*",
                              Condition={"StringLike": {"aws:PrincipalTag/t": ["é*", "${aws:userid}"]}})))
        applied(stack, Attachment(iam, f"{name}-{kind}/{READ_ONLY}", kind), "attached")
        applied(stack, Attachment(iam, f"{name}-{kind}/{arn}", kind), "attached")
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
    refused("DeleteConflict", iam.delete_role, RoleName=f"{name}-role")
    found = iam.list_entities_for_policy(PolicyArn=arn)
    assert [len(found[part]) for part in ("PolicyUsers", "PolicyGroups", "PolicyRoles")] == [1, 1, 1]


def test_access_keys(stack, iam):
    """COMP-014 to COMP-018: aws_iam_access_key: found by user and id, switched off and on."""
    user = fresh("tf-user")
    applied(stack, User(iam, user), {"path": "/", "boundary": None, "tags": {}})
    key = iam.create_access_key(UserName=user)["AccessKey"]

    def read():
        pages = iam.get_paginator("list_access_keys").paginate(UserName=user)
        return {k["AccessKeyId"]: k["Status"] for page in pages for k in page["AccessKeyMetadata"]}
    assert read() == read() == {key["AccessKeyId"]: "Active"}
    for status in ("Inactive", "Active"):
        iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status=status)
        assert read() == {key["AccessKeyId"]: status}
    # The import knows the id alone.
    assert iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["UserName"] == user
    iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
    assert read() == {}
    refused("NoSuchEntity", iam.delete_access_key, UserName=user, AccessKeyId=key["AccessKeyId"])


def test_account(stack, iam):
    """COMP-009, COMP-084 to COMP-087: aws_iam_account_alias, aws_iam_account_password_policy."""
    alias = fresh("tf")
    iam.create_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == iam.list_account_aliases()["AccountAliases"] == [alias]
    iam.delete_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == []
    refused("NoSuchEntity", iam.delete_account_alias, AccountAlias=alias)
    rules = {"MinimumPasswordLength": 14, "RequireSymbols": True, "RequireNumbers": True, "RequireUppercaseCharacters": True,
             "RequireLowercaseCharacters": True, "AllowUsersToChangePassword": True, "MaxPasswordAge": 90,
             "PasswordReusePrevention": 5, "HardExpiry": False}
    short = {**rules, "MinimumPasswordLength": 6, "RequireSymbols": False, "AllowUsersToChangePassword": False}
    applied(stack, PasswordPolicy(iam, "iam-account-password-policy"), rules, {**short, "HardExpiry": True}, rules)


def test_oidc_provider(stack, iam):
    """COMP-080 to COMP-083, COMP-906: aws_iam_openid_connect_provider, trusted by a role."""
    host = f"{fresh('ci')}.example.com"
    arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}/id/x"
    first = {"url": f"https://{host}/id/x", "clients": ["sts.amazonaws.com"], "prints": ["0123456789abcdef" * 2 + "01234567"],
             "tags": {"Name": "ci"}}
    applied(stack, OidcProvider(iam, arn), first, {**first, "clients": ["a", "b"], "tags": {}},
            {**first, "prints": ["f" * 40, "e" * 40]}, first)
    trust = same(document("sts:AssumeRoleWithWebIdentity", Principal={"Federated": arn},
                          Condition={"StringEquals": {f"{host}/id/x:aud": "sts.amazonaws.com"}}))
    role = {"path": "/", "trust": trust, "boundary": None, "description": "", "duration": 3600, "tags": {}}
    applied(stack, Role(iam, fresh("tf-role")), role)


def test_documents_are_encoded(plain, stack, iam):
    """POL-01, COMP-905: documents come URL-encoded, so that the provider's `url.QueryUnescape` gives them back."""
    user, found = fresh("tf-user"), []
    values = ["a+b", "100%", "é &=\"'", "%2B", "x y"]
    text = document("ecr:*", Resource="*", Condition={"StringLike": {"aws:PrincipalTag/t": values}})
    applied(stack, User(iam, user), {"path": "/", "boundary": None, "tags": {}})
    applied(stack, Inline(iam, f"{user}:p", "user"), same(text))
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=text)
    raw = aws(plain, "iam")
    raw.meta.events.register("before-parse.iam", lambda response_dict, **_: found.append(response_dict["body"].decode()))
    raw.get_user_policy(UserName=user, PolicyName="p")
    encoded = found[0].partition("<PolicyDocument>")[2].partition("</PolicyDocument>")[0]
    assert urllib.parse.unquote_plus(encoded) == text
    assert not set(encoded) & set("+ \"{}<&")


def test_provider_configuration(plain, iam):
    """COMP-098, IAM-12: how the provider finds out whose account it works in, and its two other ways if that fails."""
    found = aws(plain, "sts").get_caller_identity()
    assert (found["Account"], found["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    assert iam.get_user()["User"]["Arn"].split(":")[4] == ACCOUNT
    assert iam.list_roles(MaxItems=1)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_order_of_destruction(stack, iam):
    """COMP-001 to COMP-056: whatever still hangs on something else is refused as the provider expects, and then retried."""
    user, role, profile = fresh("tf-user"), fresh("tf-role"), fresh("tf-profile")
    iam.create_user(UserName=user)
    iam.create_login_profile(UserName=user, Password="Correct-Horse-1")
    refused("DeleteConflict", iam.delete_user, UserName=user, status=409)
    iam.delete_login_profile(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document("ecr:*", Resource="*"))
    refused("DeleteConflict", iam.delete_user, UserName=user, status=409)
    iam.delete_user_policy(UserName=user, PolicyName="p")
    iam.delete_user(UserName=user)
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trusting({"Service": "ec2.amazonaws.com"})))
    iam.create_instance_profile(InstanceProfileName=profile)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    refused("DeleteConflict", iam.delete_instance_profile, InstanceProfileName=profile, status=409)
    refused("DeleteConflict", iam.delete_role, RoleName=role, status=409)
    Role(iam, role).destroy()
    InstanceProfile(iam, profile).destroy()
    refused("NoSuchEntity", iam.get_instance_profile, InstanceProfileName=profile)
