//! What decides which fields a subscriber may see.

use crate::graphql::bindings::Bindings;
use crate::graphql::schema::SchemaOptions;
use crate::hub::audience::Identity;

/// The redaction class of an identity: two of one class get the same plan, and so the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Viewer {
    /// Whether `events` may show channels that tables feed or whose types hide fields.
    pub(super) reads_all_channels: bool,
    /// Whether `events` may show channels of tables with row security, too.
    pub(super) admin: bool,
    /// The role, if any `@visibleTo` names it; all others see the same.
    pub(super) role: Option<Box<str>>,
    /// The role of the database, if it may not select some column.
    pub(super) database_role: Option<Box<str>>,
}

impl Viewer {
    pub(super) fn of(identity: &Identity, bindings: &Bindings, options: &SchemaOptions) -> Self {
        let listed = |role: &str| options.events_roles.iter().any(|listed| listed == role);
        Self {
            reads_all_channels: identity.admin || identity.role.as_deref().is_some_and(listed),
            admin: identity.admin,
            database_role: options
                .callers
                .of(identity)
                .filter(|role| bindings.denies_any(role))
                .map(Into::into),
            role: identity.role.clone().filter(|role| bindings.names_role(role)),
        }
    }
}
