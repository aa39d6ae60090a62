//! `tidings serve`: configuration, service, endpoint, until a signal ends it.

use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::listen::Entrances;
use super::{Failure, logging, service};
use crate::access::authenticator::Authenticator;
use crate::admin::Admin;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::shutdown::{Shutdown, signal};
use crate::transport::Endpoint;

pub(super) fn run(config: Config) -> Result<(), Failure> {
    logging::start(&config);
    let authenticator = Authenticator::new(&config)?;
    config.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, authenticator))?;
    // What the drain cut off is not waited for.
    runtime.shutdown_background();
    Ok(())
}

async fn serve(config: Config, authenticator: Authenticator) -> Result<(), Failure> {
    if let Some(warning) = authenticator.warning() {
        tracing::warn!("{warning}");
    }
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let shutdown = Shutdown::new(config.drain);
    let entrances = Entrances::open(&config, &metrics).await?;
    let certificate = entrances.certificate();
    let service = service::start(&config, &metrics)?;
    let control = service::control(&config)?;
    let reservations = service::reservations(&config, control.clone(), &metrics, &shutdown)?;
    let node = reservations.node().clone();
    let revocations = service::revocations(&config, control, &reservations)?;

    let admin = Admin {
        service: service.clone(),
        revocations: revocations.clone(),
        shutdown: shutdown.clone(),
        registry: Arc::new(registry),
        metrics: metrics.clone(),
        token: config.admin.token.clone(),
    };
    let endpoint =
        Endpoint::new(service, authenticator, revocations, reservations, &config, metrics, shutdown.clone());
    let mut receiving = entrances.receive(&config, endpoint, admin, &shutdown)?;

    let reload = || match &certificate {
        Some(certificate) => certificate.look(true),
        None => tracing::warn!("SIGHUP: there is no certificate to read again; restart to change settings"),
    };
    let name = signal(reload).await?;
    tracing::info!(signal = name, drain_s = config.drain.as_secs(), "draining");
    shutdown.begin();
    tokio::select! {
        all_left = shutdown.finish() => tracing::info!(all_left, "stopped"),
        name = signal(|| ()) => tracing::warn!(signal = name?, "second signal: stopped without drain"),
    }
    receiving.shutdown().await;
    service::leave(&config, &node).await;
    Ok(())
}
