//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::config::layers::Inputs;
use crate::config::settings::SETTINGS;
use crate::config::{Config, ConfigError};

mod check;

mod kick;

mod listen;

mod logging;

mod schema;

mod serve;

mod service;

mod token;

/// What a command gives up with; the text is for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let done = match matches.subcommand() {
        Some(("serve", matches)) => load(matches).map_err(Failure::from).and_then(serve::run),
        Some(("check", matches)) => {
            load(matches).map_err(Failure::from).and_then(|config| check::run(&config))
        }
        Some(("kick", matches)) => {
            load(matches).map_err(Failure::from).and_then(|config| kick::run(&config, matches))
        }
        Some(("schema", matches)) => {
            load(matches).map_err(Failure::from).and_then(|config| schema::run(&config, matches))
        }
        Some(("token", matches)) => {
            load(matches).map_err(Failure::from).and_then(|config| token::run(&config, matches))
        }
        // The command requires one of these.
        _ => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    Command::new("tidings")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Streams committed PostgreSQL events as GraphQL subscriptions")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(configured(Command::new("serve").about("Run the daemon")))
        .subcommand(configured(
            Command::new("check").about("Check the configuration and the database, and say what to do"),
        ))
        .subcommand(kick::arguments(configured(
            Command::new("kick").about("End connections on every node, and have tokens from before refused"),
        )))
        .subcommand(schema::arguments(configured(
            Command::new("schema").about("Print the GraphQL schema that the database gives, as SDL"),
        )))
        .subcommand(token::arguments(configured(
            Command::new("token").about("Print a token for trying things out, signed with jwt.secret"),
        )))
}

/// Adds `--config` and a flag for every setting that may have one.
fn configured(command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file [env: TIDINGS_CONFIG] [default: tidings.toml, if there is one]");
    let settings = SETTINGS.iter().filter_map(|setting| {
        let help = format!("{} [env: {}]", setting.help, setting.env());
        let long_help = format!("{help}\nAllowed: {}\nIn the file: {}", setting.allowed, setting.key);
        let flag = setting.flag()?;
        Some(Arg::new(setting.key).long(flag).value_name("VALUE").long_help(long_help).help(help))
    });
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    let secrets =
        secrets.map(|setting| format!("  {}  {}: {}", setting.env(), setting.help, setting.allowed));
    let after = format!(
        "Secrets have no flag (everybody could read it):\n{}",
        secrets.collect::<Vec<_>>().join("\n")
    );
    command.arg(file).args(settings).after_help(after)
}

fn load(matches: &ArgMatches) -> Result<Config, ConfigError> {
    let flags = SETTINGS.iter().filter_map(|setting| {
        Some((setting, matches.try_get_one::<String>(setting.key).ok().flatten()?.clone()))
    });
    let inputs = Inputs {
        file: matches.get_one::<PathBuf>("config").cloned(),
        // A variable that is not UTF-8 can be none of ours.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        flags: flags.collect(),
    };
    Config::load(&inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
