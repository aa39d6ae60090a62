//! What can be configured about JSON Web Tokens: who issues them, with which keys, and where they are found.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::Secret;

/// Signature algorithms that can be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of RFC 7518, section 3.1, and RFC 8037")]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl JwtAlgorithm {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 12] = [
        ("HS256", Self::Hs256),
        ("HS384", Self::Hs384),
        ("HS512", Self::Hs512),
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// The name in a token's header.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }
}

/// The way to a claim: names of nested objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    names: Vec<String>,
}

impl ClaimPath {
    /// Reads `app.tenant_id`, `"https://app.example/claims".tenant` or `https://app.example/tenant`.
    /// Names are separated by dots; one in quotes may hold dots itself, and an unquoted URL is one name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.contains("://") && !text.contains('"') {
            return Some(Self { text: text.to_owned(), names: vec![text.to_owned()] });
        }
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if name.is_empty() || name.contains('"') {
                return None;
            }
            names.push(name.to_owned());
            if after.is_empty() {
                return Some(Self { text: text.to_owned(), names });
            }
            rest = after.strip_prefix('.')?;
        }
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names from the outermost to the claim's own; at least one.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Where a key set is fetched from: https, or http on this very machine.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyUrl(Uri);

impl KeyUrl {
    /// Reads a URL. Nothing for one that would let somebody on the way hand out keys, or that
    /// carries a password.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.trim().parse().ok()?;
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        let url = Self(uri);
        match url.0.scheme_str()? {
            "https" => Some(url),
            "http" => {
                let host = url.host();
                let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
                (loopback || host.eq_ignore_ascii_case("localhost")).then_some(url)
            }
            _ => None,
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// What the request's `host` header says.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.0.path_and_query().map_or("/", |target| target.as_str())
    }
}

/// The URL without its query, which may hold a key of another kind.
impl std::fmt::Display for KeyUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{}://{}{}",
            self.0.scheme_str().unwrap_or_default(),
            self.authority(),
            self.0.path()
        )
    }
}

impl std::fmt::Debug for KeyUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

/// One issuer of tokens: exactly one of the three sources of keys, and what its tokens must say.
#[derive(Debug, Clone, Default)]
pub struct Issuer {
    /// Accepted values of `iss`; empty: any, or none.
    pub names: Vec<String>,
    /// Accepted values of `aud`; empty: any, or none.
    pub audiences: Vec<String>,
    /// The algorithms that are accepted; empty: those that the key is for.
    pub algorithms: Vec<JwtAlgorithm>,
    /// Shared secret.
    pub secret: Option<Secret>,
    /// PEM file with a public key.
    pub public_key_file: Option<PathBuf>,
    /// Where a set of public keys is.
    pub jwks_url: Option<KeyUrl>,
    /// Path of the user claim.
    pub user_claim: Option<ClaimPath>,
    /// Path of the tenant claim.
    pub tenant_claim: Option<ClaimPath>,
    /// Path of the role claim.
    pub role_claim: Option<ClaimPath>,
}

impl Issuer {
    /// Whether it has a key, or knows where to get one.
    pub fn has_key(&self) -> bool {
        self.secret.is_some() || self.public_key_file.is_some() || self.jwks_url.is_some()
    }
}

/// When key sets are fetched.
#[derive(Debug, Clone, Copy)]
pub struct FetchTimes {
    /// Time between fetches.
    pub refresh: Duration,
    /// Least time between fetches that a token with an unknown key asks for.
    pub refetch: Duration,
    /// How old keys may become while the URL does not answer.
    pub age_max: Duration,
    /// Time for one fetch.
    pub timeout: Duration,
}

/// How tokens are checked and where they are found.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// The issuer of the settings `jwt.*`.
    pub main: Issuer,
    /// Further issuers, each with a name of its own.
    pub others: Vec<Issuer>,
    /// Tolerated difference between clocks.
    pub leeway: Duration,
    /// When key sets are fetched.
    pub fetch: FetchTimes,
    /// The cookie that may hold a token.
    pub cookie: Option<String>,
    /// The query parameter that may hold a token.
    pub query_parameter: Option<String>,
}

impl Jwt {
    /// Whether any keys have to be fetched.
    pub fn has_urls(&self) -> bool {
        [&self.main].into_iter().chain(&self.others).any(|issuer| issuer.jwks_url.is_some())
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            main: Issuer {
                user_claim: ClaimPath::parse("sub"),
                tenant_claim: ClaimPath::parse("tenant_id"),
                role_claim: ClaimPath::parse("role"),
                ..Issuer::default()
            },
            others: Vec::new(),
            leeway: Duration::from_secs(5),
            fetch: FetchTimes {
                refresh: Duration::from_secs(600),
                refetch: Duration::from_secs(10),
                age_max: Duration::from_secs(86_400),
                timeout: Duration::from_secs(5),
            },
            cookie: None,
            query_parameter: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_paths_have_names_of_any_kind() {
        let names = |text: &str| ClaimPath::parse(text).map(|path| path.names);
        let owned = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(names("sub"), owned(&["sub"]));
        assert_eq!(names("app_metadata.tenant_id"), owned(&["app_metadata", "tenant_id"]));
        assert_eq!(
            names(r#""https://example.com/claims".tenant"#),
            owned(&["https://example.com/claims", "tenant"])
        );
        assert_eq!(names(r#"a."b.c"."d""#), owned(&["a", "b.c", "d"]));
        assert_eq!(names("https://app.example/tenant"), owned(&["https://app.example/tenant"]));
        for wrong in ["", ".", "a.", ".a", "a..b", r#""a"#, r#""a"b"#, r#"a"b"#, r#""""#, r#"a."""#] {
            assert_eq!(names(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (text, shown, port) in [
            ("https://login.example/jwks.json?key=k", "https://login.example/jwks.json", 443),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443/", 8443),
            ("http://127.0.0.1:9000/keys", "http://127.0.0.1:9000/keys", 9000),
            ("http://[::1]/keys", "http://[::1]/keys", 80),
            ("http://LocalHost/keys", "http://LocalHost/keys", 80),
        ] {
            let url = KeyUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.port()), (shown, port));
        }
        assert_eq!(KeyUrl::parse("https://h/p?q=1").unwrap().target(), "/p?q=1");
        for wrong in [
            "http://login.example/jwks.json",
            "http://127.0.0.1.evil.example/",
            "https://user:password@login.example/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "/jwks.json",
            "login.example",
            "",
        ] {
            assert_eq!(KeyUrl::parse(wrong), None, "{wrong}");
        }
    }
}
