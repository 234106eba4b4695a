//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{operator, serve, settings::Options};

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
    Gc(Options),
    /// Print the audit log, one record a line
    Audit(Options),
    /// Bring back what was deleted
    Restore(Options),
    /// Explain a decision
    Explain(Options),
    /// Print the version
    Version,
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
            Self::Gc(options) => operator::run(options.resolve()?, operator::Task::Gc),
            Self::Audit(options) => operator::run(options.resolve()?, operator::Task::Audit),
            Self::Restore(_) => Err("restore is not available in this version".into()),
            Self::Explain(_) => Err("explain is not available in this version".into()),
            Self::Version => {
                println!("funaya {}", env!("CARGO_PKG_VERSION"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
