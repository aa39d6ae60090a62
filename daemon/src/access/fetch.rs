//! One fetch of a key set: GET over HTTP/1.1, with TLS unless it stays on this machine.
//!
//! Nothing is followed, nothing is guessed: a redirect, another status, too large an answer or one that
//! takes too long is a failure, and whoever asked keeps the keys that it has.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::task::AbortOnDropHandle;

use super::key_set::{KeySet, KeySetError};
use crate::config::JwtAlgorithm;
use crate::config::jwt::KeyUrl;

/// Largest key set that is read.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Fetches one key set.
#[derive(Clone)]
pub struct Fetcher {
    url: KeyUrl,
    algorithms: Arc<[JwtAlgorithm]>,
    tls: Option<TlsConnector>,
    timeout: Duration,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Fetcher").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

/// Why there can be no fetches.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    /// Nobody is trusted.
    #[error(
        "no certificates of authorities were found on this machine, so no https server can be trusted: install them \
         (Debian: ca-certificates), or name a file of them in SSL_CERT_FILE"
    )]
    NoAuthorities,
    /// The host is no name that a certificate could hold.
    #[error("the host {0} is neither a name nor an address")]
    Host(String),
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] tokio_rustls::rustls::Error),
}

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It took too long.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or one that broke.
    #[error("{0}")]
    Unreachable(String),
    /// A status that is not 200.
    #[error("the answer has status {0}{hint}", hint = if .0.is_redirection() {
        "; redirects are not followed, so set the URL that it leads to"
    } else {
        ""
    })]
    Status(StatusCode),
    /// Larger than is read.
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// Something else.
    #[error(transparent)]
    Invalid(#[from] KeySetError),
}

impl FetchError {
    /// The label of the metric.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl Fetcher {
    /// A fetcher of the keys for these algorithms.
    ///
    /// # Errors
    /// If no server could be trusted.
    pub fn new(url: KeyUrl, algorithms: &[JwtAlgorithm], timeout: Duration) -> Result<Self, FetcherError> {
        let tls = if url.is_https() {
            ServerName::try_from(url.host()).map_err(|_| FetcherError::Host(url.host().to_owned()))?;
            Some(connector()?)
        } else {
            None
        };
        Ok(Self { url, algorithms: algorithms.into(), tls, timeout })
    }

    /// Where it fetches from.
    pub fn url(&self) -> &KeyUrl {
        &self.url
    }

    /// The keys as they are now.
    ///
    /// # Errors
    /// If there is no such answer in time.
    pub async fn fetch(&self) -> Result<KeySet, FetchError> {
        let answer = tokio::time::timeout(self.timeout, self.answer()).await;
        let body = answer.map_err(|_| FetchError::Timeout(self.timeout))??;
        Ok(KeySet::parse(&body, &self.algorithms)?)
    }

    async fn answer(&self) -> Result<Bytes, FetchError> {
        let socket = self.connect().await.map_err(|error| unreachable("cannot connect", &error))?;
        let Some(tls) = &self.tls else { return self.get(socket).await };
        let name = ServerName::try_from(self.url.host().to_owned());
        let name = name.map_err(|error| unreachable("the host has no name", &error))?;
        let socket = tls.connect(name, socket).await;
        self.get(socket.map_err(|error| unreachable("no TLS connection", &error))?).await
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let addresses = tokio::net::lookup_host((self.url.host(), self.url.port())).await?;
        // Without TLS the name `localhost` is trusted only as far as it means this machine.
        let addresses: Vec<SocketAddr> =
            addresses.filter(|address| self.tls.is_some() || address.ip().is_loopback()).collect();
        TcpStream::connect(&addresses[..]).await
    }

    async fn get(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Bytes, FetchError> {
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(socket));
        let (mut sender, connection) =
            handshake.await.map_err(|error| unreachable("no HTTP connection", &error))?;
        // It ends with this fetch, whatever the server does.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get(self.url.target())
            .header(header::HOST, self.url.authority())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| unreachable("no request", &error))?;
        let response = sender.send_request(request).await;
        body(response.map_err(|error| unreachable("no answer", &error))?).await
    }
}

async fn body(response: Response<Incoming>) -> Result<Bytes, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
        Err(error) => Err(unreachable("the answer ended early", &*error)),
    }
}

fn unreachable(what: &str, error: &(dyn std::error::Error + 'static)) -> FetchError {
    // hyper says why only in its sources.
    let mut told = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    FetchError::Unreachable(told)
}

/// TLS that trusts whom this machine trusts.
fn connector() -> Result<TlsConnector, FetcherError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(FetcherError::NoAuthorities);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(FetcherError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
