//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{account::Account, operator, reasons::Replay, restore::Restore, serve, settings::Options};

/// A self-hosted container registry that speaks Amazon ECR.
#[derive(Parser)]
#[command(name = "funaya", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the registry
    Serve(Options),
    /// Print the root access key of the data folder
    Credentials {
        /// How to print it
        #[arg(long, value_enum, default_value = "env")]
        format: Format,
        #[command(flatten)]
        options: Options,
    },
    /// Check every row against every stored byte
    Verify(Options),
    /// Read every stored byte again and name what is damaged
    Scrub(Options),
    /// Remove what nothing needs any more, now
    Gc {
        #[command(subcommand)]
        what: Option<Box<Gc>>,
        /// Only tell what would be removed now
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Print the audit log, one record a line
    Audit(Options),
    /// Tell how often operations were called since the server started, and at which rate they may be
    Usage {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Bring back what was deleted
    Restore {
        #[command(subcommand)]
        what: Restore,
        #[command(flatten)]
        options: Options,
    },
    /// Explain why a call was refused
    Explain {
        /// The decision's id: the header `x-funaya-decision` of the answer
        id: String,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Options,
    },
    /// Accounts of the organization
    #[command(subcommand)]
    Account(AccountCommand),
    /// Try out policies
    #[command(subcommand)]
    Policy(Policy),
    /// Print the version
    Version,
}

/// What to do with accounts.
#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account, and print its root's access key
    Create {
        /// Its name
        #[arg(long)]
        name: String,
        /// Its e-mail address, which no other account has
        #[arg(long)]
        email: Option<String>,
        /// How to print the key
        #[arg(long, value_enum, default_value = "env")]
        format: Format,
        #[command(flatten)]
        options: Options,
    },
    /// Print all accounts
    List {
        /// Print each as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Options,
    },
}

impl AccountCommand {
    fn run(self) -> Result<ExitCode, crate::data::Failed> {
        let (options, task) = match self {
            Self::Create { name, email, format, options } => (options, Account::Create { name, email, format }),
            Self::List { json, options } => (options, Account::List { json }),
        };
        operator::run(options.resolve()?, operator::Task::Account(task))
    }
}

/// What else to do about garbage.
#[derive(Subcommand)]
pub(crate) enum Gc {
    /// Tell why a digest's bytes are there, or went
    Explain {
        /// sha256:…
        digest: String,
        #[command(flatten)]
        options: Options,
    },
}

/// What to do with a policy.
#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Judge the recorded calls of the last days as if a policy were another
    Replay {
        /// File with the policy to try out
        #[arg(long, value_name = "FILE")]
        against: PathBuf,
        /// What it stands for: the ARN of a managed policy or of a repository that it replaces, or of a user or
        /// role that it is added to
        #[arg(long, value_name = "ARN")]
        replace: String,
        /// How far to look back
        #[arg(long, default_value_t = 7)]
        days: u32,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        options: Options,
    },
}

impl Policy {
    fn run(self) -> Result<ExitCode, crate::data::Failed> {
        let Self::Replay { against, replace, days, json, options } = self;
        let document = std::fs::read_to_string(&against)
            .map_err(|error| format!("the policy `{}` can't be read: {error}", against.display()))?;
        operator::run(options.resolve()?, operator::Task::Replay(Replay { replace, document, days, json }))
    }
}

/// How credentials are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Lines for a shell to evaluate
    Env,
    /// What `credential_process` of the AWS configuration expects
    Process,
    /// Everything as JSON
    Json,
}

pub(crate) fn parse() -> Command {
    Cli::parse().command
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode, crate::data::Failed> {
        match self {
            Self::Serve(options) => serve::run(options.resolve()?),
            Self::Credentials { format, options } => {
                operator::run(options.resolve()?, operator::Task::Credentials(format))
            }
            Self::Verify(options) => operator::run(options.resolve()?, operator::Task::Verify),
            Self::Scrub(options) => operator::run(options.resolve()?, operator::Task::Scrub),
            Self::Gc { what: Some(what), .. } => {
                let Gc::Explain { digest, options } = *what;
                operator::run(options.resolve()?, operator::Task::GcExplain(digest))
            }
            Self::Gc { what: None, dry_run, options } => {
                let task = if dry_run { operator::Task::GcDryRun } else { operator::Task::Gc };
                operator::run(options.resolve()?, task)
            }
            Self::Audit(options) => operator::run(options.resolve()?, operator::Task::Audit),
            Self::Usage { json, options } => operator::run(options.resolve()?, operator::Task::Usage { json }),
            Self::Restore { what, options } => operator::run(options.resolve()?, operator::Task::Restore(what)),
            Self::Explain { id, json, options } => {
                operator::run(options.resolve()?, operator::Task::Explain { id, json })
            }
            Self::Account(account) => account.run(),
            Self::Policy(policy) => policy.run(),
            Self::Version => {
                println!("funaya {}", env!("CARGO_PKG_VERSION"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
