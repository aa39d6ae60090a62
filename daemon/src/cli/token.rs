//! `tidings token`: a token for trying things out.

use std::time::{Duration, SystemTime};

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Map, Value};

use super::Failure;
use crate::access::jwt;
use crate::config::jwt::ClaimPath;
use crate::config::{Config, JwtAlgorithm};

const EXPIRES_S_DEFAULT: &str = "3600";

/// The claims that can be asked for.
pub(super) fn arguments(command: Command) -> Command {
    let text =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TEXT").help(help);
    command
        .arg(text("user", "User claim"))
        .arg(text("tenant", "Tenant claim"))
        .arg(text("role", "Role claim"))
        .arg(
            Arg::new("expires")
                .long("expires")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=31_536_000))
                .default_value(EXPIRES_S_DEFAULT)
                .help("Life of the token"),
        )
}

pub(super) fn run(config: &Config, matches: &ArgMatches) -> Result<(), Failure> {
    let secret = config.jwt.main.secret.as_ref().ok_or(
        "setting `jwt.secret` is missing: tokens are signed with it. Set TIDINGS_JWT_SECRET to at least 32 bytes",
    )?;
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let life = matches.get_one::<u64>("expires").copied().unwrap_or_default();
    let claims = claims(config, text("user"), text("tenant"), text("role"), Duration::from_secs(life))?;
    let algorithm = config.jwt.main.algorithms.first().copied().unwrap_or(JwtAlgorithm::Hs256);
    println!("{}", jwt::mint(secret, algorithm, &claims)?);
    Ok(())
}

/// The claims at the configured paths, with the issuer and audience that will be checked.
fn claims(
    config: &Config,
    user: Option<&str>,
    tenant: Option<&str>,
    role: Option<&str>,
    life: Duration,
) -> Result<Map<String, Value>, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut claims = Map::new();
    claims.insert("iat".into(), now.as_secs().into());
    claims.insert("exp".into(), (now + life).as_secs().into());
    let settings = &config.jwt.main;
    let first = |texts: &Vec<String>| texts.first().cloned();
    let fixed = [("iss", first(&settings.names)), ("aud", first(&settings.audiences))];
    for (name, value) in fixed {
        if let Some(value) = value {
            claims.insert(name.into(), value.into());
        }
    }
    for (path, value) in
        [(&settings.user_claim, user), (&settings.tenant_claim, tenant), (&settings.role_claim, role)]
    {
        if let (Some(path), Some(value)) = (path, value) {
            insert_at(&mut claims, path, value);
        }
    }
    Ok(claims)
}

/// Puts a text at a path.
fn insert_at(claims: &mut Map<String, Value>, path: &ClaimPath, value: &str) {
    let Some((last, outer)) = path.names().split_last() else { return };
    let inner = outer.iter().try_fold(claims, |claims, name| {
        claims.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
    });
    if let Some(inner) = inner {
        inner.insert(last.clone(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_stand_where_the_daemon_looks_for_them() {
        let mut config = Config::default();
        config.jwt.main.tenant_claim = ClaimPath::parse("app.tenant");
        config.jwt.main.role_claim = ClaimPath::parse("https://app.example/role");
        config.jwt.main.names = vec!["me".into()];
        let claims = claims(&config, Some("u"), Some("t"), Some("r"), Duration::from_secs(60)).unwrap();
        assert_eq!(claims["sub"], "u");
        assert_eq!(claims["app"]["tenant"], "t");
        assert_eq!(claims["https://app.example/role"], "r");
        assert_eq!(claims["iss"], "me");
        assert!(claims["exp"].as_u64() > claims["iat"].as_u64());
    }
}
