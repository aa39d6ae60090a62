//! Who counts as one: a user of a tenant, or else a network.

use std::net::IpAddr;

use crate::hub::audience::Identity;

/// Where a client comes from, as far as addresses are worth telling apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address: whoever has one has all of its /64.
    V6([u8; 8]),
    /// Nobody said, as on a Unix socket. All of these count as one.
    Unknown,
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Whose use of the daemon is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Whose limit for tenants counts, too; all without a tenant count as one.
    pub tenant: Option<Box<str>>,
    who: Who,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User(Box<str>),
    Network(Network),
}

impl Subject {
    /// A user within its tenant, because tenants may number their users alike. Who is no user, because the
    /// token names none or there is none, counts with all such clients of its tenant and network.
    pub fn of(identity: &Identity, network: Network) -> Self {
        let who = match &identity.user {
            Some(user) => Who::User(user.clone()),
            None => Who::Network(network),
        };
        Self { tenant: identity.tenant.clone(), who }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn of_an_ipv6_address_its_network_counts() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn who_is_no_user_counts_by_tenant_and_network() {
        let identity = |tenant: Option<&str>, user: Option<&str>| Identity {
            tenant: tenant.map(Into::into),
            user: user.map(Into::into),
            ..Identity::default()
        };
        let (here, there) = (network("192.0.2.1"), network("192.0.2.2"));
        let of = |tenant, user, network| Subject::of(&identity(tenant, user), network);
        assert_eq!(of(Some("t"), Some("u"), here), of(Some("t"), Some("u"), there));
        assert_ne!(of(Some("t"), Some("u"), here), of(None, Some("u"), here));
        assert_eq!(of(Some("t"), None, here), of(Some("t"), None, here));
        assert_ne!(of(Some("t"), None, here), of(Some("t"), None, there));
        assert_ne!(of(Some("t"), None, here), of(Some("s"), None, here));
        assert_ne!(of(None, None, Network::Unknown), of(None, None, here));
    }
}
