//! From a request to what the hub or the client gets: the path of a subscription, a line a stage.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use apollo_compiler::Node;
use apollo_compiler::executable::{ExecutableDocument, Operation};
use apollo_compiler::validation::Valid;
use bytes::Bytes;

use crate::graphql::bindings::{Root, RowRoot, Scope};
use crate::graphql::calls::Calls;
use crate::graphql::coerce::{self, Values};
use crate::graphql::document::{Document, condition_variables};
use crate::graphql::error::GraphQLError;
use crate::graphql::faces::Face;
use crate::graphql::filter::RowFilter;
use crate::graphql::guard::{Asked, Guarded};
use crate::graphql::initial;
use crate::graphql::interest;
use crate::graphql::persisted;
use crate::graphql::plan::{Compiler, Plan};
use crate::graphql::query;
use crate::graphql::request::{Kept, Request};
use crate::graphql::schema::{DocumentKey, PlanKey, Schema};
use crate::graphql::throttle;
use crate::graphql::viewer::Viewer;
use crate::hub::audience::Identity;
use crate::hub::project::{Constraint, Interest, Predicate};
use crate::hub::promise::Deferral;
use crate::source::functions::Call;

pub use crate::graphql::document::OperationKind;

/// The answer to a request.
#[derive(Debug)]
pub enum Prepared {
    /// A query: its complete result, with the errors of its execution within.
    Query(Bytes),
    /// A subscription, ready for the hub.
    Subscription(Interest),
    /// Refused before execution; at least one error.
    Refused(Vec<GraphQLError>),
}

/// The operation of a valid document that a request means, and its variables.
struct Checked<'d> {
    kind: OperationKind,
    executable: &'d Valid<ExecutableDocument>,
    operation: &'d Node<Operation>,
    variables: Values,
}

impl Schema {
    /// What the request's operation is, without executing anything. A document whose operation is
    /// known may still be refused by [`Schema::prepare`]; the work done here is not done again there.
    pub fn operation_kind(
        &self,
        request: &Request,
        identity: &Identity,
    ) -> Result<OperationKind, Vec<GraphQLError>> {
        let viewer = self.viewer(identity);
        let face = self.face(&viewer).map_err(|error| vec![error])?;
        let document = self.document(request, face, &viewer)?;
        document.select(request.operation_name.as_deref()).map(|head| head.kind).map_err(|error| vec![error])
    }

    /// Checks a request and compiles or executes it. Pure but for the caches.
    pub fn prepare(&self, request: &Request, identity: &Identity) -> Prepared {
        self.prepare_authorized(request, identity).0
    }

    /// Checks a request of somebody without a role, without compiling or executing it: syntax, limits, validation, the choice of
    /// the operation, variables, and the arguments of a subscription.
    pub fn check(&self, request: &Request) -> Result<(), Vec<GraphQLError>> {
        let viewer = self.viewer(&Identity::default());
        let face = self.face(&viewer).map_err(|error| vec![error])?;
        let document = self.document(request, face, &viewer)?;
        let checked = check_document(face, &document, request)?;
        let root = checked.operation.root_fields(checked.executable).next();
        if let (OperationKind::Subscription, Some(field)) = (checked.kind, root) {
            coerce::arguments(&face.compiled, &document.places, field, &checked.variables)
                .map_err(|error| vec![error])?;
        }
        Ok(())
    }

    /// The same as [`Schema::prepare`], with the call that has to be answered with yes before the
    /// subscription begins.
    pub fn prepare_authorized(&self, request: &Request, identity: &Identity) -> (Prepared, Option<Call>) {
        self.try_prepare(request, identity).unwrap_or_else(|errors| (Prepared::Refused(errors), None))
    }

    /// What to keep of the request of a live subscription, for the next change of the schema: a client may send
    /// megabytes that no operation declares.
    pub fn keep(&self, mut request: Request, identity: &Identity) -> Kept {
        self.trim(&mut request, identity);
        Kept::new(request, |query| self.shared.queries.intern(query))
    }

    /// Drops what nobody has a use for.
    fn trim(&self, request: &mut Request, identity: &Identity) {
        let viewer = self.viewer(identity);
        let Ok(document) = self.face(&viewer).map(|face| self.document(request, face, &viewer)) else {
            return;
        };
        let Ok(document) = document else { return };
        let head = document.select(request.operation_name.as_deref());
        let operation = head.ok().and_then(|head| document.operation(head));
        if let (Some(operation), Some(variables)) = (operation, &mut request.variables) {
            variables.retain(|name, _| operation.variables.iter().any(|declared| *declared.name == **name));
        }
        if let Some(extensions) = &mut request.extensions {
            extensions.retain(|name, _| name == persisted::EXTENSION);
        }
    }

    /// Gives an error about a valid request its place: the root field.
    pub fn at_root(&self, request: &Request, identity: &Identity, error: GraphQLError) -> GraphQLError {
        let viewer = self.viewer(identity);
        let place = || {
            let face = self.face(&viewer).ok()?;
            let document = self.document(request, face, &viewer).ok()?;
            let checked = check_document(face, &document, request).ok()?;
            let field = checked.operation.root_fields(checked.executable).next()?;
            Some((document.places.at(field.location()), field.response_key().to_string()))
        };
        match place() {
            Some((locations, key)) => GraphQLError { locations, path: vec![key.as_str().into()], ..error },
            None => error,
        }
    }

    fn try_prepare(
        &self,
        request: &Request,
        identity: &Identity,
    ) -> Result<(Prepared, Option<Call>), Vec<GraphQLError>> {
        let viewer = self.viewer(identity);
        let one = |error: GraphQLError| vec![error];
        let face = self.face(&viewer).map_err(one)?;
        let document = self.document(request, face, &viewer)?;
        let checked = check_document(face, &document, request)?;
        let Checked { kind, executable, operation, variables } = checked;
        if kind == OperationKind::Query {
            let result = query::execute(self, face, &document, executable, operation, variables);
            return result.map(|result| (Prepared::Query(result), None)).map_err(one);
        }
        let (schema, places) = (&face.compiled, &document.places);
        let plan = self.plan(face, &document, operation, executable, &variables, &viewer).map_err(one)?;
        let arguments = coerce::arguments(schema, places, &plan.field, &variables).map_err(one)?;
        let route = interest::route(&plan, &arguments, &self.bindings, &self.options.limits, &viewer)
            .map_err(|error| vec![interest::at_root(error, &plan, places)])?;
        let throttle = throttle::of(schema, executable, places, &plan.field, &variables, &plan.result.field)
            .map_err(one)?;
        let calls = Calls { schema: self, face, places, variables: &variables, identity };
        let deferral = calls.deferral(&plan).map_err(one)?;
        let authorization = calls.authorization(&plan).map_err(one)?;
        let filter = route.residual.map(|filter| self.shared.filters.intern(Arc::new(filter)));
        let guard = self.guard(&plan, &route.constraints, filter.as_ref(), identity);
        let guard = guard.map_err(|error| vec![interest::at_root(error, &plan, places)])?;
        let asked = initial::Asked {
            schema: self,
            compiled: schema,
            document: executable,
            places,
            variables: &variables,
            plan: &plan,
            constraints: &route.constraints,
            filter: filter.as_ref(),
            identity,
        };
        let beginning = asked.beginning().map_err(one)?;
        let interest = Interest {
            topics: self.shared.topics.intern(route.topics.into()),
            constraints: without_spare_room(route.constraints),
            residual: filter.map(|filter| filter as Arc<dyn Predicate>),
            projection: plan.result.clone(),
            // Fields of tables are not resolved by functions, so there is one of them at most.
            deferral: guard.map(|guard| guard as Arc<dyn Deferral>).or(deferral),
            throttle: throttle.map(Box::new),
            beginning,
        };
        Ok((Prepared::Subscription(interest), authorization))
    }

    /// What keeps the events of a table with row security from those who may not see them.
    fn guard(
        &self,
        plan: &Plan,
        constraints: &[Constraint],
        filter: Option<&Arc<RowFilter>>,
        identity: &Identity,
    ) -> Result<Option<Arc<Guarded>>, (&'static str, String)> {
        let Root::Rows(RowRoot { row_security: Some(security), .. }) = &*plan.root else { return Ok(None) };
        let forbidden = |message: &str| ("FORBIDDEN", message.to_owned());
        let desk = self.shared.desk.as_ref();
        let desk = desk.ok_or_else(|| forbidden("The server cannot evaluate the policies of this table"))?;
        let caller = self.options.callers.caller(Scope::User, identity).map_err(|_| {
            forbidden("Your role may not see this table: it stands for no role of the database")
        })?;
        let asked = Asked { security, result: &plan.result, constraints, filter };
        Ok(Some(self.shared.guards.intern(Arc::new(asked.guard(caller, desk)?))))
    }

    fn viewer(&self, identity: &Identity) -> Viewer {
        Viewer::of(identity, &self.bindings, &self.options)
    }

    /// The document, parsed by whoever sent it first.
    fn document(
        &self,
        request: &Request,
        face: &Face,
        viewer: &Viewer,
    ) -> Result<Arc<Document>, Vec<GraphQLError>> {
        let named = persisted::document_of(request, self.options.allow_list.as_deref(), &self.options.limits);
        let (hash, text) = named.map_err(|error| vec![error])?;
        let role = viewer.role.clone().filter(|_| self.options.introspection_by_role);
        let key = DocumentKey { hash, role };
        if let Some(document) = self.documents.get(&key) {
            return Ok(document);
        }
        // A tree takes some 40 times its text, by measurement.
        let bytes = 1_024 + 40 * text.len();
        let (schema, implementers) = (&face.compiled, &face.implementers);
        let document = Document::parse(text, schema, implementers, &self.options.limits)?;
        Ok(self.documents.insert(key, Arc::new(document), bytes))
    }

    /// The plan, compiled by whoever asked first.
    fn plan(
        &self,
        face: &Face,
        document: &Document,
        operation: &Operation,
        executable: &ExecutableDocument,
        variables: &Values,
        viewer: &Viewer,
    ) -> Result<Arc<Plan>, GraphQLError> {
        let conditions = condition_variables(executable, operation).into_iter();
        let key = PlanKey {
            document: document.id,
            operation: operation.name.clone(),
            conditions: conditions
                .map(|name| variables.get(name).and_then(serde_json::Value::as_bool))
                .collect(),
            viewer: viewer.clone(),
        };
        if let Some(plan) = self.plans.get(&key) {
            return Ok(plan);
        }
        let calls = RefCell::default();
        let fields_left = Cell::new(self.options.limits.fields);
        let compiler = Compiler {
            schema: &face.compiled,
            bindings: &self.bindings,
            document: executable,
            places: &document.places,
            variables,
            viewer,
            bytes_max: self.options.limits.result_bytes,
            fields_left: &fields_left,
            calls: &calls,
        };
        let mut plan = compiler.compile(operation)?;
        plan.result = self.shared.results.intern(plan.result);
        let bytes = plan.bytes();
        Ok(self.plans.insert(key, Arc::new(plan), bytes))
    }
}

fn check_document<'d>(
    face: &Face,
    document: &'d Document,
    request: &Request,
) -> Result<Checked<'d>, Vec<GraphQLError>> {
    // Validation concerns the whole document, so its errors come before the choice (section 5).
    let executable = document.executable().map_err(<[GraphQLError]>::to_vec)?;
    let head = document.select(request.operation_name.as_deref()).map_err(|error| vec![error])?;
    let Some(operation) = document.operation(head) else {
        return Err(vec![GraphQLError::new("OPERATION_RESOLUTION_FAILURE", "The operation is not defined")]);
    };
    let variables =
        coerce::variables(&face.compiled, &document.places, operation, request.variables.as_ref())?;
    Ok(Checked { kind: head.kind, executable, operation, variables })
}

/// The same, for who keeps them as long as a subscription lives.
fn without_spare_room(mut constraints: Vec<Constraint>) -> Vec<Constraint> {
    constraints.iter_mut().for_each(|constraint| constraint.values.shrink_to_fit());
    constraints.shrink_to_fit();
    constraints
}
