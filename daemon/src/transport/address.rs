//! Where a request comes from: the socket's peer, or what proxies that are trusted say.
//!
//! Every proxy adds the address that it was called from to the right, so the list is read from there:
//! the first address that no trusted proxy has is the client's. What stands left of it anybody can have
//! written.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};

use crate::access::arrival::Arrival;
use crate::access::limits::subject::Network;
use crate::config::proxies::TrustedProxies;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Hops that are looked at; nobody has more proxies of their own.
const HOPS_MAX: usize = 32;

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// What it is counted by.
    pub network: Network,
    /// Whether it is a program of this machine that came by itself, as far as can be seen.
    pub local: bool,
    /// Whether somebody who is not trusted says for whom the request is.
    pub distrusted: bool,
}

impl ClientAddress {
    /// The address of a request's client.
    pub fn of(head: &Parts, proxies: &TrustedProxies) -> Self {
        let peer = head.extensions.get::<Arrival>().and_then(|arrival| arrival.peer.ip());
        let forwarded = head.headers.contains_key(header::FORWARDED);
        let forwarded = forwarded || head.headers.contains_key(X_FORWARDED_FOR);
        let trusted = peer.map_or(proxies.trust_unix(), |address| proxies.trust(address));
        let client = if trusted { behind(&head.headers, peer, proxies) } else { peer };
        Self {
            network: client.map_or(Network::Unknown, Network::from),
            local: peer.is_none_or(|address| address.is_loopback()) && !(trusted && forwarded),
            distrusted: forwarded && !trusted,
        }
    }
}

/// The client behind a trusted proxy. There are two headers, and a proxy that writes one may hand on the
/// other as the client sent it. So where they differ neither counts, and the client is counted as the proxy.
fn behind(headers: &HeaderMap, peer: Option<IpAddr>, proxies: &TrustedProxies) -> Option<IpAddr> {
    let lines = |name| {
        let lines = headers.get_all(name).iter().map(|line| line.to_str().ok()).collect::<Option<Vec<_>>>();
        lines.map(|lines| lines.join(","))
    };
    let [forwarded, x_forwarded_for] =
        [header::FORWARDED, X_FORWARDED_FOR].map(|name| headers.contains_key(&name).then(|| lines(name)));
    let forwarded = forwarded.map(|text| client(text.as_deref().and_then(elements), peer, proxies));
    let x_forwarded_for = x_forwarded_for.map(|text| client(text.as_deref().map(listed), peer, proxies));
    match (forwarded, x_forwarded_for) {
        (None, None) => peer,
        (Some(client), None) | (None, Some(client)) => client,
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) => peer,
    }
}

/// One proxy's word: the address that it was called from, or nothing that would be one.
type Hop = Option<IpAddr>;

/// The right-most hop that is not trusted. Where a trusted proxy names no address, or the header cannot be
/// read, it is that proxy.
fn client(hops: Option<Vec<Hop>>, peer: Option<IpAddr>, proxies: &TrustedProxies) -> Option<IpAddr> {
    let mut reached = peer;
    for hop in hops.unwrap_or_default().into_iter().rev().take(HOPS_MAX) {
        let Some(address) = hop else { return reached };
        reached = Some(address);
        if !proxies.trust(address) {
            break;
        }
    }
    reached
}

/// The hops of `X-Forwarded-For`.
fn listed(text: &str) -> Vec<Hop> {
    text.split(',').map(|hop| node(hop.trim())).collect()
}

/// The hops of `Forwarded` (RFC 7239, section 4); nothing if it does not follow the grammar. A client could
/// open a quotation that swallows what the proxy adds.
fn elements(text: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut rest = text;
    loop {
        let mut hop = None;
        loop {
            let (name, value, after) = pair(rest)?;
            if name.eq_ignore_ascii_case("for") {
                // Twice in one element is nobody's honest word.
                if hop.replace(node(&value)).is_some() {
                    return None;
                }
            }
            rest = after.trim_start();
            match rest.strip_prefix(';') {
                Some(next) => rest = next,
                None => break,
            }
        }
        hops.push(hop.flatten());
        if rest.is_empty() {
            return Some(hops);
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// A pair `name=value`, and what follows it.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.trim_start().split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => return Some((name, value, &quoted[index + 1..])),
                '\\' => value.push(characters.next()?.1),
                character => value.push(character),
            }
        }
        return None;
    }
    let end = rest.bytes().position(|byte| !is_token(byte)).unwrap_or(rest.len());
    (end > 0).then(|| (name, rest[..end].to_owned(), &rest[end..]))
}

/// RFC 9110, section 5.6.2; with `:`, which some proxies do not quote though they should.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte)
}

/// The address of a node, whose port is of no interest; nothing for `unknown`, `_hidden` and nonsense.
fn node(text: &str) -> Hop {
    let bracketed = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| bracketed(text).map(IpAddr::V6));
    let address = address.or_else(|| {
        let (host, port) = text.rsplit_once(':')?;
        // RFC 7239, section 6.3: a port may be hidden, too.
        let port_like = port.starts_with('_') || port.parse::<u16>().is_ok();
        if !port_like {
            return None;
        }
        bracketed(host).map(IpAddr::V6).or_else(|| host.parse().ok().map(IpAddr::V4))
    });
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::http::Request;

    use super::*;
    use crate::access::arrival::{Door, Peer};

    /// The client that a request from a peer is counted as, and whether it counts as local.
    fn of(peer: &str, lines: &[(&str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:f::/48", "127.0.0.1", "unix"].map(str::to_owned);
        let proxies = TrustedProxies::parse(&trusted).unwrap();
        let mut request = Request::get("/graphql");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        if peer != "unix" {
            let address: IpAddr = peer.parse().unwrap();
            let peer = Peer::Tcp(SocketAddr::from((address, 1)));
            head.extensions.insert(Arrival { peer, encrypted: false, door: Door::Endpoint });
        }
        let client = ClientAddress::of(&head, &proxies);
        let network = match client.network {
            Network::V4(octets) => IpAddr::from(octets).to_string(),
            Network::V6([a, b, c, d, e, f, g, h]) => {
                let half = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                Ipv6Addr::from(u128::from(half) << 64).to_string()
            }
            Network::Unknown => "unknown".to_owned(),
        };
        format!(
            "{network}{}{}",
            if client.local { " local" } else { "" },
            if client.distrusted { " distrusted" } else { "" }
        )
    }

    fn forwarded(text: &str) -> String {
        of("10.0.0.1", &[("forwarded", text)])
    }

    fn x_forwarded_for(text: &str) -> String {
        of("10.0.0.1", &[("x-forwarded-for", text)])
    }

    #[test]
    fn who_is_not_trusted_speaks_for_itself_only() {
        assert_eq!(of("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(of("192.0.2.1", &[("forwarded", "for=198.51.100.1")]), "192.0.2.1 distrusted");
        assert_eq!(of("192.0.2.1", &[("x-forwarded-for", "10.0.0.1")]), "192.0.2.1 distrusted");
        assert_eq!(of("::1", &[("x-forwarded-for", "198.51.100.1")]), ":: local distrusted");
        assert_eq!(of("127.0.0.1", &[]), "127.0.0.1 local");
        assert_eq!(of("unix", &[]), "unknown local");
    }

    #[test]
    fn the_right_most_hop_that_is_not_trusted_is_the_client() {
        for (text, client) in [
            ("198.51.100.1", "198.51.100.1"),
            ("203.0.113.9, 198.51.100.1", "198.51.100.1"),
            ("203.0.113.9, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("10.0.0.1,198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
            ("[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::"),
            ("[2001:db8:1:2:3::4]", "2001:db8:1:2::"),
            ("198.51.100.1, 2001:db8:f:1::1", "198.51.100.1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("198.51.100.1, nonsense", "10.0.0.1"),
            ("nonsense, 198.51.100.1", "198.51.100.1"),
            ("198.51.100.1, 10.2.2.2, unknown, 10.3.3.3", "10.3.3.3"),
            ("", "10.0.0.1"),
            (",,,", "10.0.0.1"),
            ("198.51.100.1:port", "10.0.0.1"),
            ("1.2.3.4.5", "10.0.0.1"),
        ] {
            assert_eq!(x_forwarded_for(text), client, "{text}");
        }
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1, 10.2.2.2")];
        assert_eq!(of("10.0.0.1", &lines), "198.51.100.1", "several lines are one list");
        assert_eq!(of("unix", &[("x-forwarded-for", "198.51.100.1")]), "198.51.100.1");
        assert_eq!(of("127.0.0.1", &[("x-forwarded-for", "127.0.0.1")]), "127.0.0.1", "not local: relayed");
    }

    #[test]
    fn forwarded_follows_its_grammar_or_says_nothing() {
        for (text, client) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=\"198.51.100.1:4711\"", "198.51.100.1"),
            ("for=198.51.100.1;proto=http;by=203.0.113.43", "198.51.100.1"),
            ("proto=https; FOR=198.51.100.1 , for=10.2.2.2", "198.51.100.1"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::"),
            ("for=\"[2001:db8:cafe::17]:_port\"", "2001:db8:cafe::"),
            ("for=\"198.51.100.\\1\"", "198.51.100.1"),
            ("for=203.0.113.9, for=198.51.100.1", "198.51.100.1"),
            ("for=198.51.100.1, for=unknown", "10.0.0.1"),
            ("for=198.51.100.1, for=_hidden, for=10.2.2.2", "10.2.2.2"),
            ("for=198.51.100.1, proto=https", "10.0.0.1"),
            // The client's part must not swallow or replace the proxy's.
            ("for=\"203.0.113.9, for=198.51.100.1", "10.0.0.1"),
            ("for=\"a, for=\"[2001:db8:cafe::17]\"", "10.0.0.1"),
            ("for=\"203.0.113.9\\, for=198.51.100.1", "10.0.0.1"),
            ("for=203.0.113.9;for=198.51.100.1", "10.0.0.1"),
            ("garbage, for=198.51.100.1", "10.0.0.1"),
            ("=, for=198.51.100.1", "10.0.0.1"),
            ("for=, for=198.51.100.1", "10.0.0.1"),
            ("for=198.51.100.1,", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(forwarded(text), client, "{text}");
        }
    }

    #[test]
    fn where_two_headers_differ_neither_counts() {
        let both =
            |forwarded: &str, x: &str| of("10.0.0.1", &[("forwarded", forwarded), ("x-forwarded-for", x)]);
        assert_eq!(both("for=198.51.100.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(both("for=203.0.113.9", "198.51.100.1"), "10.0.0.1");
        assert_eq!(both("garbage", "198.51.100.1"), "10.0.0.1");
    }

    #[test]
    fn a_list_without_end_is_not_read_to_its_end() {
        let text = format!("198.51.100.1{}", ", 10.1.1.1".repeat(1_000));
        assert_eq!(x_forwarded_for(&text), "10.1.1.1");
    }
}
