//! Where the daemon listens, and what its sockets are protected with.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Secret;
use super::value::NotAllowed;

/// What an address of a Unix socket begins with.
const UNIX: &str = "unix:";

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        match text.trim().strip_prefix(UNIX) {
            // A relative path would depend on where the daemon was started.
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(NotAllowed),
            None => text.trim().parse().map(Self::Tcp).map_err(|_| NotAllowed),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}

/// The certificate of the listener.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file with the certificate and those of the authorities between it and the root.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub key: Option<PathBuf>,
    /// How long browsers shall remember to come with TLS only; zero: they are not told.
    pub hsts: Duration,
}

/// The operators' surface.
#[derive(Debug, Clone, Default)]
pub struct AdminAccess {
    /// Addresses of its own; empty: it is at the addresses of the endpoint.
    pub listen: Vec<ListenAddress>,
    /// What an operator proves to be one with.
    pub token: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_the_path_of_a_socket() {
        for text in ["127.0.0.1:4000", "[::1]:4000", "[::]:0", "unix:/run/tidings/socket"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "4000", "localhost:4000", "::1:4000x", "unix:", "unix:socket", "/run/socket"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
