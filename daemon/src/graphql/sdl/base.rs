//! What every schema has, whatever the database holds.

/// The types.
pub(super) const BASE: &str = r#""""
On the field of a subscription: of the results of one key that come within this time, only the last. The key is a path below the field, such as `record.id`; without one all results count as one.
"""
directive @throttle("In milliseconds, 1 to 3600000." ms: Int!, key: String) on FIELD

"""
On the field of a subscription to a table: first the rows that are there, as your role of the database may select them, then every change since exactly that moment.
"""
directive @initial("Whether to begin so." if: Boolean! = true) on FIELD

"What happened to a row."
enum Operation {
  "The row was inserted."
  INSERT
  "The row was updated."
  UPDATE
  "The row was deleted."
  DELETE
  "The whole table was emptied; there is no record."
  TRUNCATE
  "Nothing yet: the row was there when the subscription began. See @initial."
  INITIAL
}

"An event on a channel."
type Event {
  "Id of the event."
  id: BigInt!
  "Channel that it was published on."
  channel: String!
  "Type that it was published with."
  type: String!
  "Its payload."
  data: JSON!
  "Context that the publisher set. Null unless the server shows it for this channel."
  metadata: JSON
  "Tenant that owns it."
  tenantId: String
  "User that owns it."
  userId: String
  "When it was stored."
  createdAt: Datetime!
}

"About this server."
type ServerInfo {
  "Version of the server."
  version: String!
  "Number of the schema; it grows with every change of the attached tables."
  schemaVersion: BigInt!
}

type Query {
  "About this server."
  tidings: ServerInfo!
}

"#;

/// The beginning of the root type; the fields of the tables follow.
pub(super) const SUBSCRIPTION: &str = r#"type Subscription {
  "Every event on a channel that is not fed by a table."
  events("The channel." channel: String! "Only events of these types. Null: all." types: [String!]): Event!
"#;
