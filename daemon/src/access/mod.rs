//! Who is there: from a token to an identity, how many may come in, and who has to leave.

pub mod refusal;

pub mod token;

pub mod key;

pub mod member;

pub mod key_set;

pub mod fetch;

pub mod remote;

pub mod issuer;

pub mod jwt;

pub mod claims;

pub mod authenticator;

pub mod limits;

pub mod presence;

pub mod revocation;

pub mod arrival;
