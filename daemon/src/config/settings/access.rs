//! Who may come in: tokens, roles and origins.

use super::{DAY_S, Setting, setting};
use crate::config::proxies::TrustedProxies;
use crate::config::value::NotAllowed;
use crate::config::{AuthMode, issuers};

/// Query parameters that the protocols have given a meaning.
const QUERY_PARAMETERS: [&str; 8] =
    ["query", "variables", "operationName", "extensions", "token", "operationId", "lastEventId", "events"];

/// A row that is a setting of the main issuer.
macro_rules! of_main_issuer {
    ($key:literal, $help:literal, $setting:ident) => {
        Setting {
            key: $key,
            help: $help,
            allowed: issuers::$setting.allowed,
            secret: issuers::$setting.secret,
            apply: |config, value| (issuers::$setting.apply)(&mut config.jwt.main, value),
        }
    };
}

/// In order.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "auth",
        "How clients prove who they are",
        "jwt or none",
        put!(c.auth = v.one_of(&[("jwt", AuthMode::Jwt), ("none", AuthMode::None)])),
    ),
    of_main_issuer!("jwt.secret", "Shared secret of HS256, HS384 or HS512", SECRET),
    of_main_issuer!("jwt.public_key_file", "PEM file with a public key: RSA, EC or Ed25519", PUBLIC_KEY_FILE),
    of_main_issuer!("jwt.jwks_url", "URL of a set of public keys", JWKS_URL),
    of_main_issuer!("jwt.algorithm", "Signature algorithms that are accepted", ALGORITHMS),
    of_main_issuer!("jwt.issuer", "Accepted values of the claim iss", NAMES),
    of_main_issuer!("jwt.audience", "Accepted values of the claim aud", AUDIENCES),
    setting(
        "jwt.leeway_s",
        "Tolerated difference between clocks",
        "0 to 300 seconds",
        put!(c.jwt.leeway = v.seconds(0, 300)),
    ),
    of_main_issuer!("jwt.user_claim", "Path of the user claim (default sub)", USER_CLAIM),
    of_main_issuer!("jwt.tenant_claim", "Path of the tenant claim (default tenant_id)", TENANT_CLAIM),
    of_main_issuer!("jwt.role_claim", "Path of the role claim (default role)", ROLE_CLAIM),
    setting(
        "jwt.jwks_refresh_s",
        "Time between fetches of a set of keys",
        "1 to 86400 seconds",
        put!(c.jwt.fetch.refresh = v.seconds(1, DAY_S)),
    ),
    setting(
        "jwt.jwks_refetch_s",
        "Least time between fetches because of tokens with unknown keys",
        "1 to 3600 seconds",
        put!(c.jwt.fetch.refetch = v.seconds(1, 3_600)),
    ),
    setting(
        "jwt.jwks_max_age_s",
        "How old keys may become while their URL does not answer",
        "1 to 2592000 seconds, not below jwt.jwks_refresh_s",
        put!(c.jwt.fetch.age_max = v.seconds(1, 30 * DAY_S)),
    ),
    setting(
        "jwt.jwks_timeout_s",
        "Time for one fetch of a set of keys",
        "1 to 60 seconds",
        put!(c.jwt.fetch.timeout = v.seconds(1, 60)),
    ),
    setting(
        "jwt.cookie",
        "Cookie that may hold a token",
        "the name of a cookie, such as __Host-token",
        |c, v| {
            let name = v.text()?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if !name.bytes().all(plain) {
                return Err(NotAllowed);
            }
            c.jwt.cookie = Some(name);
            Ok(())
        },
    ),
    setting(
        "jwt.query_parameter",
        "Query parameter that may hold a token",
        "a name of letters, digits, - and _ that means nothing else here, such as access_token",
        |c, v| {
            let name = v.text()?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !name.bytes().all(plain) || QUERY_PARAMETERS.contains(&name.as_str()) {
                return Err(NotAllowed);
            }
            c.jwt.query_parameter = Some(name);
            Ok(())
        },
    ),
    setting(
        "admin_roles",
        "Roles that see everybody's events",
        "a list of roles",
        put!(c.admin_roles = v.list()),
    ),
    setting(
        "allowed_origins",
        "Origins of web pages that may use the endpoint, besides its own",
        "a list of origins such as https://app.example, or *",
        |c, v| {
            let origins = v.list()?;
            let known = |origin: &String| {
                origin == "*"
                    || origin
                        .split_once("://")
                        .is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'))
            };
            if !origins.iter().all(known) {
                return Err(NotAllowed);
            }
            c.allowed_origins = origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect();
            Ok(())
        },
    ),
    setting(
        "trusted_proxies",
        "Proxies that say truly where a client comes from",
        "a list of networks such as 10.0.0.0/8, of addresses, and of unix for the Unix sockets",
        |c, v| {
            c.trusted_proxies = TrustedProxies::parse(&v.list()?)?;
            Ok(())
        },
    ),
];
