//! Who may subscribe to a table with row security, and to which of its columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Desk, Guarded, Subject, View, columns};
use crate::graphql::filter::RowFilter;
use crate::graphql::project::ResultPlan;
use crate::hub::project::Constraint;
use crate::source::catalog::RowSecurity;
use crate::source::functions::Caller;

/// What a subscription asks of a table.
pub(in crate::graphql) struct Asked<'a> {
    pub(in crate::graphql) security: &'a RowSecurity,
    pub(in crate::graphql) result: &'a Arc<ResultPlan>,
    pub(in crate::graphql) constraints: &'a [Constraint],
    pub(in crate::graphql) filter: Option<&'a Arc<RowFilter>>,
}

impl Asked<'_> {
    /// The result as the caller may see it.
    ///
    /// # Errors
    ///
    /// Code and message, if the caller may not see the table, or a column that decides about events.
    pub(in crate::graphql) fn guard(
        self,
        caller: Caller,
        desk: &Arc<Desk>,
    ) -> Result<Guarded, (&'static str, String)> {
        let forbidden = |message: &str| Err(("FORBIDDEN", message.to_owned()));
        let Some(hidden) = self.security.hidden_from(&caller.role) else {
            return forbidden("Your role may not select from this table");
        };
        let mut deciding: BTreeSet<Box<str>> = self.constraints.iter().map(|it| it.field.clone()).collect();
        if let Some(filter) = self.filter {
            filter.columns(&mut deciding);
        }
        // To learn whether a value is the one that was asked for is to learn the value.
        if let Some(column) = hidden.iter().find(|column| deciding.contains(&***column)) {
            return forbidden(&format!(
                "Your role may not select column {column:?}, so it may not filter by it"
            ));
        }
        let filter = self.filter.filter(|filter| filter.looks_at_old()).cloned();
        let old = filter.is_some() || columns::show_old(&self.result.field);
        let mut columns = deciding;
        columns::of(&self.result.field, &mut columns);
        Ok(Guarded {
            subject: Subject { table: self.security.table, caller },
            view: Arc::new(View { columns: columns.into_iter().collect(), old, filter }),
            result: self.result.clone(),
            desk: desk.clone(),
        })
    }
}
