//! The schema: immutable, shared, replaced as a whole when the attached tables change.

use std::sync::Arc;

use apollo_compiler::Name;
use bytes::Bytes;

use crate::graphql::bindings::{Bindings, MetadataChannels};
use crate::graphql::cache::Cache;
use crate::graphql::callers::CallerRoles;
use crate::graphql::definitions::{Compiled, Setting, compile_sound};
use crate::graphql::document::Document;
use crate::graphql::error::GraphQLError;
use crate::graphql::faces::{Face, Faces};
use crate::graphql::filter::RowFilter;
use crate::graphql::guard::{Desk, Guarded};
use crate::graphql::initial::Reading;
use crate::graphql::intern::Interner;
use crate::graphql::limits::Limits;
use crate::graphql::persisted::{AllowList, DocumentHash};
use crate::graphql::plan::Plan;
use crate::graphql::project::ResultPlan;
use crate::graphql::resolve::{Answers, Resolution};
use crate::graphql::viewer::Viewer;
use crate::hub::project::Topic;
use crate::metrics::{InitialMetrics, RowSecurityMetrics};
use crate::source::catalog::Catalog;
use crate::source::functions::Functions;
use crate::source::policies::Policies;
use crate::source::rows::Rows;

/// What the operator decides about the schema.
#[derive(Debug, Clone)]
pub struct SchemaOptions {
    /// What a document may cost.
    pub limits: Limits,
    /// Whether `__schema` and `__type` are answered.
    pub introspection: bool,
    /// Whether a role is shown only what it may see: other fields do not exist for it.
    pub introspection_by_role: bool,
    /// Channels whose metadata subscribers may see; `*` stands for all of them.
    pub metadata_channels: Vec<String>,
    /// Roles that may read channels that tables feed, or whose custom types hide fields, through
    /// `events`, besides admin roles. It bypasses the choice of columns and the hiding.
    pub events_roles: Vec<String>,
    /// Whether tables with row security are offered.
    pub row_security: bool,
    /// What evaluates their policies; without it nobody may subscribe to them.
    pub policies: Option<Arc<dyn Policies>>,
    /// What counts that.
    pub policy_metrics: RowSecurityMetrics,
    /// The documents that may run; nothing: every document may.
    pub allow_list: Option<Arc<AllowList>>,
    /// What calls functions; without it the fields that need one are refused.
    pub functions: Option<Arc<dyn Functions>>,
    /// On whose behalf.
    pub callers: CallerRoles,
    /// What reads current rows; without it `@initial` is refused.
    pub rows: Option<Arc<dyn Rows>>,
    /// What counts that.
    pub initial_metrics: InitialMetrics,
}

impl Default for SchemaOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            introspection: true,
            introspection_by_role: false,
            metadata_channels: Vec::new(),
            events_roles: Vec::new(),
            row_security: false,
            policies: None,
            policy_metrics: RowSecurityMetrics::default(),
            allow_list: None,
            functions: None,
            callers: CallerRoles::default(),
            rows: None,
            initial_metrics: InitialMetrics::default(),
        }
    }
}

/// Why there is no schema. Tables and definitions cannot cause it: what cannot be served is left out.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// What every schema has is not valid.
    #[error("the schema is not valid: {0}")]
    Invalid(String),
}

/// What clients can subscribe to, and the plans made for them so far.
#[derive(Debug)]
pub struct Schema {
    pub(super) options: SchemaOptions,
    full: Face,
    by_role: Faces,
    pub(super) bindings: Bindings,
    pub(super) documents: Cache<DocumentKey, Arc<Document>>,
    pub(super) plans: Cache<PlanKey, Arc<Plan>>,
    /// Results of queries by document, operation and variables: they change with the schema only, and
    /// introspection of a large one takes a while.
    pub(super) results: Cache<(u64, Option<Name>, String), Bytes>,
    pub(super) shared: Arc<Shared>,
    version: u64,
    problems: Vec<String>,
}

/// What subscriptions share, those from before a change of the schema among them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Documents of live subscriptions.
    pub(super) queries: Interner<str>,
    pub(super) topics: Interner<[Topic]>,
    pub(super) results: Interner<ResultPlan>,
    pub(super) filters: Interner<RowFilter>,
    pub(super) guards: Interner<Guarded>,
    /// Where the checks of policies wait, if anybody makes them.
    pub(super) desk: Option<Arc<Desk>>,
    pub(super) resolutions: Interner<Resolution>,
    pub(super) answers: Arc<Answers>,
    pub(super) readings: Interner<Reading>,
}

/// What a validated document depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DocumentKey {
    pub(super) hash: DocumentHash,
    /// The role whose face it was validated for, where faces differ.
    pub(super) role: Option<Box<str>>,
}

/// What a plan depends on; the schema's version is the cache's own.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    pub(super) document: u64,
    pub(super) operation: Option<Name>,
    /// Values of the variables in `@skip` and `@include`, in the order of their names.
    pub(super) conditions: Vec<Option<bool>>,
    pub(super) viewer: Viewer,
}

impl Schema {
    /// Derives the schema from the attached tables and composes it with the definitions. What cannot be
    /// served is left out and named in [`Schema::problems`].
    pub fn build(catalog: &Catalog, options: SchemaOptions) -> Result<Self, SchemaError> {
        let new = |policies: &Arc<dyn Policies>| Desk::new(policies.clone(), options.policy_metrics.clone());
        let desk = options.policies.as_ref().map(new).map(Arc::new);
        Self::build_version(catalog, options, 1, Arc::new(Shared { desk, ..Shared::default() }))
    }

    /// Any other schema, to check documents against: its subscription fields listen to nothing.
    pub fn parse(sdl: &str, options: SchemaOptions) -> Result<Self, SchemaError> {
        let compiled = Compiled::parse(sdl)?;
        Ok(Self::of(options, 1, Arc::default(), compiled))
    }

    /// The schema after the attached tables have changed: the next version, with the same options.
    /// Results that stay the same keep their projection, so that subscriptions from before and after
    /// the change still share it.
    pub fn rebuild(&self, catalog: &Catalog) -> Result<Self, SchemaError> {
        Self::build_version(catalog, self.options.clone(), self.version + 1, self.shared.clone())
    }

    fn build_version(
        catalog: &Catalog,
        options: SchemaOptions,
        version: u64,
        shared: Arc<Shared>,
    ) -> Result<Self, SchemaError> {
        let setting = Setting {
            metadata: Arc::new(MetadataChannels::new(&options.metadata_channels)),
            row_security: options.row_security,
        };
        let compiled = compile_sound(catalog, &setting)?;
        Ok(Self::of(options, version, shared, compiled))
    }

    fn of(
        options: SchemaOptions,
        version: u64,
        shared: Arc<Shared>,
        Compiled { schema: compiled, bindings, problems }: Compiled,
    ) -> Self {
        Self {
            documents: Cache::new(options.limits.cache_bytes),
            plans: Cache::new(options.limits.cache_bytes),
            results: Cache::new(options.limits.cache_bytes),
            by_role: Faces::new(&bindings),
            bindings,
            problems,
            options,
            full: Face::new(compiled),
            shared,
            version,
        }
    }

    /// Number of the schema, from 1; grows with each [`Schema::rebuild`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The schema in SDL.
    pub fn sdl(&self) -> String {
        self.full.compiled.to_string()
    }

    /// The schema in SDL as a role may see it.
    ///
    /// # Errors
    ///
    /// If nothing valid is left for it.
    pub fn sdl_of(&self, role: &str) -> Result<String, SchemaError> {
        let role = Some(role.into()).filter(|_| self.bindings.names_role(role));
        Ok(self.by_role.of(&role, &self.full, &self.bindings)?.compiled.to_string())
    }

    /// What a viewer's documents are validated for and executed on.
    pub(super) fn face(&self, viewer: &Viewer) -> Result<&Face, GraphQLError> {
        if !self.options.introspection_by_role {
            return Ok(&self.full);
        }
        self.by_role.of(&viewer.role, &self.full, &self.bindings).map_err(|_| {
            let message = "There is no schema for your role; this is a defect of the server's definitions";
            GraphQLError::new("INTERNAL_SERVER_ERROR", message)
        })
    }

    /// Tables and definitions that are left out, and why: for the log and for `tidings check`.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}
