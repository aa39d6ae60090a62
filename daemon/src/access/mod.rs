//! Who is there: from a token to an identity, and how many may come in.

pub mod token;

pub mod jwt;

pub mod claims;

pub mod authenticator;

pub mod limits;
