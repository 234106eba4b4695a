"""Organizations by the AWS SDK: accounts, units, policies over accounts, and what they let people do (COMP-919)."""
import json

import pytest
from conftest import ACCOUNT, run
from support.server import Funaya, program
from test_iam import fresh, policy, refused
from test_sts import PULL, World

FULL = "p-FullAWSAccess"
SCP = "SERVICE_CONTROL_POLICY"


@pytest.fixture(scope="module")
def world(nothing_left, tmp_path_factory):
    """A server without an organization."""
    funaya = Funaya(tmp_path_factory.mktemp("organizations") / "data", env={"FUNAYA_RATE_QUOTAS": "off"}).start()
    yield World(funaya)
    try:
        funaya.stop()
    finally:
        funaya.kill()


@pytest.fixture(scope="module")
def org(world):
    """Organizations as the root of the management account; the organization is made here."""
    org = world.client("organizations")
    for call in (org.describe_organization, org.list_accounts, org.list_roots):
        refused("AWSOrganizationsNotInUseException", call)
    refused("AWSOrganizationsNotInUseException", org.create_account, Email="a@example.com", AccountName="a")
    refused("InvalidInputException", org.create_organization, FeatureSet="CONSOLIDATED_BILLING")
    made = org.create_organization(FeatureSet="ALL")["Organization"]
    assert made["Id"].startswith("o-") and made["MasterAccountId"] == ACCOUNT
    assert made["Arn"] == f"arn:aws:organizations::{ACCOUNT}:organization/{made['Id']}"
    refused("AlreadyInOrganizationException", org.create_organization)
    assert org.describe_organization()["Organization"]["Id"] == made["Id"]
    root = org.list_roots()["Roots"][0]
    assert root["PolicyTypes"] == []
    refused("PolicyTypeNotEnabledException", org.attach_policy, PolicyId=FULL, TargetId=root["Id"])
    enabled = org.enable_policy_type(RootId=root["Id"], PolicyType=SCP)["Root"]
    assert enabled["PolicyTypes"] == [{"Type": SCP, "Status": "ENABLED"}]
    refused("PolicyTypeAlreadyEnabledException", org.enable_policy_type, RootId=root["Id"], PolicyType=SCP)
    refused("RootNotFoundException", org.enable_policy_type, RootId="r-zzzz", PolicyType=SCP)
    refused("PolicyTypeNotAvailableForOrganizationException", org.enable_policy_type, RootId=root["Id"],
            PolicyType="TAG_POLICY")
    org.root_id = root["Id"]
    return org


def member(org, **more):
    """A new account's id."""
    status = org.create_account(Email=f"{fresh('m')}@example.com", AccountName=fresh("name"), **more)["CreateAccountStatus"]
    assert status["State"] == "SUCCEEDED", status
    return status["AccountId"]


def inside(world, account, role="OrganizationAccountAccessRole"):
    """Credentials of the role that every new account has, for an administrator of the management account."""
    _, key = world.user(policy("sts:AssumeRole"))
    return world.assume(f"arn:aws:iam::{account}:role/{role}", key)["Credentials"]


def control(org, document, *targets):
    """A service control policy, attached."""
    made = org.create_policy(Name=fresh("scp"), Description="d", Type=SCP, Content=document)["Policy"]["PolicySummary"]
    for target in targets:
        org.attach_policy(PolicyId=made["Id"], TargetId=target)
    return made["Id"]


def test_accounts(world, org):
    """COMP-919: an account is made at once, with a role for the management account."""
    email = f"{fresh('m')}@example.com"
    status = org.create_account(Email=email, AccountName="team", Tags=[{"Key": "a", "Value": "1"}])["CreateAccountStatus"]
    account = status["AccountId"]
    assert (status["State"], len(account)) == ("SUCCEEDED", 12)
    assert org.describe_create_account_status(CreateAccountRequestId=status["Id"])["CreateAccountStatus"] == status
    refused("CreateAccountStatusNotFoundException", org.describe_create_account_status,
            CreateAccountRequestId="car-" + "a" * 32)
    again = org.create_account(Email=email.upper(), AccountName="x")["CreateAccountStatus"]
    assert (again["State"], again["FailureReason"]) == ("FAILED", "EMAIL_ALREADY_EXISTS")
    states = {s["Id"]: s["State"] for s in org.list_create_account_status(States=["FAILED"])["CreateAccountStatuses"]}
    assert states == {again["Id"]: "FAILED"}
    found = org.describe_account(AccountId=account)["Account"]
    assert (found["Name"], found["Email"], found["Status"], found["JoinedMethod"]) == ("team", email, "ACTIVE", "CREATED")
    assert found["Arn"].endswith(f":account/{org.describe_organization()['Organization']['Id']}/{account}")
    refused("AccountNotFoundException", org.describe_account, AccountId="999999999999")
    assert {ACCOUNT, account} <= {a["Id"] for a in org.list_accounts()["Accounts"]}
    assert org.list_parents(ChildId=account)["Parents"] == [{"Id": org.root_id, "Type": "ROOT"}]
    iam = world.client("iam", inside(world, account))
    assert iam.get_role(RoleName="OrganizationAccountAccessRole")["Role"]["Arn"].startswith(f"arn:aws:iam::{account}:")
    assert inside(world, member(org, RoleName="Admin"), "Admin")
    org.tag_resource(ResourceId=account, Tags=[{"Key": "b", "Value": "2"}])
    org.untag_resource(ResourceId=account, TagKeys=["a"])
    assert org.list_tags_for_resource(ResourceId=account)["Tags"] == [{"Key": "b", "Value": "2"}]
    refused("TargetNotFoundException", org.tag_resource, ResourceId="999999999999", Tags=[{"Key": "b", "Value": "2"}])
    for bad in ("nobody", "a b@example.com"):
        refused("InvalidInputException", org.create_account, Email=bad, AccountName="x")


def test_pages(org):
    """COMP-919: lists go on where they ended."""
    for _ in range(3):
        member(org)
    seen, more = [], {}
    while True:
        page = org.list_accounts(MaxResults=2, **more)
        assert len(page["Accounts"]) <= 2
        seen += [a["Id"] for a in page["Accounts"]]
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    assert len(seen) == len(set(seen)) == len(org.list_accounts(MaxResults=20)["Accounts"])
    refused("InvalidInputException", org.list_accounts, NextToken="nonsense")


def test_units(org):
    """COMP-919: units, what is in them, and moves."""
    unit = org.create_organizational_unit(ParentId=org.root_id, Name=fresh("ou"))["OrganizationalUnit"]
    refused("DuplicateOrganizationalUnitException", org.create_organizational_unit, ParentId=org.root_id, Name=unit["Name"])
    refused("ParentNotFoundException", org.create_organizational_unit, ParentId="r-zzzz", Name="x")
    inner = org.create_organizational_unit(ParentId=unit["Id"], Name="inner")["OrganizationalUnit"]
    account = member(org)
    move = {"AccountId": account, "SourceParentId": org.root_id, "DestinationParentId": inner["Id"]}
    org.move_account(**move)
    refused("SourceParentNotFoundException", org.move_account, **move)
    refused("DestinationParentNotFoundException", org.move_account, AccountId=account, SourceParentId=inner["Id"],
            DestinationParentId="ou-zzzz-zzzzzzzz")
    refused("DuplicateAccountException", org.move_account, AccountId=account, SourceParentId=inner["Id"],
            DestinationParentId=inner["Id"])
    refused("AccountNotFoundException", org.move_account, AccountId="999999999999", SourceParentId=inner["Id"],
            DestinationParentId=org.root_id)
    assert org.list_parents(ChildId=account)["Parents"] == [{"Id": inner["Id"], "Type": "ORGANIZATIONAL_UNIT"}]
    assert org.list_children(ParentId=inner["Id"], ChildType="ACCOUNT")["Children"] == [{"Id": account, "Type": "ACCOUNT"}]
    assert org.list_children(ParentId=unit["Id"], ChildType="ACCOUNT")["Children"] == []
    assert [a["Id"] for a in org.list_accounts_for_parent(ParentId=inner["Id"])["Accounts"]] == [account]
    assert [u["Id"] for u in org.list_organizational_units_for_parent(ParentId=unit["Id"])["OrganizationalUnits"]] == [inner["Id"]]
    assert org.describe_organizational_unit(OrganizationalUnitId=inner["Id"])["OrganizationalUnit"]["Name"] == "inner"
    renamed = org.update_organizational_unit(OrganizationalUnitId=inner["Id"], Name="other")["OrganizationalUnit"]
    assert renamed["Name"] == "other"
    refused("OrganizationalUnitNotEmptyException", org.delete_organizational_unit, OrganizationalUnitId=unit["Id"])
    org.move_account(AccountId=account, SourceParentId=inner["Id"], DestinationParentId=org.root_id)
    org.delete_organizational_unit(OrganizationalUnitId=inner["Id"])
    org.delete_organizational_unit(OrganizationalUnitId=unit["Id"])
    refused("OrganizationalUnitNotFoundException", org.delete_organizational_unit, OrganizationalUnitId=unit["Id"])
    refused("ChildNotFoundException", org.list_parents, ChildId="999999999999")
    at = org.root_id
    for _ in range(5):
        at = org.create_organizational_unit(ParentId=at, Name=fresh("deep"))["OrganizationalUnit"]["Id"]
    refused("ConstraintViolationException", org.create_organizational_unit, ParentId=at, Name="deeper")


def test_policies(org):
    """IAM-23: policies, and where they hang."""
    account = member(org)
    of = {"TargetId": account, "Filter": SCP}
    assert [p["Id"] for p in org.list_policies_for_target(**of)["Policies"]] == [FULL]
    made = org.create_policy(Name=fresh("scp"), Description="d", Type=SCP, Content=policy("ecr:*"))["Policy"]
    own = made["PolicySummary"]["Id"]
    assert json.loads(org.describe_policy(PolicyId=own)["Policy"]["Content"]) == json.loads(policy("ecr:*"))
    refused("DuplicatePolicyException", org.create_policy, Name=made["PolicySummary"]["Name"], Description="d", Type=SCP,
            Content=policy("ecr:*"))
    refused("MalformedPolicyDocumentException", org.create_policy, Name=fresh("x"), Description="", Type=SCP, Content="{}")
    refused("PolicyTypeNotAvailableForOrganizationException", org.create_policy, Name=fresh("x"), Description="",
            Type="TAG_POLICY", Content="{}")
    org.attach_policy(PolicyId=own, TargetId=account)
    refused("DuplicatePolicyAttachmentException", org.attach_policy, PolicyId=own, TargetId=account)
    refused("PolicyNotFoundException", org.attach_policy, PolicyId="p-zzzzzzzzzz", TargetId=account)
    refused("TargetNotFoundException", org.attach_policy, PolicyId=own, TargetId="999999999999")
    refused("PolicyInUseException", org.delete_policy, PolicyId=own)
    assert [(t["TargetId"], t["Type"]) for t in org.list_targets_for_policy(PolicyId=own)["Targets"]] == [(account, "ACCOUNT")]
    for _ in range(3):
        control(org, policy("ecr:*"), account)
    sixth = control(org, policy("ecr:*"))
    refused("ConstraintViolationException", org.attach_policy, PolicyId=sixth, TargetId=account)
    for listed in org.list_policies_for_target(**of)["Policies"]:
        if listed["Id"] != FULL:
            org.detach_policy(PolicyId=listed["Id"], TargetId=account)
    refused("PolicyNotAttachedException", org.detach_policy, PolicyId=own, TargetId=account)
    refused("ConstraintViolationException", org.detach_policy, PolicyId=FULL, TargetId=account)
    org.update_policy(PolicyId=own, Description="new", Content=policy("ecr:Get*"))
    assert org.describe_policy(PolicyId=own)["Policy"]["PolicySummary"]["Description"] == "new"
    refused("InvalidInputException", org.update_policy, PolicyId=FULL, Description="x")
    assert {FULL, own} <= {p["Id"] for p in org.list_policies(Filter=SCP)["Policies"]}
    org.delete_policy(PolicyId=own)
    refused("PolicyNotFoundException", org.describe_policy, PolicyId=own)


def test_policies_bind_everybody(world, org):
    """IAM-23, IAM-30, COMP-083: an SCP binds a member account's administrators and its root, on ECR's API and on the registry."""
    made = json.loads(run(program(), "account", "create", "--data", world.funaya.data, "--name", fresh("bound"),
                          "--format", "json").stdout)
    account = made["accountId"]
    root = {"AccessKeyId": made["accessKeyId"], "SecretAccessKey": made["secretAccessKey"]}
    assert world.client("sts", root).get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:root"
    ecr = world.client("ecr", root)
    ecr.create_repository(repositoryName="mine")
    unit = org.create_organizational_unit(ParentId=org.root_id, Name=fresh("ou"))["OrganizationalUnit"]["Id"]
    org.move_account(AccountId=account, SourceParentId=org.root_id, DestinationParentId=unit)
    deny = control(org, policy("ecr:CreateRepository", effect="Deny"), unit)
    refused("AccessDeniedException", ecr.create_repository, repositoryName="second", match=f"{account}:root")
    admin = world.client("ecr", inside(world, account))
    refused("AccessDeniedException", admin.create_repository, repositoryName="second")
    found = world.client("iam", root).simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole",
        ActionNames=["ecr:CreateRepository", "ecr:DeleteRepository"])["EvaluationResults"]
    assert [(r["EvalDecision"], r["OrganizationsDecisionDetail"]["AllowedByOrganizations"]) for r in found] == [
        ("explicitDeny", False), ("allowed", True)]
    assert ecr.describe_repositories(repositoryNames=["mine"])
    org.detach_policy(PolicyId=deny, TargetId=unit)
    ecr.create_repository(repositoryName="second")
    only = control(org, policy(*PULL), account)
    org.detach_policy(PolicyId=FULL, TargetId=account)
    refused("AccessDeniedException", ecr.delete_repository, repositoryName="second")
    assert ecr.describe_repositories()
    assert world.client("ecr").describe_repositories() is not None
    org.attach_policy(PolicyId=FULL, TargetId=account)
    org.detach_policy(PolicyId=only, TargetId=account)
    ecr.delete_repository(repositoryName="second")
    # With the type disabled nothing counts; enabled again, everything has the policy that allows all.
    org.attach_policy(PolicyId=deny, TargetId=account)
    org.disable_policy_type(RootId=org.root_id, PolicyType=SCP)
    ecr.create_repository(repositoryName="third")
    refused("PolicyTypeNotEnabledException", org.disable_policy_type, RootId=org.root_id, PolicyType=SCP)
    org.enable_policy_type(RootId=org.root_id, PolicyType=SCP)
    listed = org.list_policies_for_target(TargetId=account, Filter=SCP)["Policies"]
    assert [p["Id"] for p in listed] == [FULL]


def test_members_may_only_look(world, org):
    """COMP-919: a member account sees the organization and changes nothing of it."""
    account = member(org)
    theirs = world.client("organizations", inside(world, account))
    assert theirs.describe_organization()["Organization"]["MasterAccountId"] == ACCOUNT
    refused("AlreadyInOrganizationException", theirs.create_organization)
    for call, more in ((theirs.list_accounts, {}), (theirs.list_roots, {}), (theirs.describe_account, {"AccountId": account}),
                       (theirs.create_account, {"Email": "x@example.com", "AccountName": "x"}),
                       (theirs.close_account, {"AccountId": account}),
                       (theirs.disable_policy_type, {"RootId": org.root_id, "PolicyType": SCP}),
                       (theirs.detach_policy, {"PolicyId": FULL, "TargetId": account})):
        refused("AccessDeniedException", call, **more)
    _, key = world.user()
    refused("AccessDeniedException", world.client("organizations", key).list_accounts, match="organizations:ListAccounts")
    _, key = world.user(policy("organizations:List*"))
    assert world.client("organizations", key).list_accounts()["Accounts"]
    refused("AccessDeniedException", world.client("organizations", key).close_account, AccountId=account)


def test_closing(world, org):
    """COMP-919: nobody of a closed account can do anything."""
    account = member(org)
    credentials = inside(world, account)
    assert world.client("sts", credentials).get_caller_identity()
    org.close_account(AccountId=account)
    refused("InvalidClientTokenId", world.client("sts", credentials).get_caller_identity)
    refused("AccountAlreadyClosedException", org.close_account, AccountId=account)
    refused("ConstraintViolationException", org.close_account, AccountId=ACCOUNT)
    refused("AccountNotFoundException", org.close_account, AccountId="999999999999")
    assert org.describe_account(AccountId=account)["Account"]["Status"] == "SUSPENDED"


def test_pull_across_accounts(world, org):
    """IAM-30, IAM-94: a role of another account pulls if both its own policies and the repository's allow it."""
    account = member(org)
    iam, name, shared = world.client("iam", inside(world, account)), fresh("puller"), fresh("shared")
    _, key = world.user(policy("sts:AssumeRole"))
    trust = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}]})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    theirs = world.client("ecr", world.assume(arn, key)["Credentials"])
    ours = world.client("ecr")
    ours.create_repository(repositoryName=shared)
    asked = {"registryId": ACCOUNT, "repositoryName": shared}
    refused("AccessDeniedException", theirs.list_images, **asked)
    statement = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": ["ecr:ListImages", "ecr:BatchGetImage"]}
    ours.set_repository_policy(repositoryName=shared, policyText=json.dumps(
        {"Version": "2012-10-17", "Statement": [statement]}))
    refused("AccessDeniedException", theirs.list_images, **asked)
    iam.put_role_policy(RoleName=name, PolicyName="pull", PolicyDocument=policy("ecr:ListImages"))
    assert theirs.list_images(**asked)["imageIds"] == []
    refused("AccessDeniedException", theirs.batch_get_image, imageIds=[{"imageTag": "x"}], **asked)


def test_operator(nothing_left, tmp_path):
    """COMP-919: the operator makes accounts without a server and with one, and without an organization."""
    funaya = Funaya(tmp_path / "data").start()
    try:
        world = World(funaya)
        lines = run(program(), "account", "list", "--data", funaya.data).stdout.split("\n")
        assert lines[0].startswith(ACCOUNT)
        env = run(program(), "account", "create", "--data", funaya.data, "--name", "first").stdout
        values = dict(line.removeprefix("export ").split("=", 1) for line in env.splitlines() if "=" in line)
        first = {"AccessKeyId": values["AWS_ACCESS_KEY_ID"], "SecretAccessKey": values["AWS_SECRET_ACCESS_KEY"]}
        assert world.client("sts", first).get_caller_identity()["Account"] == values["FUNAYA_ACCOUNT_ID"]
        funaya.stop()
        options = ("--data", funaya.data, "--account", ACCOUNT)
        again = run(program(), "account", "create", *options, "--name", "second", "--email", "b@example.com", "--format", "json")
        second = json.loads(again.stdout)
        assert run(program(), "account", "create", *options, "--name", "x", "--email", "b@example.com", check=False).returncode
        funaya.start()
        credentials = {"AccessKeyId": second["accessKeyId"], "SecretAccessKey": second["secretAccessKey"]}
        assert world.client("sts", credentials).get_caller_identity()["Account"] == second["accountId"]
        listed = run(program(), "account", "list", "--data", funaya.data, "--json").stdout.splitlines()
        accounts = {a["accountId"]: a for a in map(json.loads, listed)}
        assert set(accounts) == {ACCOUNT, second["accountId"], values["FUNAYA_ACCOUNT_ID"]}
        assert (accounts[second["accountId"]]["name"], accounts[second["accountId"]]["email"]) == ("second", "b@example.com")
        funaya.stop()
    finally:
        funaya.kill()
