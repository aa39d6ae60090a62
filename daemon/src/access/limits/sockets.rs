//! How many sockets there may be, and how many of them one address may hold.

use std::net::IpAddr;

use super::places::{KeyedPlace, KeyedPlaces, Place, Places};
use super::subject::Network;
use crate::config::ClientLimits;
use crate::config::proxies::TrustedProxies;

/// The places of sockets.
#[derive(Debug)]
pub struct SocketPlaces {
    all: Places,
    networks: KeyedPlaces<Network>,
    proxies: TrustedProxies,
}

/// A socket's place; dropping it frees it.
#[derive(Debug)]
pub struct SocketPlace {
    _all: Place,
    _network: Option<KeyedPlace<Network>>,
}

impl SocketPlaces {
    /// The configured ones. A trusted proxy brings the sockets of many, and a program of this machine may be such
    /// a proxy, too: both take as many as there are.
    pub fn new(config: &ClientLimits, proxies: TrustedProxies) -> Self {
        let networks = KeyedPlaces::new(config.sockets_per_address);
        Self { all: Places::new(config.sockets), networks, proxies }
    }

    /// A place for a socket from an address; a Unix socket has none.
    ///
    /// # Errors
    /// If all are taken: the limit's name in the metric.
    pub fn take(&self, peer: Option<IpAddr>) -> Result<SocketPlace, &'static str> {
        let counted = peer.filter(|peer| !peer.to_canonical().is_loopback() && !self.proxies.trust(*peer));
        let network = counted.map(|peer| self.networks.take(&peer.into())).transpose();
        let network = network.map_err(|_| "sockets_per_address")?.flatten();
        let all = self.all.take().ok_or("sockets")?;
        Ok(SocketPlace { _all: all, _network: network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn one_address_does_not_take_all_sockets() {
        let limits = ClientLimits { sockets: 6, sockets_per_address: 2, ..Config::default().limits };
        let proxies = TrustedProxies::parse(&["192.0.2.0/24".to_owned()]).unwrap();
        let places = SocketPlaces::new(&limits, proxies);
        let take = |peer: &str| places.take(Some(peer.parse().unwrap()));
        let (one, _two) = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        assert_eq!(take("2001:db8::3").unwrap_err(), "sockets_per_address", "of the same network");
        let _other = take("198.51.100.1").unwrap();
        drop(one);
        let _again = take("2001:db8::3").unwrap();
        let _three: Vec<_> = (0..3).map(|_| take("192.0.2.1").unwrap()).collect();
        for peer in ["192.0.2.1", "::ffff:127.0.0.1", "198.51.100.1"] {
            assert_eq!(take(peer).unwrap_err(), "sockets");
        }
        assert_eq!(places.take(None).unwrap_err(), "sockets");
    }
}
