//! The settings of an issuer: those of `[jwt]`, and the same in each table `[[jwt.issuers]]`.

use super::Secret;
use super::jwt::{ClaimPath, Issuer, JwtAlgorithm, KeyUrl};
use super::value::{NotAllowed, Value};

/// One setting of an issuer.
#[derive(Debug)]
pub struct IssuerSetting {
    /// Its name within the table.
    pub name: &'static str,
    /// What is allowed, for errors.
    pub allowed: &'static str,
    /// Whether no error may print it.
    pub secret: bool,
    /// Puts the value into the issuer.
    pub apply: fn(&mut Issuer, &Value) -> Result<(), NotAllowed>,
}

const fn setting(
    name: &'static str,
    allowed: &'static str,
    apply: fn(&mut Issuer, &Value) -> Result<(), NotAllowed>,
) -> IssuerSetting {
    IssuerSetting { name, allowed, secret: false, apply }
}

/// The least for HS256 (RFC 7518, section 3.2); HS384 and HS512 ask for more when they are pinned.
const SECRET_BYTES_MIN: usize = 32;

const CLAIM_PATH: &str = "a dotted path such as app.tenant_id or \"https://app.example/claims\".tenant";

/// Accepted values of `iss`.
pub const NAMES: IssuerSetting = setting("issuer", "a list of texts", |issuer, value| {
    issuer.names = value.list()?;
    Ok(())
});

/// Accepted values of `aud`.
pub const AUDIENCES: IssuerSetting = setting("audience", "a list of texts", |issuer, value| {
    issuer.audiences = value.list()?;
    Ok(())
});

/// Accepted algorithms.
pub const ALGORITHMS: IssuerSetting = setting(
    "algorithm",
    "a list of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    |issuer, value| {
        let named = |name: &String| {
            let known = JwtAlgorithm::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map(|(_, algorithm)| *algorithm)
        };
        let algorithms: Option<Vec<_>> = value.list()?.iter().map(named).collect();
        issuer.algorithms = algorithms.filter(|algorithms| !algorithms.is_empty()).ok_or(NotAllowed)?;
        Ok(())
    },
);

/// Shared secret.
pub const SECRET: IssuerSetting = IssuerSetting {
    name: "secret",
    allowed: "at least 32 bytes, for example the output of `openssl rand -base64 48`",
    secret: true,
    apply: |issuer, value| {
        let text = value.text()?;
        if text.len() < SECRET_BYTES_MIN {
            return Err(NotAllowed);
        }
        issuer.secret = Some(Secret::new(text));
        Ok(())
    },
};

/// Public key.
pub const PUBLIC_KEY_FILE: IssuerSetting =
    setting("public_key_file", "the path of a PEM file", |issuer, value| {
        issuer.public_key_file = Some(value.text()?.into());
        Ok(())
    });

/// Set of public keys.
pub const JWKS_URL: IssuerSetting = setting(
    "jwks_url",
    "an https URL without user and password, or an http URL of this machine (127.0.0.1, [::1] or localhost)",
    |issuer, value| {
        issuer.jwks_url = Some(KeyUrl::parse(&value.text()?).ok_or(NotAllowed)?);
        Ok(())
    },
);

/// Path of the user claim.
pub const USER_CLAIM: IssuerSetting = setting("user_claim", CLAIM_PATH, |issuer, value| {
    issuer.user_claim = Some(claim_path(value)?);
    Ok(())
});

/// Path of the tenant claim.
pub const TENANT_CLAIM: IssuerSetting = setting("tenant_claim", CLAIM_PATH, |issuer, value| {
    issuer.tenant_claim = Some(claim_path(value)?);
    Ok(())
});

/// Path of the role claim.
pub const ROLE_CLAIM: IssuerSetting = setting("role_claim", CLAIM_PATH, |issuer, value| {
    issuer.role_claim = Some(claim_path(value)?);
    Ok(())
});

/// Everything that a table `[[jwt.issuers]]` may hold.
pub const SETTINGS: [&IssuerSetting; 9] = [
    &NAMES,
    &AUDIENCES,
    &ALGORITHMS,
    &SECRET,
    &PUBLIC_KEY_FILE,
    &JWKS_URL,
    &USER_CLAIM,
    &TENANT_CLAIM,
    &ROLE_CLAIM,
];

fn claim_path(value: &Value) -> Result<ClaimPath, NotAllowed> {
    ClaimPath::parse(&value.text()?).ok_or(NotAllowed)
}
