//! Whose word about a client's address counts.

use std::net::IpAddr;

use ipnet::IpNet;

use super::value::NotAllowed;

/// What stands for the Unix sockets that the daemon listens on.
const UNIX: &str = "unix";

/// Proxies that say truly where a client comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl TrustedProxies {
    /// Networks such as `10.0.0.0/8`, single addresses, and `unix`.
    pub(crate) fn parse(items: &[String]) -> Result<Self, NotAllowed> {
        let mut proxies = Self::default();
        for item in items.iter().map(|item| item.trim()) {
            if item == UNIX {
                proxies.unix = true;
            } else if let Ok(address) = item.parse::<IpAddr>() {
                proxies.networks.push(address.to_canonical().into());
            } else {
                proxies.networks.push(item.parse().map_err(|_| NotAllowed)?);
            }
        }
        Ok(proxies)
    }

    /// Whether an address is a trusted proxy's.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether whoever comes through a Unix socket is one.
    pub fn trust_unix(&self) -> bool {
        self.unix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(items: &[&str]) -> Option<TrustedProxies> {
        let items: Vec<_> = items.iter().map(|&item| item.to_owned()).collect();
        TrustedProxies::parse(&items).ok()
    }

    #[test]
    fn networks_addresses_and_the_unix_socket_can_be_trusted() {
        let trusted = proxies(&["10.0.0.0/8", "192.0.2.7", " 2001:db8::/32", "unix"]).unwrap();
        let trusts = |address: &str| trusted.trust(address.parse().unwrap());
        assert!(trusts("10.255.0.1") && trusts("192.0.2.7") && trusts("2001:db8:ffff::1"));
        assert!(trusts("::ffff:10.0.0.1"), "as a socket for both families shows it");
        assert!(!trusts("11.0.0.1") && !trusts("192.0.2.8") && !trusts("2001:db9::1"));
        assert!(trusted.trust_unix() && !proxies(&["10.0.0.0/8"]).unwrap().trust_unix());
        for wrong in ["10.0.0.0/33", "10.0.0", "proxy.internal", "unix:/run/x", "*"] {
            assert!(proxies(&[wrong]).is_none(), "{wrong}");
        }
    }
}
