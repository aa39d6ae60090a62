//! Reads the attached tables (names, columns, comments and types) and the definitions.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::error::{SessionError, in_time};
use crate::event::Operation;
use crate::source::catalog::{AttachedTable, Catalog, Column, ColumnType, Definition, RowSecurity};

/// Deepest nesting of composites and arrays that is looked into; below it a value is opaque.
const TYPE_DEPTH_MAX: u32 = 8;

const TABLES: &str = "\
    select a.target::oid, a.target::text, a.type_name, a.channel, obj_description(a.target, 'pg_class'), \
           a.operations, a.include_old, a.row_security, a.tenant_column::text, a.user_column::text \
    from tidings.attachments a join pg_class c on c.oid = a.target order by a.type_name collate \"C\"";

/// The captured columns of every attached table. The primary key is captured whatever was asked;
/// virtual generated columns (PostgreSQL 18) are not stored, so they are not captured.
const COLUMNS: &str = "\
    select t.attrelid, t.attname::text, col_description(t.attrelid, t.attnum), t.attnotnull, \
           coalesce(t.attnum = any(i.indkey), false), t.atttypid \
    from tidings.attachments a \
    join pg_attribute t on t.attrelid = a.target and t.attnum > 0 and not t.attisdropped \
        and t.attgenerated <> 'v' \
    left join pg_index i on i.indrelid = a.target and i.indisprimary \
    where a.columns is null or t.attname = any(a.columns) or t.attnum = any(i.indkey) \
    order by t.attrelid, t.attnum";

/// Every type that the columns reach: through domains, arrays and composites.
const TYPES: &str = "\
    with recursive reached(oid) as ( \
        select t.atttypid from tidings.attachments a \
        join pg_attribute t on t.attrelid = a.target and t.attnum > 0 and not t.attisdropped \
        union \
        select n.oid from reached r join pg_type t on t.oid = r.oid \
        cross join lateral ( \
            select t.typbasetype where t.typtype = 'd' \
            union all select t.typelem where t.typcategory = 'A' and t.typelem <> 0 \
            union all select m.atttypid from pg_attribute m \
                where t.typtype = 'c' and m.attrelid = t.typrelid and m.attnum > 0 and not m.attisdropped \
        ) n(oid) \
    ) \
    select t.oid, t.typname::text, t.typtype::text, t.typnotnull, \
           case when t.typtype = 'd' then t.typbasetype \
                when t.typcategory = 'A' then t.typelem else 0 end, \
           array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder), \
           array(select m.attname::text from pg_attribute m where t.typtype = 'c' and m.attrelid = t.typrelid \
                 and m.attnum > 0 and not m.attisdropped order by m.attnum), \
           array(select m.atttypid from pg_attribute m where t.typtype = 'c' and m.attrelid = t.typrelid \
                 and m.attnum > 0 and not m.attisdropped order by m.attnum) \
    from reached r join pg_type t on t.oid = r.oid";

/// What the roles that subscribers may have do not see of the tables with row security.
const HIDDEN: &str = "\
    select a.target::oid, r.role, p.hidden::text[] \
    from tidings.attachments a cross join unnest($1::text[]) r(role) \
    cross join lateral tidings.select_policies(a.target, r.role::name) p where a.row_security";

/// The documents of `define_subscriptions`.
const DEFINITIONS: &str = "select name, sdl from tidings.definitions order by name collate \"C\"";

/// Reads all of it. The statements may see different moments; whatever changed in between
/// has sent another wake-up, and the catalog is read again.
pub(super) async fn load(client: &Client, roles: &[String]) -> Result<Catalog, SessionError> {
    let rows = async |statement| {
        in_time(async { client.query(statement, &[]).await.map_err(SessionError::Query) }).await
    };
    let (tables, columns, types) = (rows(TABLES).await?, rows(COLUMNS).await?, rows(TYPES).await?);
    let definitions = rows(DEFINITIONS).await?;
    let found = in_time(async { client.query(HIDDEN, &[&roles]).await.map_err(SessionError::Query) }).await?;
    let mut hidden: HashMap<u32, Vec<(String, Vec<String>)>> = HashMap::new();
    for row in &found {
        hidden.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    let types: Types = types
        .iter()
        .map(|row| {
            let names: Vec<String> = row.get(6);
            let oids: Vec<u32> = row.get(7);
            let known = Type {
                name: row.get(1),
                kind: row.get::<_, String>(2),
                not_null: row.get(3),
                inner: row.get(4),
                labels: row.get(5),
                attributes: names.into_iter().zip(oids).collect(),
            };
            (row.get(0), known)
        })
        .collect();
    let mut of_table: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in &columns {
        let oid = row.get(5);
        let column = Column {
            name: row.get(1),
            comment: row.get(2),
            not_null: row.get::<_, bool>(3) || domain_not_null(&types, oid),
            primary_key: row.get(4),
            column_type: column_type(&types, oid, TYPE_DEPTH_MAX),
        };
        of_table.entry(row.get(0)).or_default().push(column);
    }
    let mut table = |row: &tokio_postgres::Row| {
        let operations: Vec<String> = row.get(5);
        AttachedTable {
            oid: row.get(0),
            table: row.get(1),
            type_name: row.get(2),
            channel: row.get(3),
            comment: row.get(4),
            operations: operations.iter().filter_map(|name| Operation::parse(name)).collect(),
            include_old: row.get(6),
            tenant_column: row.get(8),
            user_column: row.get(9),
            row_security: row.get::<_, bool>(7).then(|| RowSecurity {
                table: row.get(0),
                hidden: hidden.remove(&row.get(0)).unwrap_or_default(),
            }),
            columns: of_table.remove(&row.get(0)).unwrap_or_default(),
        }
    };
    Ok(Catalog {
        tables: tables.iter().map(&mut table).collect(),
        definitions: definitions.iter().map(|row| Definition { name: row.get(0), sdl: row.get(1) }).collect(),
    })
}

type Types = HashMap<u32, Type>;

/// A row of `pg_type`, as far as it matters.
struct Type {
    name: String,
    /// `pg_type.typtype`.
    kind: String,
    not_null: bool,
    /// The type that a domain is based on, or an array's element; 0 for others.
    inner: u32,
    labels: Vec<String>,
    attributes: Vec<(String, u32)>,
}

fn domain_not_null(types: &Types, mut oid: u32) -> bool {
    for _ in 0..TYPE_DEPTH_MAX {
        match types.get(&oid) {
            Some(domain) if domain.kind == "d" && domain.not_null => return true,
            Some(domain) if domain.kind == "d" => oid = domain.inner,
            _ => return false,
        }
    }
    false
}

fn column_type(types: &Types, oid: u32, depth: u32) -> ColumnType {
    let Some(known) = types.get(&oid) else { return ColumnType::Base("unknown".into()) };
    let Some(depth) = depth.checked_sub(1) else { return ColumnType::Base(known.name.clone()) };
    match known.kind.as_str() {
        "d" => column_type(types, known.inner, depth),
        "e" => ColumnType::Enum { name: known.name.clone(), labels: known.labels.clone() },
        "c" => ColumnType::Composite {
            name: known.name.clone(),
            attributes: known
                .attributes
                .iter()
                .map(|(name, oid)| (name.clone(), column_type(types, *oid, depth)))
                .collect(),
        },
        _ if known.inner != 0 => ColumnType::Array(Box::new(column_type(types, known.inner, depth))),
        _ => ColumnType::Base(known.name.clone()),
    }
}
