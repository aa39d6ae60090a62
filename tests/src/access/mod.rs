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

mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tidings_daemon::access::authenticator::Authenticator;
use tidings_daemon::access::refusal::TokenError;
use tidings_daemon::config::layers::Inputs;
use tidings_daemon::config::{Config, Secret};
use tidings_daemon::hub::audience::Identity;

/// Files of one test, removed with it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("tidings-access-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// The path of a new file.
    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
