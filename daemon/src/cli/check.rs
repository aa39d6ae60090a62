//! `tidings check`: is the configuration complete, does the database answer, and what to do if not.

use super::{Failure, service};
use crate::access::authenticator::Authenticator;
use crate::config::{Config, ListenAddress, SourceKind, StoreKind};
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::metrics::Metrics;
use crate::transport::tls::Certificate;

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let authenticator = Authenticator::new(config)?;
    config.check()?;
    let options = service::schema_options(config)?;
    println!("configuration: ok");
    keys(config, &authenticator)?;
    if let Some(list) = &options.allow_list {
        println!("documents:     only the {} of the allow-list", list.documents());
    }
    if config.source == SourceKind::Postgres {
        database(config, options)?;
    }
    reservations(config)?;
    if Certificate::read(&config.tls, &Metrics::default())?.is_some() {
        println!("certificate:   ok, with its key");
    }
    for address in &config.listen {
        match address {
            ListenAddress::Tcp(address) if config.tls.certificate.is_some() => {
                println!("endpoint:      https://{address}/graphql");
            }
            ListenAddress::Tcp(address) => println!("endpoint:      http://{address}/graphql"),
            ListenAddress::Unix(_) => println!("endpoint:      {address}, for a proxy"),
        }
    }
    if let Some(warning) = authenticator.warning() {
        println!("warning:       {warning}");
    }
    Ok(())
}

fn keys(config: &Config, authenticator: &Authenticator) -> Result<(), Failure> {
    if config.jwt.has_urls() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for (url, keys) in runtime.block_on(authenticator.try_fetches()) {
            match keys {
                Ok(count) => println!("keys:          ok, {count} from {url}"),
                Err(error) => println!("warning:       no keys from {url}: {error}"),
            }
        }
    }
    Ok(())
}

fn database(config: &Config, options: SchemaOptions) -> Result<(), Failure> {
    let catalog = service::catalog(config)?;
    println!("database:      ok, {} attached tables", catalog.tables.len());
    let schema = Schema::build(&catalog, options)?;
    println!("schema:        ok, {} problems", schema.problems().len());
    for problem in schema.problems() {
        println!("warning:       {problem}");
    }
    match service::wake_up(config)?.as_str() {
        "coalesced" => println!("wake-up:       coalesced, one NOTIFY for many commits"),
        "off" => println!(
            "warning:       tidings.notify is off for the daemon's role; if it is for writers, their events wait for \
             the next poll"
        ),
        _ => println!(
            "wake-up:       direct: transactions with events commit one after the other; busy writers want \
             shared_preload_libraries = 'tidings' and tidings.database"
        ),
    }
    for role in service::unusable_roles(config)? {
        println!(
            "warning:       role {role:?} of a setting resolve.* does not exist, or the daemon's role is not a \
             member of it: functions cannot run under it; GRANT it to the daemon's role"
        );
    }
    println!("kicks:         ok, {} in force", service::kicks(config)?);
    Ok(())
}

fn reservations(config: &Config) -> Result<(), Failure> {
    if config.store_kind() != StoreKind::Postgres {
        println!("reservations:  in memory: a restart forgets them, and other daemons do not know them");
        return Ok(());
    }
    let missing = service::missing_privileges(config)?;
    if missing.is_empty() {
        println!("reservations:  ok, in the database");
    }
    for table in missing {
        println!(
            "warning:       the daemon's role lacks privileges on {table}: there are no reservations, so single \
             connection mode does not work; run SELECT tidings.grant_daemon('<role>')"
        );
    }
    Ok(())
}
