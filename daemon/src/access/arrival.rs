//! What a request's socket says about it, which nothing that the client sends can change.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How a request came in. Every request of the listener has one among its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Who is at the other end of the socket.
    pub peer: Peer,
    /// Whether the socket is encrypted.
    pub encrypted: bool,
    /// Which addresses it came to.
    pub door: Door,
}

/// Addresses for one kind of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The addresses of the endpoint.
    Endpoint,
    /// Those for operators alone.
    Operators,
}

/// The other end of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Some address and port.
    Tcp(SocketAddr),
    /// A process on this machine that may open our socket's file, usually a proxy for others.
    Unix,
}

impl Peer {
    /// Its address, if it has one. An IPv4 address that came by IPv6 is an IPv4 address.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }

    /// Whether it is on this machine's loopback interface. A Unix socket is for proxies, so whoever it
    /// speaks for is elsewhere.
    pub fn is_loopback(self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix => formatter.write_str("a Unix socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_loopback() {
        let peer = |text: &str| Peer::Tcp(text.parse().unwrap());
        assert!(peer("127.0.0.1:1").is_loopback());
        assert!(peer("[::1]:1").is_loopback());
        assert!(peer("[::ffff:127.0.0.1]:1").is_loopback());
        assert!(!peer("192.0.2.1:1").is_loopback());
        assert!(!peer("[::ffff:192.0.2.1]:1").is_loopback());
        assert!(!Peer::Unix.is_loopback());
    }
}
