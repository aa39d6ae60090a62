//! From the configuration to a running service: the one place where it is made.

use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use crate::access::presence::Presence;
use crate::access::revocation::Revocations;
use crate::config::{Config, SourceKind, StoreKind};
use crate::graphql::persisted::AllowList;
use crate::graphql::schema::SchemaOptions;
use crate::metrics::Metrics;
use crate::service::{Service, ServiceOptions};
use crate::shutdown::Shutdown;
use crate::source::catalog::Catalog;
use crate::source::memory;
use crate::source::postgres::functions::PostgresFunctions;
use crate::source::postgres::{
    PostgresOptions, PostgresSource, inspect, maintain, missing_roles, wake_up_mode, watch,
};
use crate::store::control::Control;
use crate::store::memory::MemoryStore;
use crate::store::postgres::{PostgresStore, missing_privileges as missing_privileges_of_store};
use crate::store::reservation::ReservationStore;
use crate::store::{Reservations, presence, revocations};

/// Time for the farewell to the database.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Starts the service with the configured source.
pub(super) fn start(config: &Config, metrics: &Metrics) -> Result<Service, Failure> {
    let mut options = ServiceOptions {
        mailbox: config.mailbox,
        lag_max: config.max_lag,
        schema: schema_options(config)?,
        ring: config.ring,
        metrics: metrics.clone(),
    };
    Ok(match config.source {
        SourceKind::Postgres => {
            let source = postgres(config)?;
            tokio::spawn(maintain(source.database.clone(), metrics.database.clone()));
            tokio::spawn(watch(source.database.clone(), metrics.database.clone()));
            // Of its own each, so that a slow function of one kind holds up none of another: subscriptions end
            // where policies cannot be evaluated in time.
            let pool =
                || Arc::new(PostgresFunctions::start(&source.database, config.resolve, metrics.clone()));
            options.schema.policies = Some(pool());
            options.schema.policy_metrics = metrics.row_security.clone();
            options.schema.functions = Some(pool());
            options.schema.rows = Some(pool());
            options.schema.initial_metrics = metrics.initial.clone();
            Service::start(PostgresSource::new(source, metrics.clone()), options)
        }
        SourceKind::Memory => {
            // Nobody publishes from here: it is for trying out the endpoint without a database.
            let (_publisher, source) = memory::source(Catalog::default(), 1);
            Service::start(source, options)
        }
    })
}

/// The channel between the nodes that share a database.
pub(super) fn control(config: &Config) -> Result<Control, Failure> {
    let shares = config.source == SourceKind::Postgres || config.store_kind() == StoreKind::Postgres;
    Ok(if shares { Control::postgres(postgres(config)?.database) } else { Control::memory() })
}

/// The configured store of reservations.
pub(super) fn store(config: &Config) -> Result<Arc<dyn ReservationStore>, Failure> {
    let limits = config.reservation_limits();
    Ok(match config.store_kind() {
        StoreKind::Postgres => Arc::new(PostgresStore::new(&postgres(config)?.database, limits)?),
        StoreKind::Memory => Arc::new(MemoryStore::new(limits)),
    })
}

/// Reservations, in the configured store.
pub(super) fn reservations(
    config: &Config,
    control: Control,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Reservations, Failure> {
    let store = store(config)?;
    Ok(Reservations::start(store, control, metrics.reservations.clone(), shutdown.clone()))
}

/// What outlives a client's connection: kicks are read, and who is connected is written, for as long as the
/// runtime runs. Without a database nobody can be kicked.
pub(super) fn revocations(
    config: &Config,
    control: Control,
    reservations: &Reservations,
) -> Result<Revocations, Failure> {
    let revocations = Revocations::new(Presence::default(), config.jwt.leeway);
    match config.source {
        SourceKind::Postgres => {
            let database = postgres(config)?.database;
            // The database voids its own.
            let kept_here = (config.store_kind() == StoreKind::Memory).then(|| reservations.clone());
            tokio::spawn(revocations::follow(database.clone(), control, revocations.clone(), kept_here));
            let present = revocations.presence().clone();
            tokio::spawn(presence::publish(database, reservations.node().clone(), present));
        }
        SourceKind::Memory => drop(revocations.replace(Vec::new())),
    }
    Ok(revocations)
}

/// Takes this node out of what operators see.
pub(super) async fn leave(config: &Config, node: &str) {
    let (SourceKind::Postgres, Ok(options)) = (config.source, postgres(config)) else { return };
    let left = tokio::time::timeout(LEAVE_TIME, presence::leave(&options.database, node)).await;
    if !matches!(left, Ok(Ok(()))) {
        tracing::debug!("tidings.active_connections shows this daemon for a minute more");
    }
}

/// What the configuration says about the schema, with the documents of the allow-list. Policies are evaluated
/// as the subscriber's role, so without roles they cannot be.
pub(super) fn schema_options(config: &Config) -> Result<SchemaOptions, Failure> {
    let mut options = config.schema.clone();
    let roles = !options.callers.allowed.is_empty() || options.callers.anonymous.is_some();
    options.row_security = config.source == SourceKind::Postgres && roles;
    if let Some(file) = &config.allow_list_file {
        let list = AllowList::read(file).map_err(|error| {
            format!("the file {} of setting `document.allow_list_file` {error}", file.display())
        })?;
        options.allow_list = Some(Arc::new(list));
    }
    Ok(options)
}

/// What the database says about its attached tables now.
pub(super) fn catalog(config: &Config) -> Result<Catalog, Failure> {
    let options = postgres(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(inspect(&options))?)
}

/// Configured roles that functions could not run under.
pub(super) fn unusable_roles(config: &Config) -> Result<Vec<String>, Failure> {
    let callers = &config.schema.callers;
    let single = callers.shared.iter().chain(&callers.anonymous);
    let roles: Vec<String> = single.chain(&callers.allowed).cloned().collect();
    let options = postgres(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(missing_roles(&options, &roles))?)
}

/// How writers wake the daemon.
pub(super) fn wake_up(config: &Config) -> Result<String, Failure> {
    let options = postgres(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(wake_up_mode(&options))?)
}

/// Privileges that the store of reservations lacks.
pub(super) fn missing_privileges(config: &Config) -> Result<Vec<String>, Failure> {
    let options = postgres(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(missing_privileges_of_store(&options.database))?)
}

/// How many kicks are in force.
pub(super) fn kicks(config: &Config) -> Result<usize, Failure> {
    let options = postgres(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(revocations::count(&options.database))?)
}

/// How to reach and tail the database.
pub(super) fn postgres(config: &Config) -> Result<PostgresOptions, Failure> {
    let url = config.database_url.as_ref().ok_or("setting `database_url` is missing")?;
    let options =
        PostgresOptions::parse(url.expose()).map_err(|error| format!("setting `database_url` {error}"))?;
    let callers = &config.schema.callers;
    let roles = callers.allowed.iter().chain(&callers.anonymous).cloned().collect();
    let (safety_poll, wait_for_standby) = (config.safety_poll, config.wait_for_standby);
    Ok(PostgresOptions { safety_poll, wait_for_standby, roles, ..options })
}
