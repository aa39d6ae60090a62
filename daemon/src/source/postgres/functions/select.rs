//! The SELECT that reads current rows: what `tidings.rows_query` says, and the narrowings as SQL.

use std::fmt::Write;

use crate::source::rows::{Comparison, Narrowing, Reads};

/// A row of `tidings.rows_query`: SQL in which every name is quoted already, except `columns`.
#[derive(Debug)]
pub(super) struct Select<'a> {
    pub(super) relation: &'a str,
    pub(super) alias: &'a str,
    /// The columns that the caller may select, unquoted.
    pub(super) columns: Vec<&'a str>,
    /// The expression of the text of each column.
    pub(super) texts: Vec<&'a str>,
    pub(super) record: &'a str,
    pub(super) key_record: &'a str,
    pub(super) ordering: Option<&'a str>,
    pub(super) condition: Option<&'a str>,
    pub(super) tenant: &'a str,
    pub(super) user: &'a str,
    pub(super) max_bytes: i64,
}

/// A narrowing names a column that the table does not have, or the caller may not select.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownColumn(pub(super) Box<str>);

impl Select<'_> {
    /// The query: an array of the record and, in its place if that is too large, of the key's columns; the
    /// tenant; the user.
    pub(super) fn sql(&self, conditions: &[Narrowing]) -> Result<String, UnknownColumn> {
        let Self { relation, alias, tenant, user, .. } = self;
        let key_record = self.json(self.key_record, "w.record", "'{}'");
        let record = self.json(self.record, "array[w.record, null]", &format!("array[null, {key_record}]"));
        let narrowed = self.all(conditions)?;
        let condition = self.condition.unwrap_or("true");
        let mut sql = format!(
            "select {record}, {tenant}, {user} from {relation} as {alias} where ({condition}) and {narrowed}"
        );
        if let Some(ordering) = self.ordering {
            let _ = write!(sql, " order by {ordering}");
        }
        Ok(sql)
    }

    /// The JSON of a select list as `w.record`, made once for each row: `fits`, or `otherwise` if it is too
    /// large. `offset 0` keeps the planner from putting the expression in both places.
    fn json(&self, list: &str, fits: &str, otherwise: &str) -> String {
        let max_bytes = self.max_bytes;
        format!(
            "(select case when octet_length(w.record) <= {max_bytes} then {fits} else {otherwise} end \
             from (select row_to_json(r.*)::text as record from (select {list}) r offset 0) w)"
        )
    }

    fn all(&self, narrowings: &[Narrowing]) -> Result<String, UnknownColumn> {
        let parts: Vec<String> = narrowings.iter().map(|it| self.one(it)).collect::<Result<_, _>>()?;
        Ok(if parts.is_empty() { "true".into() } else { format!("({})", parts.join(" and ")) })
    }

    fn one(&self, narrowing: &Narrowing) -> Result<String, UnknownColumn> {
        Ok(match narrowing {
            Narrowing::OneOf { column, values, reads } => {
                let column = self.side(column, *reads)?;
                // No value of the database contains a NUL.
                let values: Vec<String> =
                    values.iter().filter(|it| !it.contains('\0')).map(|it| read(it, *reads)).collect();
                if values.is_empty() {
                    "false".into()
                } else {
                    format!("{column} in ({})", values.join(", "))
                }
            }
            // A text that contains a NUL is in the database's order, too, but cannot be sent.
            Narrowing::Compare { value, .. } if value.contains('\0') => "true".into(),
            Narrowing::Compare { column, comparison, value, reads } => {
                format!("{} {} {}", self.side(column, *reads)?, operator(*comparison), read(value, *reads))
            }
            Narrowing::StartsWith { prefix, .. } if prefix.contains('\0') => "false".into(),
            Narrowing::StartsWith { column, prefix } => {
                format!("starts_with({}, {})", self.bytes(column)?, literal(prefix))
            }
            // A composite value whose attributes are all null is not null, though IS NULL says so.
            Narrowing::IsNull { column, null } => {
                format!("{} is {}distinct from null", self.column(column)?, if *null { "not " } else { "" })
            }
            Narrowing::Any(parts) => {
                let parts: Vec<String> = parts.iter().map(|it| self.all(it)).collect::<Result<_, _>>()?;
                if parts.is_empty() { "false".into() } else { format!("({})", parts.join(" or ")) }
            }
        })
    }

    fn side(&self, column: &str, reads: Reads) -> Result<String, UnknownColumn> {
        if reads == Reads::Bytes { self.bytes(column) } else { self.column(column) }
    }

    fn column(&self, name: &str) -> Result<String, UnknownColumn> {
        self.place(name)?;
        Ok(format!("{}.{}", self.alias, quoted(name)))
    }

    /// The column's text, compared byte by byte.
    fn bytes(&self, name: &str) -> Result<String, UnknownColumn> {
        let text = self.texts.get(self.place(name)?).copied().unwrap_or("null");
        Ok(format!("({text})::text collate \"C\""))
    }

    fn place(&self, name: &str) -> Result<usize, UnknownColumn> {
        self.columns.iter().position(|known| *known == name).ok_or_else(|| UnknownColumn(name.into()))
    }
}

/// A value, as whatever reads it takes it.
fn read(value: &str, reads: Reads) -> String {
    match reads {
        Reads::Column | Reads::Bytes => literal(value),
        Reads::Bigint => format!("{}::bigint", literal(value)),
    }
}

const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
    }
}

/// An identifier as `quote_ident` would write it, if it always quoted. A NUL would end the statement.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('\0', "").replace('"', "\"\""))
}

/// A literal as `quote_literal` writes it, whatever `standard_conforming_strings` is. Without a type: the
/// column's type reads it. The text must be without NULs.
fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') {
        format!(" E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

#[cfg(test)]
mod tests {
    use super::{Select, UnknownColumn, literal, quoted};
    use crate::source::rows::{Comparison, Narrowing, Reads};

    fn narrowed(narrowing: Narrowing) -> String {
        let select = Select {
            relation: "only public.t",
            alias: "new",
            columns: vec!["id", r#"a"b"#, "padded"],
            texts: vec!["new.id", r#"new."a""b""#, "format('%s', new.padded)"],
            record: "new.id as id",
            key_record: "new.id as id",
            ordering: Some("new.id"),
            condition: None,
            tenant: "null",
            user: "null",
            max_bytes: 1024,
        };
        match select.sql(&[narrowing]) {
            Err(UnknownColumn(column)) => format!("unknown {column}"),
            Ok(sql) => {
                let (_, rest) = sql.split_once(" as new where (true) and (").unwrap();
                rest.strip_suffix(") order by new.id").unwrap().to_owned()
            }
        }
    }

    fn one_of(column: &str, values: &[&str]) -> Narrowing {
        let values = values.iter().map(|it| (*it).into()).collect();
        Narrowing::OneOf { column: column.into(), values, reads: Reads::Column }
    }

    fn compare(column: &str, comparison: Comparison, value: &str, reads: Reads) -> Narrowing {
        Narrowing::Compare { column: column.into(), comparison, value: value.into(), reads }
    }

    #[test]
    fn each_narrowing_is_one_expression() {
        let starts = |prefix: &str| Narrowing::StartsWith { column: "padded".into(), prefix: prefix.into() };
        let is_null = |null| Narrowing::IsNull { column: "id".into(), null };
        assert_eq!(narrowed(one_of("id", &["1", "2"])), r#"new."id" in ('1', '2')"#);
        assert_eq!(narrowed(compare("id", Comparison::Less, "7", Reads::Column)), r#"new."id" < '7'"#);
        assert_eq!(
            narrowed(compare("id", Comparison::Greater, "7", Reads::Bigint)),
            r#"new."id" > '7'::bigint"#
        );
        assert_eq!(
            narrowed(compare(r#"a"b"#, Comparison::GreaterOrEqual, "x", Reads::Bytes)),
            r#"(new."a""b")::text collate "C" >= 'x'"#
        );
        assert_eq!(
            narrowed(starts("a%")),
            r#"starts_with((format('%s', new.padded))::text collate "C", 'a%')"#
        );
        assert_eq!(narrowed(is_null(true)), r#"new."id" is not distinct from null"#);
        assert_eq!(narrowed(is_null(false)), r#"new."id" is distinct from null"#);
        let any =
            Narrowing::Any(vec![vec![is_null(true), one_of("id", &["1"])], vec![], vec![one_of("id", &[])]]);
        assert_eq!(
            narrowed(any),
            r#"((new."id" is not distinct from null and new."id" in ('1')) or true or (false))"#
        );
        assert_eq!(narrowed(Narrowing::Any(vec![])), "false");
    }

    #[test]
    fn no_text_leaves_its_quotes() {
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal(r"\'; drop table t; --"), r" E'\\''; drop table t; --'");
        assert_eq!(literal(r"$1 \"), r" E'$1 \\'");
        assert_eq!(quoted("a\"\0b"), r#""a""b""#);
        assert_eq!(narrowed(one_of("id", &["') or true --"])), r#"new."id" in (''') or true --')"#);
    }

    #[test]
    fn a_column_that_cannot_be_read_is_an_error() {
        for narrowing in [one_of("secret", &[]), compare("secret", Comparison::Less, "1", Reads::Bytes)] {
            assert_eq!(narrowed(Narrowing::Any(vec![vec![narrowing]])), "unknown secret");
        }
    }

    #[test]
    fn a_nul_excludes_no_row_that_could_match() {
        assert_eq!(narrowed(one_of("id", &["a\0", "b"])), r#"new."id" in ('b')"#);
        assert_eq!(narrowed(one_of("id", &["a\0"])), "false");
        assert_eq!(narrowed(compare("id", Comparison::Less, "a\0", Reads::Bytes)), "true");
        let starts = Narrowing::StartsWith { column: "id".into(), prefix: "a\0".into() };
        assert_eq!(narrowed(starts), "false");
    }
}
