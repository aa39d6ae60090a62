//! `tidings schema`: prints the GraphQL schema that the database gives, for code generators and reviews.

use std::io::Write;

use super::{Failure, service};
use crate::config::{Config, SourceKind};
use crate::graphql::schema::Schema;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    config.check()?;
    let schema = read(config)?;
    for problem in schema.problems() {
        eprintln!("tidings: {problem}");
    }
    // A reader such as `head` may have left: there is nobody to tell.
    let _ = std::io::stdout().lock().write_all(schema.sdl().as_bytes());
    Ok(())
}

/// The schema as of now.
pub(super) fn read(config: &Config) -> Result<Schema, Failure> {
    let catalog = match config.source {
        SourceKind::Postgres => service::catalog(config)?,
        SourceKind::Memory => Default::default(),
    };
    Ok(Schema::build(&catalog, service::schema_options(config))?)
}
