//! Key sets over https: a server is believed if its certificate is for its name and from somebody who is trusted.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::key_server::key_set;
use super::keys::Pair;
use super::places::{ask, builder};
use super::{Files, claims};

/// Somebody who makes certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Serves one document over TLS, with a certificate for that name; gives the port.
async fn serve(authority: &CertifiedIssuer<'static, KeyPair>, name: &str, document: String) -> u16 {
    let pair = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&pair, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(pair.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = vec![0; 4096];
            let _ = socket.read(&mut request).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", document.len());
            let _ = socket.write_all((head + &document).as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn a_server_is_believed_if_its_certificate_is_good() {
    let (pair, files, trusted, other) = (Pair::p256(), Files::new(), authority(), authority());
    let document = key_set(&[pair.jwk("a")]);
    let token = format!("Bearer {}", pair.sign(Some("a"), &claims("alice")));
    let authorities = files.write("authorities.pem", &trusted.pem());
    for (authority, name, host, believed) in [
        (&trusted, "localhost", "localhost", true),
        (&trusted, "127.0.0.1", "127.0.0.1", true),
        (&trusted, "elsewhere.example", "localhost", false),
        (&other, "localhost", "localhost", false),
    ] {
        let port = serve(authority, name, document.clone()).await;
        let daemon = builder()
            .env("TIDINGS_JWT_SECRET", "")
            .env("TIDINGS_JWKS_URL", &format!("https://{host}:{port}/keys"))
            .env("SSL_CERT_FILE", &authorities)
            .start()
            .await;
        let status = ask(&daemon, "", &[("authorization", &token)]).await.status().as_u16();
        if believed {
            assert_eq!(status, 200, "{name}: {}", daemon.log());
        } else {
            let line = daemon.wait_for_log("cannot be fetched").await;
            assert!(line.contains("no TLS connection"), "{line}");
            assert_eq!(status, 503, "{name}");
        }
    }
}
