//! The SQL of the extension, in the order of installation.

use pgrx::extension_sql_file;

extension_sql_file!("../../sql/00_schema.sql", name = "schema");
extension_sql_file!("../../sql/10_events.sql", name = "events", requires = ["schema"]);
extension_sql_file!("../../sql/20_publish.sql", name = "publish", requires = ["events"]);
extension_sql_file!("../../sql/30_attachments.sql", name = "attachments", requires = ["publish"]);
extension_sql_file!("../../sql/40_capture.sql", name = "capture", requires = ["attachments"]);
extension_sql_file!("../../sql/50_checks.sql", name = "checks", requires = ["capture"]);
extension_sql_file!("../../sql/55_attach.sql", name = "attach", requires = ["checks"]);
extension_sql_file!("../../sql/57_policies.sql", name = "policies", requires = ["attach"]);
extension_sql_file!("../../sql/58_rows.sql", name = "rows", requires = ["policies"]);
extension_sql_file!("../../sql/60_follow.sql", name = "follow", requires = ["rows"]);
extension_sql_file!("../../sql/65_definitions.sql", name = "definitions", requires = ["follow"]);
extension_sql_file!("../../sql/70_retention.sql", name = "retention", requires = ["definitions"]);
extension_sql_file!("../../sql/75_standby.sql", name = "standby", requires = ["retention"]);
extension_sql_file!("../../sql/77_pull.sql", name = "pull", requires = ["standby"]);
extension_sql_file!("../../sql/80_reservations.sql", name = "reservations", requires = ["pull"]);
extension_sql_file!("../../sql/85_access.sql", name = "access", requires = ["reservations"]);
extension_sql_file!("../../sql/90_grants.sql", name = "grants", requires = ["access"]);
