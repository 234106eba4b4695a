//! The roof: command line, configuration, wiring, workers, shutdown.

mod account;
mod body;
mod cli;
mod control;
mod data;
mod heads;
mod house;
mod operator;
mod proxies;
mod reasons;
mod restore;
mod serve;
mod settings;
mod tls;
mod world;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Files of the data folder are the server's alone (0700, 0600).
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let command = cli::parse();
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("funaya: {error}");
            ExitCode::FAILURE
        }
    }
}
