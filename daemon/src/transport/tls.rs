//! TLS of the listener: the certificate, read again when its files change, and the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::Tls;
use crate::metrics::Metrics;

/// The name of HTTP/2 among protocols.
pub const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";

/// How often the files are looked at. Tools that renew certificates replace them at any time, some by
/// links, so their content tells and not the file system.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Makes TLS connections of sockets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
}

/// The certificate in use, and the files it came from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// A digest of what the files held when they were last read, good or bad.
    seen: Mutex<[u8; 32]>,
    metrics: Metrics,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the file {} of setting `{setting}` cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where it was named.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("the file {} of setting `{setting}` holds no {what} in PEM form: {source}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Where it was named.
        setting: &'static str,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        source: pem::Error,
    },
    /// Certificate and key cannot be used together, or at all.
    #[error("the certificate of `tls.certificate` and the key of `tls.key` cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
}

impl Certificate {
    /// The certificate of the settings, if they name one.
    ///
    /// # Errors
    /// If the files hold no certificate with its key.
    pub fn read(settings: &Tls, metrics: &Metrics) -> Result<Option<Self>, TlsError> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
        let files = Files::read(certificate, key)?;
        let shared = Shared {
            certificate: certificate.clone(),
            key: key.clone(),
            current: RwLock::new(Arc::new(files.certified()?)),
            seen: Mutex::new(files.digest()),
            metrics: metrics.clone(),
        };
        Ok(Some(Self { shared: Arc::new(shared) }))
    }

    /// What makes TLS connections with it, from now on with whatever it is then.
    ///
    /// # Errors
    /// If the TLS library refuses its own defaults.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(TlsAcceptor { config: Arc::new(config) })
    }

    /// Looks at the files now and then, for ever.
    pub async fn follow(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let certificate = self.clone();
            // A panic there is told by the runtime, and the next look is another one.
            let _ = tokio::task::spawn_blocking(move || certificate.look(false)).await;
        }
    }

    /// Reads the files again, if they have changed or somebody has `asked` for it. If what they hold cannot be
    /// used, the certificate stays what it is.
    pub fn look(&self, asked: bool) {
        let shared = &self.shared;
        let files = Files::read(&shared.certificate, &shared.key);
        let digest = files.as_ref().map_or([0; 32], Files::digest);
        let changed = std::mem::replace(&mut *shared.seen.lock(), digest) != digest;
        if !changed && !asked {
            return;
        }
        let certified = files.and_then(|files| files.certified());
        let outcome = if certified.is_ok() { "ok" } else { "failed" };
        match certified {
            Ok(certified) => {
                *shared.current.write() = Arc::new(certified);
                tracing::info!("certificate read again");
            }
            Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one stays"),
        }
        shared.metrics.endpoint.certificate_reads.get_or_create(&[("outcome", outcome)]).inc();
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shared.current.read().clone())
    }
}

impl TlsAcceptor {
    /// The handshake on a socket.
    ///
    /// # Errors
    /// If it fails.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> io::Result<TlsStream<S>> {
        tokio_rustls::TlsAcceptor::from(self.config.clone()).accept(socket).await
    }
}

/// What the two files hold.
struct Files<'a> {
    certificate: (&'a Path, Vec<u8>),
    key: (&'a Path, Vec<u8>),
}

impl<'a> Files<'a> {
    fn read(certificate: &'a Path, key: &'a Path) -> Result<Self, TlsError> {
        let read = |path: &'a Path, setting| {
            let content = std::fs::read(path);
            let content =
                content.map_err(|source| TlsError::Unreadable { path: path.into(), setting, source });
            Ok((path, content?))
        };
        Ok(Self { certificate: read(certificate, CERTIFICATE)?, key: read(key, KEY)? })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for content in [&self.certificate.1, &self.key.1] {
            digest.update(Sha256::digest(content));
        }
        digest.finalize().into()
    }

    /// The certificate with its key, which fit each other.
    fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let (path, content) = &self.certificate;
        let chain = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
        let chain =
            chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let chain = chain.map_err(|source| TlsError::NotPem {
            path: path.into(),
            setting: CERTIFICATE,
            what: "certificate",
            source,
        })?;
        let (path, content) = &self.key;
        let key = PrivateKeyDer::from_pem_slice(content).map_err(|source| TlsError::NotPem {
            path: path.into(),
            setting: KEY,
            what: "private key",
            source,
        })?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Unusable)
    }
}
