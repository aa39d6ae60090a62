//! Pairs of keys, made at run time.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use serde_json::{Value, json};

/// A private key and its public half.
pub(super) struct Pair {
    /// What it signs with; the first is the usual one.
    pub(super) algorithms: &'static [Algorithm],
    pub(super) public_pem: String,
    pub(super) private_pem: String,
    encoding: EncodingKey,
    /// The bytes of the public key where the library does not make a key of a set from the pair.
    point: Option<Vec<u8>>,
}

impl Pair {
    pub(super) fn rsa(bits: usize) -> Self {
        let private = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap();
        let private_pem = private.to_pkcs8_pem(LineEnding::LF).unwrap().to_string();
        Self {
            algorithms: &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            public_pem: private.to_public_key().to_public_key_pem(LineEnding::LF).unwrap(),
            encoding: EncodingKey::from_rsa_pem(private_pem.as_bytes()).unwrap(),
            private_pem,
            point: None,
        }
    }

    pub(super) fn p256() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self::of(&pair, &[Algorithm::ES256], EncodingKey::from_ec_pem)
    }

    pub(super) fn p384() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        Self::of(&pair, &[Algorithm::ES384], EncodingKey::from_ec_pem)
    }

    pub(super) fn ed25519() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        Self::of(&pair, &[Algorithm::EdDSA], EncodingKey::from_ed_pem)
    }

    fn of(
        pair: &KeyPair,
        algorithms: &'static [Algorithm],
        read: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>,
    ) -> Self {
        let private_pem = pair.serialize_pem();
        let encoding = read(private_pem.as_bytes()).unwrap();
        let point = (algorithms == [Algorithm::EdDSA]).then(|| pair.public_key_raw().to_vec());
        Self { algorithms, public_pem: pair.public_key_pem(), private_pem, encoding, point }
    }

    /// Signs with the usual algorithm.
    pub(super) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        self.sign_with(self.algorithms[0], kid, claims)
    }

    pub(super) fn sign_with(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }

    /// The public half as a member of a key set, for any algorithm of its kind.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match &self.point {
            Some(x) => json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(x) }),
            None => {
                let jwk = Jwk::from_encoding_key(&self.encoding, self.algorithms[0]).unwrap();
                serde_json::to_value(jwk).unwrap()
            }
        };
        jwk.as_object_mut().unwrap().remove("alg");
        jwk["kid"] = kid.into();
        jwk
    }
}

/// The usual RSA pair of this run: making one takes a moment.
pub(super) fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::rsa(2048))
}

/// Signs with a secret.
pub(super) fn sign_with_secret(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .unwrap()
}
