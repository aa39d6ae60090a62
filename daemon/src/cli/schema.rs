//! `tidings schema`: prints the GraphQL schema that the database gives, for code generators and reviews.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::{Failure, service};
use crate::config::{Config, SourceKind};
use crate::graphql::schema::Schema;

/// Adds the arguments of this command.
pub(super) fn arguments(command: Command) -> Command {
    let help = "Print what this role may see, without the fields that @visibleTo hides from it";
    command.arg(Arg::new("role").long("role").value_name("ROLE").help(help))
}

pub(super) fn run(config: &Config, matches: &ArgMatches) -> Result<(), Failure> {
    config.check()?;
    let schema = read(config)?;
    for problem in schema.problems() {
        eprintln!("tidings: {problem}");
    }
    let sdl = match matches.get_one::<String>("role") {
        Some(role) => schema.sdl_of(role)?,
        None => schema.sdl(),
    };
    // A reader such as `head` may have left: there is nobody to tell.
    let _ = std::io::stdout().lock().write_all(sdl.as_bytes());
    Ok(())
}

/// The schema as of now.
pub(super) fn read(config: &Config) -> Result<Schema, Failure> {
    let catalog = match config.source {
        SourceKind::Postgres => service::catalog(config)?,
        SourceKind::Memory => Default::default(),
    };
    Ok(Schema::build(&catalog, service::schema_options(config)?)?)
}
