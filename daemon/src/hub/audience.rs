//! Who a subscriber is, and which events it may see.

use std::time::SystemTime;

/// Whom a connection belongs to. Made from a verified token or from configuration, never from
/// anything else that a client sends.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Tenant claim. Without one, only events that require no tenant are visible.
    pub tenant: Option<Box<str>>,
    /// User claim. Without one, only events that require no user are visible.
    pub user: Option<Box<str>>,
    /// Role claim.
    pub role: Option<Box<str>>,
    /// True if the role is one of the configured admin roles: sees the events of everybody.
    pub admin: bool,
    /// When the token ends; the connection ends with it.
    pub expires: Option<SystemTime>,
}
