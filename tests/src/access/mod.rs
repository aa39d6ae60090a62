//! Who gets in: every algorithm, every source of keys, every place for a token, every limit, and what is refused.
//!
//! All keys are made while the tests run.

mod addresses;

mod algorithms;

mod check;

mod expiry;

mod issuers;

mod key_server;

mod key_sets;

mod keys;

mod limits;

mod mutations;

mod places;

mod refresh;

mod revocation;

mod secrecy;

mod tls;

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_daemon::access::authenticator::Authenticator;
use tidings_daemon::access::refusal::TokenError;
use tidings_daemon::config::layers::Inputs;
use tidings_daemon::config::{Config, Secret};
use tidings_daemon::hub::audience::Identity;

use crate::support::files::Files;

/// The authenticator of a configuration file, or what is wrong with it.
fn authenticator(toml: &str) -> Result<Authenticator, String> {
    let files = Files::new();
    let file = Some(files.write("tidings.toml", toml).into());
    let config = Config::load(&Inputs { file, ..Inputs::default() }).map_err(|error| error.to_string())?;
    Authenticator::new(&config).map_err(|error| error.to_string())
}

async fn identify(authenticator: &Authenticator, token: &str) -> Result<Arc<Identity>, TokenError> {
    authenticator.identify(Ok(Some(Secret::new(token)))).await
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a user of a tenant, good for ten minutes.
fn claims(user: &str) -> Value {
    json!({ "sub": user, "tenant_id": "acme", "exp": now() + 600 })
}
