//! `tidings serve`: configuration, service, endpoint, until a signal ends it.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::{Failure, logging, service};
use crate::access::authenticator::Authenticator;
use crate::admin::{self, Admin};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::shutdown::{Shutdown, signal};
use crate::transport::{self, Endpoint, listener};

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
    let service = service::start(&config, &metrics)?;
    let control = service::control(&config)?;
    let reservations = service::reservations(&config, control, &metrics, &shutdown)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {} (setting `listen`): {error}", config.listen))?;
    let address = listener.local_addr()?;

    let admin = Admin {
        service: service.clone(),
        shutdown: shutdown.clone(),
        registry: Arc::new(registry),
        metrics: metrics.clone(),
        metrics_remote: config.metrics_remote,
    };
    let endpoint =
        Endpoint::new(service, authenticator, reservations, &config, metrics.clone(), shutdown.clone());
    let router = transport::router(endpoint).merge(admin::router(admin));
    let serving = listener::serve(listener, router, config.limits, metrics, shutdown.clone());
    let serving = tokio::spawn(serving);
    tracing::info!(%address, "listening");

    let name = signal().await?;
    tracing::info!(signal = name, drain_s = config.drain.as_secs(), "draining");
    shutdown.begin();
    tokio::select! {
        all_left = shutdown.finish() => tracing::info!(all_left, "stopped"),
        name = signal() => tracing::warn!(signal = name?, "second signal: stopped without drain"),
    }
    serving.abort();
    Ok(())
}
