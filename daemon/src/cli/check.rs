//! `tidings check`: is the configuration complete, and what does it mean?

use super::{Failure, service};
use crate::access::authenticator::Authenticator;
use crate::config::{Config, SourceKind};

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    config.check()?;
    if config.source == SourceKind::Postgres {
        service::postgres(config)?;
    }
    let authenticator = Authenticator::new(config)?;
    println!("configuration: ok");
    println!("endpoint:      http://{}/graphql", config.listen);
    if let Some(warning) = authenticator.warning() {
        println!("warning:       {warning}");
    }
    Ok(())
}
