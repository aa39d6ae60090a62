//! Every socket that listens, and what is served on it.

use tokio::task::JoinSet;

use super::Failure;
use crate::access::arrival::Door;
use crate::admin::{self, Admin};
use crate::config::{ClientLimits, Config, ListenAddress};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::transport::listener::{Listening, Reception};
use crate::transport::tls::Certificate;
use crate::transport::{self, Endpoint};

/// Sockets of the operators' own addresses. They are not those of clients, so that who floods the endpoint
/// does not blind its operators.
const OPERATORS_SOCKETS: usize = 256;

/// Addresses that are listened on, and who is received there.
pub(super) struct Entrances {
    doors: Vec<(Door, Listening)>,
    certificate: Option<Certificate>,
}

impl Entrances {
    /// Listens at the configured addresses, before anything else is begun.
    pub(super) async fn open(config: &Config, metrics: &Metrics) -> Result<Self, Failure> {
        let certificate = Certificate::read(&config.tls, metrics)?;
        let mut doors = Vec::new();
        for (door, setting, addresses) in [
            (Door::Endpoint, "listen", &config.listen),
            (Door::Operators, "admin.listen", &config.admin.listen),
        ] {
            for address in addresses {
                doors.push((door, Listening::bind(address, config.listen_mode, setting).await?));
            }
        }
        Ok(Self { doors, certificate })
    }

    /// What reads the certificate again, if there is one.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.certificate.clone()
    }

    /// Receives clients at each address. The tasks end with the drain, or with what is returned.
    pub(super) fn receive(
        self,
        config: &Config,
        endpoint: Endpoint,
        admin: Admin,
        shutdown: &Shutdown,
    ) -> Result<JoinSet<()>, Failure> {
        let tls = self.certificate.as_ref().map(Certificate::acceptor).transpose()?;
        let metrics = admin.metrics.clone();
        let protected = |routes| transport::protected(routes, &metrics, config.tls.hsts);
        let operators = protected(admin::router(admin.clone()));
        // With addresses of their own, operators are nowhere else.
        let asked = if config.admin.listen.is_empty() { admin::router(admin) } else { admin::public() };
        let clients = protected(transport::router(endpoint).merge(asked));
        let reception = |door, router, limits| {
            let proxies = &config.trusted_proxies;
            Reception::new(door, router, limits, proxies, tls.clone(), metrics.clone(), shutdown.clone())
        };
        let few = ClientLimits { sockets: OPERATORS_SOCKETS, ..config.limits };
        let clients = reception(Door::Endpoint, clients, config.limits);
        let operators = reception(Door::Operators, operators, few);
        let mut tasks = JoinSet::new();
        for (door, listening) in self.doors {
            let address = listening.address()?;
            let tls = self.certificate.is_some() && matches!(address, ListenAddress::Tcp(_));
            let reception = match door {
                Door::Endpoint => clients.clone(),
                Door::Operators => operators.clone(),
            };
            tasks.spawn(reception.serve(listening));
            tracing::info!(%address, tls, ?door, "listening");
        }
        if let Some(certificate) = self.certificate {
            tasks.spawn(certificate.follow());
        }
        Ok(tasks)
    }
}
