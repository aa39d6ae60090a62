//! The event: one row of `tidings.events`, as every stage of the daemon sees it.

mod members;

pub use members::Members;

/// What a statement did to a row of an attached table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A row was inserted.
    Insert,
    /// A row was updated.
    Update,
    /// A row was deleted.
    Delete,
    /// The whole table was truncated; the event carries no record.
    Truncate,
    /// Nothing: the row was there when a subscription began. No event of the database has this.
    Initial,
}

impl Operation {
    /// The name used in `event_type`, in the GraphQL enum and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Initial => "INITIAL",
        }
    }

    /// The reverse of [`Operation::as_str`], for events of the database.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Insert, Self::Update, Self::Delete, Self::Truncate].into_iter().find(|op| op.as_str() == text)
    }
}

/// Which parts of an identity an event requires, fixed when it was captured.
///
/// A required part that the event lacks (a row whose tenant column is null) admits nobody but
/// administrators: the rule fails closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audience {
    /// Only connections of the event's tenant may see it.
    pub tenant: bool,
    /// Only connections of the event's user may see it.
    pub user: bool,
}

impl Audience {
    /// Parses the column `tidings.events.audience`: `open`, `tenant`, `user` or `both`.
    pub fn parse(text: &str) -> Option<Self> {
        let (tenant, user) = match text {
            "open" => (false, false),
            "tenant" => (true, false),
            "user" => (false, true),
            "both" => (true, true),
            _ => return None,
        };
        Some(Self { tenant, user })
    }
}

/// One committed event.
#[derive(Debug, Clone, Default)]
pub struct Event {
    /// Drawn from the sequence of `tidings.events`; orders the events of one batch.
    pub id: i64,
    /// Top-level transaction id of the publisher.
    pub xid: u64,
    /// Channel, at most 63 bytes.
    pub channel: Box<str>,
    /// Event type; for a row event the operation's name.
    pub event_type: Box<str>,
    /// GraphQL type of the attached table, for a row event only.
    pub type_name: Option<Box<str>>,
    /// What the statement did, for a row event only.
    pub operation: Option<Operation>,
    /// Which of `tenant_id` and `user_id` restrict who may see it.
    pub audience: Audience,
    /// Tenant that owns the event.
    pub tenant_id: Option<Box<str>>,
    /// User that owns the event.
    pub user_id: Option<Box<str>>,
    /// JSON text. For a row event an object: the new record, or the old one for a DELETE.
    pub payload: Box<str>,
    /// JSON text of the record before an UPDATE, if the table was attached with `include_old`.
    pub old_payload: Option<Box<str>>,
    /// Columns whose binary image an UPDATE changed.
    pub changed_columns: Option<Vec<Box<str>>>,
    /// JSON text of the context that the publisher set.
    pub metadata: Option<Box<str>>,
    /// Clock time of the publication, in microseconds since 1970-01-01T00:00:00Z.
    pub created_at_us: i64,
    /// True if the record exceeded `tidings.max_event_bytes` and only its key columns were kept.
    pub truncated: bool,
}
