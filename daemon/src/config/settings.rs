//! The table of all settings.
//!
//! # Layout
//!
//! One file for each kind, by what a setting is about: `service`, `listener`, `access`, `documents`, `functions`,
//! `limits`, `reservations`. The order of the table is the order of `--help`.

use std::sync::LazyLock;

use super::Config;
use super::value::{NotAllowed, Value};

/// `target = value` as the `apply` of a row.
macro_rules! put {
    ($config:ident . $($field:ident).+ = $value:ident . $read:ident ( $($argument:tt)* )) => {
        |$config, $value| {
            $config.$($field).+ = $value.$read($($argument)*)?.into();
            Ok(())
        }
    };
}

mod service;

mod listener;

mod access;

mod documents;

mod functions;

mod limits;

mod reservations;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Dotted key in the file.
    pub key: &'static str,
    /// What it is, for `--help`.
    pub help: &'static str,
    /// What is allowed, for errors.
    pub allowed: &'static str,
    /// Secrets have no flag, because the process list shows flags to everybody, and no error prints them.
    pub secret: bool,
    /// Puts the value into the configuration.
    pub apply: fn(&mut Config, &Value) -> Result<(), NotAllowed>,
}

impl Setting {
    /// Its name in the environment.
    pub fn env(&self) -> String {
        match self.key {
            "jwt.jwks_url" => "TIDINGS_JWKS_URL".into(),
            key => format!("TIDINGS_{}", key.replace('.', "_").to_uppercase()),
        }
    }

    /// Its flag without the dashes, if it has one.
    pub fn flag(&self) -> Option<String> {
        (!self.secret).then(|| self.key.replace(['.', '_'], "-"))
    }
}

/// A row of the table: key, help, allowed, apply.
const fn setting(
    key: &'static str,
    help: &'static str,
    allowed: &'static str,
    apply: fn(&mut Config, &Value) -> Result<(), NotAllowed>,
) -> Setting {
    Setting { key, help, allowed, secret: false, apply }
}

const fn secret(setting: Setting) -> Setting {
    Setting { secret: true, ..setting }
}

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const DAY_S: u64 = 86_400;

/// Every setting, in the order in which `--help` shows them.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let parts = [
        service::PLACE,
        listener::SETTINGS,
        access::SETTINGS,
        service::CONDUCT,
        documents::SETTINGS,
        functions::SETTINGS,
        limits::SETTINGS,
        reservations::SETTINGS,
        service::TIMES,
    ];
    parts.concat()
});

/// The setting of that key.
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The setting of that name in the environment.
pub fn by_env(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.env() == name)
}
