//! The command line: one subcommand a file.
//!
//! Owns flags, their `CONVOY_*` environment and what is printed. A flag wins over the environment.
//! Must not know how anything is derived or served: it composes options and prints answers.

mod account;
mod bootstrap;
mod certificate;
mod crds;
mod demo;
mod drain;
pub mod echo;
mod flags;
mod kubernetes;
mod member;
mod serve;
mod status;
mod table;
mod translate;
mod xds;
mod yaml;

use std::{error::Error, io, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use kube::config::KubeconfigError;

/// One gateway in front of every Kubernetes cluster you have.
///
/// Convoy reads Ingresses from one fleet and Services and EndpointSlices from its member
/// clusters, and configures stock Envoys over xDS. It is never in the request path.
///
/// To see it work on this machine: `convoy demo`.
#[derive(Debug, Parser)]
#[command(name = "convoy", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    // It has many more flags than any other.
    Serve(Box<serve::Args>),
    Translate(translate::Args),
    Bootstrap(bootstrap::Args),
    Certificate(certificate::Args),
    Status(status::Args),
    Crds(crds::Args),
    Account(account::Args),
    Member(member::Args),
    Demo(demo::Args),
    Drain(drain::Args),
    #[command(hide = true)]
    Echo(echo::Echo),
}

/// Parses the command line and runs it.
///
/// The exit code is 0 for success, 1 for a failure that is explained on stderr, and 2 for a
/// command line that does not parse.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        // `convoy translate DIR | head` is not a failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convoy: {}", explained(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Translate(args) => translate::run(&args, &mut io::stdout().lock()),
            Command::Bootstrap(args) => bootstrap::run(&args, &mut io::stdout().lock()),
            Command::Certificate(args) => certificate::run(&args, &mut io::stdout().lock()).await,
            Command::Status(args) => status::run(&args, &mut io::stdout().lock()).await,
            Command::Crds(args) => crds::run(&args, &mut io::stdout().lock()),
            Command::Account(args) => account::run(&args, &mut io::stdout().lock()),
            Command::Member(args) => member::run(args, &mut io::stdout().lock()).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Drain(args) => drain::run(&args).await,
            Command::Echo(args) => echo::run(args).await.map(|()| ExitCode::SUCCESS),
        }
    })
}

/// The causes in one line. Errors of `kube` that have a cause say all of it themselves, twice.
fn explained(error: &anyhow::Error) -> String {
    let repeats =
        |cause: &(dyn Error + 'static)| cause.is::<kube::Error>() || cause.is::<KubeconfigError>();
    let causes = error.chain().filter(|cause| !repeats(*cause) || cause.source().is_none());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_an_api_server_said_is_said_once() {
        let status = kube::core::Status::failure("secrets \"a\" is forbidden", "Forbidden");
        let error = anyhow::Error::from(kube::Error::Api(status.boxed())).context("get Secret a");
        let expect = "get Secret a: secrets \"a\" is forbidden: Forbidden";
        assert_eq!(explained(&error), expect);
    }

    #[test]
    fn every_flag_with_a_value_has_its_environment() {
        for subcommand in Cli::command().get_subcommands().filter(|cmd| !cmd.is_hide_set()) {
            for arg in subcommand.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let flag = arg.get_long().unwrap_or_default();
                let expect = format!("CONVOY_{}", flag.to_uppercase().replace('-', "_"));
                let env = arg.get_env().map(|env| env.to_string_lossy().into_owned());
                let what = format!("convoy {} --{flag}", subcommand.get_name());
                assert_eq!(env, Some(expect), "{what}");
            }
        }
    }
}
