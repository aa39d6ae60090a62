//! What several programs share.

pub mod notifications;
