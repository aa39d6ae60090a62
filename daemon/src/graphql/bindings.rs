//! What the schema's fields mean: where each value stands in an event, and what each root field
//! listens to. The SDL says how a client sees it; this says how it is served.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::event::Operation;
use crate::graphql::filter::FilterType;
use crate::graphql::filter::comparable::Comparable;
use crate::graphql::labels::Labels;
use crate::source::catalog::RowSecurity;
use crate::source::functions::FunctionName;

/// Names of fields.
type Fields = HashSet<Box<str>>;

/// Names of roles.
type Roles = Vec<Box<str>>;

/// Meaning of every field that is not simply the payload member of its own name.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// By type, then by field.
    fields: HashMap<Box<str>, HashMap<Box<str>, Source>>,
    /// Root fields of `Subscription`.
    roots: HashMap<Box<str>, Arc<Root>>,
    /// Labels of the enum types.
    labels: HashMap<Box<str>, Arc<Labels>>,
    /// By type, then by field: the roles that may see it, where not everybody may.
    visible_to: HashMap<Box<str>, HashMap<Box<str>, Roles>>,
    /// By type, then by role of the database: the fields of columns that it may not select.
    denied: HashMap<Box<str>, HashMap<Box<str>, Fields>>,
    /// By type, then by field: the functions that make values.
    resolvers: HashMap<Box<str>, HashMap<Box<str>, Arc<Resolver>>>,
    /// By root field: the functions that decide who may subscribe.
    authorizers: HashMap<Box<str>, Arc<FunctionName>>,
    /// Channels that attached tables feed: `events` refuses them.
    pub(super) row_channels: HashSet<Box<str>>,
    /// Channels fed by tables whose policies decide who sees what: `events` shows them to
    /// administrators only.
    pub(super) secured_channels: HashSet<Box<str>>,
    /// Channels whose custom types hide fields, or whose subscribers have to be authorized: `events` refuses
    /// them, too.
    pub(super) redacted_channels: HashSet<Box<str>>,
    /// Whether `events` refuses every channel, because nobody knows which ones hide something.
    pub(super) all_channels_closed: bool,
}

/// Where a field's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Member of the object at hand.
    Member(Box<str>),
    /// The event itself, as an object.
    Event,
    /// The payload, as an object.
    Payload,
    /// The row, at the root: there is one unless the table was truncated.
    Row,
    /// The row within a change; null for TRUNCATE.
    Record,
    /// The row before an UPDATE; `captured` says whether the table keeps it.
    Old {
        /// `include_old` of the attached table.
        captured: bool,
    },
    /// INSERT, UPDATE, DELETE or TRUNCATE.
    Operation,
    /// Names of the changed columns.
    ChangedColumns,
    /// Id of the event.
    EventId,
    /// Channel of the event.
    Channel,
    /// Type of the event.
    EventType,
    /// The whole payload.
    Data,
    /// Context that the publisher set, where the channel is listed.
    Metadata(Arc<MetadataChannels>),
    /// Tenant of the event.
    TenantId,
    /// User of the event.
    UserId,
    /// Time of the publication.
    CreatedAt,
    /// What a function made of the event: the plan's call of this number.
    Resolved(usize),
}

/// `@resolve`: a function that makes a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolver {
    pub(super) function: Arc<FunctionName>,
    pub(super) scope: Scope,
}

/// Who shares what a function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// All subscribers.
    Event,
    /// All of a tenant.
    Tenant,
    /// Those with the same role and claims.
    User,
}

/// Channels whose metadata subscribers may see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum MetadataChannels {
    /// Every channel.
    All,
    /// These, sorted.
    Listed(Vec<Box<str>>),
}

impl MetadataChannels {
    pub(super) fn new(channels: &[String]) -> Self {
        if channels.iter().any(|channel| channel == "*") {
            return Self::All;
        }
        let mut listed: Vec<Box<str>> = channels.iter().map(|channel| channel.as_str().into()).collect();
        listed.sort_unstable();
        Self::Listed(listed)
    }

    pub(super) fn contains(&self, channel: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(channels) => channels.binary_search_by(|listed| (**listed).cmp(channel)).is_ok(),
        }
    }
}

/// A root field of `Subscription`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// `events`: a channel, or some event types on it.
    Events,
    /// Row events of an attached table.
    Rows(RowRoot),
    /// Events that custom SDL has given a type.
    Published(PublishedRoot),
}

/// A root field that listens to published events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublishedRoot {
    pub(super) channel: Box<str>,
    /// Nothing: every type of the channel.
    pub(super) types: Option<Vec<Box<str>>>,
    /// Arguments that must equal a member of the payload.
    pub(super) matches: Vec<MatchArgument>,
    /// The object types that the field may return.
    pub(super) objects: Vec<Box<str>>,
    pub(super) value: Source,
}

/// An argument that must equal a member of the payload; a list, one of its items.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MatchArgument {
    pub(super) argument: Box<str>,
    pub(super) field: Box<str>,
    /// How equal values are spelled.
    pub(super) comparable: Comparable,
}

/// A root field that listens to an attached table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RowRoot {
    /// Type name in the catalog, which events carry; the GraphQL type may be called otherwise.
    pub(super) type_name: Box<str>,
    /// Which operations it listens to.
    pub(super) operations: Vec<Operation>,
    /// Arguments that must equal a column of the primary key.
    pub(super) keys: Vec<KeyArgument>,
    /// The argument that filters.
    pub(super) filter: FilterArgument,
    /// What the field returns: the row, or the change around it.
    pub(super) value: Source,
    /// Set if policies decide who sees its events.
    pub(super) row_security: Option<Arc<RowSecurity>>,
    /// The table itself.
    pub(super) owner: Arc<Owner>,
}

/// A table, and the columns that say whose its rows are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// OID of the table.
    pub(super) table: u32,
    pub(super) tenant: Option<OwnerColumn>,
    pub(super) user: Option<OwnerColumn>,
}

/// A column that says whose a row is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnerColumn {
    pub(super) column: Box<str>,
    /// How its values compare, if it is captured and they do.
    pub(super) comparable: Option<Comparable>,
}

/// An argument that must equal a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyArgument {
    /// Name of the argument.
    pub(super) argument: Box<str>,
    /// Name of the column, which is the payload's member.
    pub(super) column: Box<str>,
    /// How equal values are spelled.
    pub(super) comparable: Comparable,
}

/// The argument that filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterArgument {
    /// Its name.
    pub(super) argument: Box<str>,
    /// Name of the argument that says which records it looks at, if there is one.
    pub(super) scope: Option<Box<str>>,
    /// What its fields mean.
    pub(super) filter_type: Arc<FilterType>,
}

impl Bindings {
    /// Binds a field of an object type.
    pub(super) fn field(&mut self, type_name: &str, field: &str, source: Source) {
        self.fields.entry(type_name.into()).or_default().insert(field.into(), source);
    }

    /// Binds a root field.
    pub(super) fn root_field(&mut self, field: &str, root: Root) {
        self.roots.insert(field.into(), Arc::new(root));
    }

    /// Binds an enum type.
    pub(super) fn enum_type(&mut self, name: &str, labels: Arc<Labels>) {
        self.labels.insert(name.into(), labels);
    }

    /// The labels of an enum type.
    pub(super) fn labels(&self, name: &str) -> Option<&Arc<Labels>> {
        self.labels.get(name)
    }

    /// Hides a field from everybody but these roles.
    pub(super) fn hide(&mut self, type_name: &str, field: &str, roles: Roles) {
        self.visible_to.entry(type_name.into()).or_default().insert(field.into(), roles);
    }

    /// Whether a field is hidden from a role.
    pub(super) fn hides(&self, type_name: &str, field: &str, role: Option<&str>) -> bool {
        let roles = self.visible_to.get(type_name).and_then(|fields| fields.get(field));
        roles.is_some_and(|roles| !roles.iter().any(|it| Some(&**it) == role))
    }

    /// Whether a type hides any field from anybody.
    pub(super) fn hides_any_of(&self, type_name: &str) -> bool {
        self.visible_to.contains_key(type_name)
    }

    /// Denies a field to a role of the database.
    pub(super) fn deny(&mut self, type_name: &str, role: &str, field: &str) {
        let roles = self.denied.entry(type_name.into()).or_default();
        roles.entry(role.into()).or_default().insert(field.into());
    }

    /// Whether a field is a column that a role of the database may not select.
    pub(super) fn denies(&self, type_name: &str, field: &str, role: Option<&str>) -> bool {
        let roles = self.denied.get(type_name).zip(role);
        roles.and_then(|(roles, role)| roles.get(role)).is_some_and(|fields| fields.contains(field))
    }

    /// Whether it matters that somebody has this role of the database.
    pub(super) fn denies_any(&self, role: &str) -> bool {
        self.denied.values().any(|roles| roles.contains_key(role))
    }

    /// Whether a field is hidden from anybody.
    pub(super) fn hides_from_some(&self, type_name: &str, field: &str) -> bool {
        self.visible_to.get(type_name).is_some_and(|fields| fields.contains_key(field))
    }

    /// Whether it matters that somebody has this role.
    pub(super) fn names_role(&self, role: &str) -> bool {
        self.roles().any(|it| it == role)
    }

    /// The roles that it matters to have; some more than once.
    pub(super) fn roles(&self) -> impl Iterator<Item = &str> {
        self.visible_to.values().flat_map(HashMap::values).flatten().map(|role| &**role)
    }

    /// Has a function make the values of a field.
    pub(super) fn resolve(&mut self, type_name: &str, field: &str, resolver: Resolver) {
        self.resolvers.entry(type_name.into()).or_default().insert(field.into(), Arc::new(resolver));
    }

    /// The function that makes the values of a field.
    pub(super) fn resolver(&self, type_name: &str, field: &str) -> Option<&Arc<Resolver>> {
        self.resolvers.get(type_name)?.get(field)
    }

    /// Has a function decide who may subscribe to a root field.
    pub(super) fn authorize(&mut self, field: &str, function: FunctionName) {
        self.authorizers.insert(field.into(), Arc::new(function));
    }

    /// The function that decides who may subscribe to a root field.
    pub(super) fn authorizer(&self, field: &str) -> Option<&Arc<FunctionName>> {
        self.authorizers.get(field)
    }

    /// Where the value of a field stands. Without a binding: in the payload member of its name.
    pub(super) fn source(&self, type_name: &str, field: &str) -> Source {
        let bound = self.fields.get(type_name).and_then(|fields| fields.get(field));
        bound.cloned().unwrap_or_else(|| Source::Member(field.into()))
    }

    /// Meaning of a root field.
    pub(super) fn root(&self, field: &str) -> Option<&Arc<Root>> {
        self.roots.get(field)
    }
}
