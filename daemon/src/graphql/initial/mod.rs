//! `@initial`: a subscription to a table that begins with the rows that are there.
//!
//! Here is who may ask for what; [`read`] makes results of rows, for all at once who ask for the same.

mod read;

use std::collections::BTreeSet;
use std::sync::Arc;

use apollo_compiler::ast::Directive;
use apollo_compiler::executable::ExecutableDocument;
use apollo_compiler::{Node, Schema as Compiled};

use crate::event::Operation;
use crate::graphql::bindings::{Root, RowRoot, Scope};
use crate::graphql::coerce::{self, Values};
use crate::graphql::error::GraphQLError;
use crate::graphql::filter::{self, RowFilter};
use crate::graphql::guard::columns;
use crate::graphql::places::Places;
use crate::graphql::plan::Plan;
use crate::graphql::schema::Schema;
use crate::hub::audience::Identity;
use crate::hub::initial::Beginning;
use crate::hub::project::Constraint;
use crate::source::rows::{Narrowing, Read};

pub(super) use read::Reading;

/// A subscription that may begin so.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) schema: &'a Schema,
    pub(super) compiled: &'a Compiled,
    pub(super) document: &'a ExecutableDocument,
    pub(super) places: &'a Places,
    pub(super) variables: &'a Values,
    pub(super) plan: &'a Plan,
    pub(super) constraints: &'a [Constraint],
    pub(super) filter: Option<&'a Arc<RowFilter>>,
    pub(super) identity: &'a Identity,
}

impl Asked<'_> {
    /// What reads the rows to begin with, if the root field asks for them.
    pub(super) fn beginning(self) -> Result<Option<Arc<dyn Beginning>>, GraphQLError> {
        let field = &self.plan.field;
        let mut below = field.selection_set.all_fields(self.document);
        if let Some(directive) = below.find_map(|below| below.directives.get("initial")) {
            let message = "@initial begins a subscription, so it stands on its root field only";
            return Err(self.refused(directive, "BAD_USER_INPUT", message));
        }
        let Some(directive) = field.directives.get("initial") else { return Ok(None) };
        let Some(definition) = self.compiled.directive_definitions.get("initial") else { return Ok(None) };
        let at = (field, directive);
        let values = coerce::directive(self.compiled, self.places, at, definition, self.variables)?;
        if values.get("if").and_then(serde_json::Value::as_bool) == Some(false) {
            return Ok(None);
        }
        let Root::Rows(root) = &*self.plan.root else {
            let message = "@initial reads the rows of a table, and this field listens to none";
            return Err(self.refused(directive, "BAD_USER_INPUT", message));
        };
        if root.operations.contains(&Operation::Delete) && root.operations.len() <= 2 {
            let message = "@initial does not go with deletions: a row that is there has not been deleted";
            return Err(self.refused(directive, "BAD_USER_INPUT", message));
        }
        let reading = self.reading(root).map_err(|message| self.refused(directive, "FORBIDDEN", message))?;
        Ok(Some(self.schema.shared.readings.intern(Arc::new(reading))))
    }

    fn reading(&self, root: &RowRoot) -> Result<Reading, &'static str> {
        let options = &self.schema.options;
        let rows = options.rows.clone().ok_or("The server cannot read tables, so there is no @initial")?;
        let caller = options.callers.caller(Scope::User, self.identity).map_err(|_| {
            "@initial reads the table as a role of the database, and you stand for none that the server \
             allows (settings resolve.roles and resolve.anonymous_role)"
        })?;
        let mut columns: BTreeSet<Box<str>> = self.constraints.iter().map(|it| it.field.clone()).collect();
        if let Some(filter) = self.filter {
            filter.columns(&mut columns);
        }
        columns::of(&self.plan.result.field, &mut columns);
        let read = Read { table: root.owner.table, caller, conditions: self.conditions(root) };
        Ok(Reading {
            rows,
            read,
            columns: columns.into_iter().collect(),
            constraints: self.constraints.to_vec(),
            filter: self.filter.cloned(),
            result: self.plan.result.clone(),
            tenant: self.identity.tenant.clone(),
            user: self.identity.user.clone(),
            admin: self.identity.admin,
            rows_max: options.limits.initial_rows,
            bytes_max: options.limits.initial_bytes,
            metrics: options.initial_metrics.clone(),
            waiting: read::Waiting::default(),
        })
    }

    fn conditions(&self, root: &RowRoot) -> Vec<Narrowing> {
        let filter_type = &root.filter.filter_type;
        let mut all = filter::narrow(filter_type, self.constraints, self.filter.map(|filter| &**filter));
        if !self.identity.admin {
            let parts =
                [(&root.owner.tenant, &self.identity.tenant), (&root.owner.user, &self.identity.user)];
            all.extend(parts.into_iter().filter_map(|(column, value)| {
                let column = column.as_ref()?;
                filter::owned_by(&column.column, column.comparable.as_ref(), value.as_deref())
            }));
        }
        all
    }

    fn refused(&self, directive: &Node<Directive>, code: &'static str, message: &str) -> GraphQLError {
        GraphQLError {
            locations: self.places.at(directive.location()),
            path: vec![self.plan.field.response_key().as_str().into()],
            ..GraphQLError::new(code, message)
        }
    }
}
