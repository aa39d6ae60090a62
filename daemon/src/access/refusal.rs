//! Why somebody is not let in: for the log and the metrics in detail, for the client in one of few words.

use crate::error::ClientError;

/// Why a token, or having none, is refused. None of the texts holds anything of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// There are several where one can be.
    #[error("two tokens in the same place, or a header of another scheme")]
    Ambiguous,
    /// A cookie that was sent for a page which may not use it.
    #[error("the token is in a cookie, and the page that sends it is of an origin that is not allowed")]
    ForeignPage,
    /// It is longer than any that is looked at.
    #[error("it is too long")]
    TooLong,
    /// It cannot be taken apart.
    #[error("it is not a JSON Web Token")]
    Malformed,
    /// RFC 7515, section 4.1.11: what is critical and not understood refuses the token.
    #[error("it has a critical header, and none is understood")]
    Critical,
    /// An algorithm that is not pinned.
    #[error("its algorithm is not one of the configured ones")]
    Algorithm,
    /// There is no such key.
    #[error("no key of the issuer has its kid and is for its algorithm")]
    UnknownKey,
    /// The signature is somebody else's.
    #[error("its signature does not match")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("its nbf lies in the future")]
    Immature,
    /// Nobody who is configured issued it.
    #[error("its iss is not a configured one")]
    Issuer,
    /// It is for somebody else.
    #[error("its aud is not a configured one")]
    Audience,
    /// A claim that has to be there is not, or is of another type.
    #[error("exp, nbf, iss or aud is missing or of the wrong type")]
    Claims,
    /// A claim that should name somebody does not. The path is configuration, so it may be logged.
    #[error("the claim {0} is neither a text nor a whole number")]
    Unusable(String),
    /// It is from before its user or tenant was kicked.
    #[error("it was revoked")]
    Revoked,
    /// What is revoked has not been read yet.
    #[error("it is not known yet which tokens are revoked")]
    RevocationsUnknown,
    /// The keys that could tell are not there.
    #[error("the keys of the issuer are not available")]
    KeysUnavailable,
}

impl TokenError {
    /// The label of the metric.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::ForeignPage => "foreign_page",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Critical => "critical_header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::Immature => "not_before",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::Unusable(_) => "claim_path",
            Self::Revoked => "revoked",
            Self::RevocationsUnknown => "revocations_unknown",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

impl From<TokenError> for ClientError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => Self::TokenMissing,
            TokenError::ForeignPage => Self::CookieRefused,
            TokenError::Expired => Self::TokenExpired,
            TokenError::Revoked => Self::TokenRevoked,
            TokenError::RevocationsUnknown => Self::NotReady,
            TokenError::KeysUnavailable => Self::KeysUnavailable,
            _ => Self::TokenInvalid,
        }
    }
}
