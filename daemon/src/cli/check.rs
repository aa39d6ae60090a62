//! `tidings check`: is the configuration complete, does the database answer, and what to do if not.

use super::{Failure, service};
use crate::access::authenticator::Authenticator;
use crate::config::{Config, SourceKind};
use crate::source::postgres::inspect;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let authenticator = Authenticator::new(config)?;
    config.check()?;
    println!("configuration: ok");
    if config.source == SourceKind::Postgres {
        let options = service::postgres(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let catalog = runtime.block_on(inspect(&options))?;
        println!("database:      ok, {} attached tables", catalog.tables.len());
    }
    println!("endpoint:      http://{}/graphql", config.listen);
    if let Some(warning) = authenticator.warning() {
        println!("warning:       {warning}");
    }
    Ok(())
}
