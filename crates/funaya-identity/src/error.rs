//! What can go wrong, without any protocol: the door has one table for it.
//!
//! `Display` is the text for the caller, in IAM's words where they are known.

use funaya_gate::principals::BindError;
use funaya_ports::{StoreError, meta};

/// Why an operation on identities failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such user.
    #[error("The user with name {0} cannot be found.")]
    NoUser(String),
    /// There is no such group.
    #[error("The group with name {0} cannot be found.")]
    NoGroup(String),
    /// There is no such role.
    #[error("The role with name {0} cannot be found.")]
    NoRole(String),
    /// There is no such instance profile.
    #[error("Instance Profile {0} cannot be found.")]
    NoProfile(String),
    /// There is no such managed policy.
    #[error("Policy {0} was not found.")]
    NoPolicy(String),
    /// There is no such managed policy to attach.
    #[error("Policy {0} does not exist or is not attachable.")]
    NotAttachable(String),
    /// The policy has no such version.
    #[error("Policy {arn} version {version} does not exist or is not attachable.")]
    NoVersion {
        /// The policy's ARN.
        arn: String,
        /// `v3`
        version: String,
    },
    /// The policy is there, but not attached.
    #[error("Policy {0} was not found.")]
    NotAttached(String),
    /// There is no such inline policy.
    #[error("The {holder} policy with name {name} cannot be found.")]
    NoInline {
        /// `user`, `group` or `role`.
        holder: &'static str,
        /// The policy's name.
        name: String,
    },
    /// The user or role has no boundary.
    #[error("The {holder} {name} has no permissions boundary.")]
    NoBoundary {
        /// `user` or `role`.
        holder: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such access key.
    #[error("The Access Key with id {0} cannot be found.")]
    NoKey(String),
    /// The user has no console password.
    #[error("Login Profile for User {0} cannot be found.")]
    NoLogin(String),
    /// The user is not in the group, or the role not in the profile.
    #[error("{member} not in {of}.")]
    NotMember {
        /// Who.
        member: String,
        /// In what.
        of: String,
    },
    /// The account has no such alias.
    #[error("The account alias {0} cannot be found.")]
    NoAlias(String),
    /// The account has no rules for passwords.
    #[error("The Password Policy with domain name {0} cannot be found.")]
    NoPasswordPolicy(String),
    /// There is no such MFA device, or not of this user.
    #[error("VirtualMFADevice with serial number {0} does not exist.")]
    NoDevice(String),
    /// There is no such identity provider.
    #[error("{0}")]
    NoProvider(String),
    /// There is such an MFA device.
    #[error("MFADevice entity at the same path and name already exists.")]
    DeviceExists,
    /// Somebody has the MFA device.
    #[error("MFA Device is already in use.")]
    DeviceInUse,
    /// The codes are not those of the device.
    #[error("Authentication code for device is not valid.")]
    InvalidCode,
    /// There is such an identity provider.
    #[error("{0}")]
    ProviderExists(String),
    /// The name is taken.
    #[error("{kind} with name {name} already exists.")]
    Exists {
        /// `User`, `Group`, `Role`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The name of a managed policy is taken.
    #[error("A policy called {0} already exists. Duplicate names are not allowed.")]
    PolicyExists(String),
    /// The name of an instance profile is taken.
    #[error("Instance Profile {0} already exists.")]
    ProfileExists(String),
    /// The user has a console password.
    #[error("Login Profile for user {0} already exists.")]
    LoginExists(String),
    /// Another account has the alias.
    #[error("The account alias {0} already exists.")]
    AliasTaken(String),
    /// Something still hangs on it.
    #[error("Cannot delete entity, must {0} first.")]
    DeleteConflict(&'static str),
    /// The default version of a policy can't be deleted.
    #[error("Cannot delete the default version of a policy.")]
    DefaultVersion,
    /// A policy that is in use can't be deleted.
    #[error("Cannot delete a policy attached to entities.")]
    PolicyInUse,
    /// A policy with several versions can't be deleted.
    #[error(
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
    )]
    HasVersions,
    /// A quota is used up.
    #[error("Cannot exceed quota for {name}: {max}")]
    Quota {
        /// Which one.
        name: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A policy has its five versions.
    #[error(
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
    )]
    TooManyVersions,
    /// Inline policies are too large together.
    #[error("Maximum policy size of {max} bytes exceeded for {holder} {name}")]
    InlineSize {
        /// How large they may be together.
        max: usize,
        /// `user`, `group` or `role`.
        holder: &'static str,
        /// Its name.
        name: String,
    },
    /// A document is no policy.
    #[error("{0}")]
    Malformed(String),
    /// A parameter does not make sense.
    #[error("{0}")]
    InvalidInput(String),
    /// A parameter is missing, or not of the form it must have.
    #[error("{0}")]
    Validation(String),
    /// The password is not as the account wants it.
    #[error("{0}")]
    Password(String),
    /// The policy belongs to AWS or to another account.
    #[error("Policy is outside your own account.")]
    Foreign,
    /// The labels would be too many.
    #[error("The number of tags has reached the maximum limit.")]
    TooManyTags,
    /// The old password is wrong.
    #[error("The old password was incorrect.")]
    WrongPassword,
    /// Only users have passwords that they can change.
    #[error("Only IAM Users can change their own password")]
    NotUser,
    /// It can't be changed this way.
    #[error("{0}")]
    Unmodifiable(String),
    /// The account's credential report was never made.
    #[error("Credential report not present.")]
    ReportMissing,
    /// The account's credential report is too old.
    #[error("Credential report has expired. Please generate a new one.")]
    ReportExpired,
    /// Others changed the same all the time.
    #[error(
        "The request was rejected because multiple requests to change this object were submitted simultaneously. Wait a few minutes and submit your request again."
    )]
    Concurrent,
    /// The store failed.
    #[error("The request processing has failed because of an unknown error, exception or failure.")]
    Store(#[from] StoreError),
}

impl From<meta::Error> for Error {
    fn from(error: meta::Error) -> Self {
        match error {
            meta::Error::Store(error) => Self::Store(error),
            meta::Error::Refused(refusal) => Self::Store(StoreError::failed(format!("refused: {refusal:?}"))),
        }
    }
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Unknown(arn) => Self::Malformed(format!("Invalid principal in policy: \"AWS\":\"{arn}\"")),
            BindError::Store(error) => Self::Store(error),
        }
    }
}
