//! Compiles the selection of a subscription (section 6.3.2, CollectFields): fields merged in response
//! order, fragments resolved, conditions decided, names encoded. Nothing is left to decide per event.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::ast::Type;
use apollo_compiler::collections::{HashSet, IndexMap};
use apollo_compiler::executable::{
    ExecutableDocument, Field as Selected, Operation, Selection, SelectionSet, Value,
};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Name, Node};

use crate::graphql::bindings::{Bindings, Resolver, Root, Source};
use crate::graphql::coerce::Values;
use crate::graphql::document::condition;
use crate::graphql::error::{GraphQLError, Location};
use crate::graphql::labels::Labels;
use crate::graphql::places::Places;
use crate::graphql::project::ResultPlan;
use crate::graphql::scalar::Scalar;
use crate::graphql::viewer::Viewer;

/// A compiled subscription operation.
#[derive(Debug)]
pub(super) struct Plan {
    /// What it listens to.
    pub(super) root: Arc<Root>,
    /// The root field with its arguments.
    pub(super) field: Node<Selected>,
    /// How its results are made. Shared with every plan of equal results.
    pub(super) result: Arc<ResultPlan>,
    /// Fields that functions resolve, by the number in [`Source::Resolved`].
    pub(super) calls: Vec<CallSite>,
}

/// A field that a function resolves.
#[derive(Debug)]
pub(super) struct CallSite {
    /// The field with its arguments.
    pub(super) field: Node<Selected>,
    pub(super) resolver: Arc<Resolver>,
}

/// A field of a result.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Field {
    /// The response key as JSON, with its colon: `"total":`.
    pub(super) key: Box<[u8]>,
    /// Type and field for messages: `Order.total`.
    pub(super) coordinate: Box<str>,
    /// The places in the document that ask for it, as the JSON of `locations`.
    pub(super) locations: Box<[u8]>,
    /// What it is.
    pub(super) content: Content,
}

/// What a field holds.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Content {
    /// `__typename`, as JSON.
    TypeName(Box<[u8]>),
    /// A value of the event.
    Value(Source, Shape),
    /// A value that the subscriber may not see: null.
    Hidden,
}

/// The type of a value, with what is selected of it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Whether null may stand here; otherwise a null moves up (section 6.4.4).
    pub(super) nullable: bool,
    pub(super) kind: Kind,
}

/// What kind of value.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Leaf(Scalar),
    Enum(Arc<Labels>),
    List(Box<Shape>),
    Object(Box<[Field]>),
    /// An interface or a union: the fields of each type that a value may have.
    Abstract(Box<[Variant]>),
}

/// One of the types that a value of an interface or a union may have.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    pub(super) type_name: Box<str>,
    pub(super) fields: Box<[Field]>,
}

/// What compiling reads.
#[derive(Clone, Copy)]
pub(super) struct Compiler<'a> {
    pub(super) schema: &'a Schema,
    pub(super) bindings: &'a Bindings,
    pub(super) document: &'a ExecutableDocument,
    pub(super) places: &'a Places,
    pub(super) variables: &'a Values,
    /// For whom.
    pub(super) viewer: &'a Viewer,
    /// Largest result.
    pub(super) bytes_max: usize,
    /// Fields that may still be compiled: each level of interfaces and unions multiplies them.
    pub(super) fields_left: &'a Cell<usize>,
    /// Where the calls are gathered, in the order in which they are met.
    pub(super) calls: &'a RefCell<Vec<CallSite>>,
}

type Grouped<'a> = IndexMap<&'a Name, Vec<&'a Node<Selected>>>;

impl<'a> Compiler<'a> {
    /// Compiles a validated subscription.
    pub(super) fn compile(self, operation: &'a Operation) -> Result<Plan, GraphQLError> {
        let set = &operation.selection_set;
        let groups = self.collect(&set.ty, &[set]);
        let Some((_, selected)) = groups.first() else {
            return Err(GraphQLError::new("GRAPHQL_VALIDATION_FAILED", "The subscription selects no field"));
        };
        let first = selected[0];
        let Some(root) = self.bindings.root(&first.name) else { return Err(unknown_type(&first.name)) };
        let (source, row_events) = match &**root {
            Root::Events => (Source::Event, self.viewer.reads_all_channels),
            Root::Rows(rows) => (rows.value.clone(), true),
            Root::Published(published) => (published.value.clone(), false),
        };
        if self.hides(&set.ty, &first.name) {
            return Err(self.forbidden(&set.ty, selected, Vec::new()));
        }
        let path = Trail { above: None, key: first.response_key() };
        let field = self.field(&set.ty, selected, &path, |_| source.clone())?;
        Ok(Plan {
            root: root.clone(),
            field: first.clone(),
            result: Arc::new(ResultPlan { field, row_events, bytes_max: self.bytes_max }),
            calls: self.calls.take(),
        })
    }

    /// CollectFields over merged selection sets of one object type.
    fn collect(self, object: &Name, sets: &[&'a SelectionSet]) -> Grouped<'a> {
        let mut groups = Grouped::default();
        let mut visited = HashSet::default();
        for set in sets {
            self.collect_into(object, set, &mut visited, &mut groups);
        }
        groups
    }

    fn collect_into(
        self,
        object: &Name,
        set: &'a SelectionSet,
        visited: &mut HashSet<&'a Name>,
        groups: &mut Grouped<'a>,
    ) {
        for selection in set.selections.iter().filter(|selection| self.is_selected(selection)) {
            let (condition, set) = match selection {
                Selection::Field(field) => {
                    groups.entry(field.response_key()).or_default().push(field);
                    continue;
                }
                Selection::InlineFragment(inline) => (inline.type_condition.as_ref(), &inline.selection_set),
                Selection::FragmentSpread(spread) => {
                    if !visited.insert(&spread.fragment_name) {
                        continue;
                    }
                    let Some(fragment) = self.document.fragments.get(&spread.fragment_name) else { continue };
                    (Some(fragment.type_condition()), &fragment.selection_set)
                }
            };
            if condition.is_none_or(|condition| self.applies(condition, object)) {
                self.collect_into(object, set, visited, groups);
            }
        }
    }

    fn is_selected(self, selection: &Selection) -> bool {
        let decided = |name, otherwise| match condition(selection.directives(), name) {
            Some(Value::Boolean(value)) => *value,
            Some(Value::Variable(variable)) => self
                .variables
                .get(variable.as_str())
                .and_then(serde_json::Value::as_bool)
                .unwrap_or(otherwise),
            _ => otherwise,
        };
        !decided("skip", false) && decided("include", true)
    }

    /// DoesFragmentTypeApply: known here, because every object's type is.
    fn applies(self, condition: &Name, object: &Name) -> bool {
        condition == object || self.schema.is_subtype(condition, object)
    }

    /// Compiles the fields that share a response key; validation saw to it that they agree.
    fn field(
        self,
        parent: &Name,
        selected: &[&'a Node<Selected>],
        path: &Trail<'_>,
        source: impl FnOnce(&str) -> Source,
    ) -> Result<Field, GraphQLError> {
        let first = selected[0];
        let Some(left) = self.fields_left.get().checked_sub(1) else {
            let message =
                "The document selects too many fields, counted for every type that a value may have";
            let error = GraphQLError::new("TOO_MANY_FIELDS", message);
            return Err(GraphQLError { locations: self.locations(selected), ..error });
        };
        self.fields_left.set(left);
        let content = if first.name == "__typename" {
            Content::TypeName(format!("{:?}", parent.as_str()).into_bytes().into())
        } else {
            // The object's own definition: where an interface was selected from, it may promise more.
            let definition = self.schema.type_field(parent, &first.name);
            let ty = definition.map_or(first.ty(), |definition| &definition.ty);
            if self.bindings.denies(parent, &first.name, self.viewer.database_role.as_deref()) {
                // What PostgreSQL would do: the whole statement is refused.
                return Err(self.forbidden(parent, selected, path.segments()));
            }
            if !self.hides(parent, &first.name) {
                let sets: Vec<&SelectionSet> = selected.iter().map(|field| &field.selection_set).collect();
                let source = self.call(parent, first).unwrap_or_else(|| source(&first.name));
                Content::Value(source, self.shape(ty, &sets, path)?)
            } else if ty.is_non_null() {
                return Err(self.forbidden(parent, selected, path.segments()));
            } else {
                Content::Hidden
            }
        };
        Ok(Field {
            // A GraphQL name needs no escapes in JSON.
            key: format!("\"{}\":", first.response_key()).into_bytes().into(),
            coordinate: format!("{parent}.{}", first.name).into(),
            locations: serde_json::to_vec(&self.locations(selected)).unwrap_or_default().into(),
            content,
        })
    }

    fn locations(self, selected: &[&'a Node<Selected>]) -> Vec<Location> {
        selected.iter().flat_map(|field| self.places.at(field.location())).collect()
    }

    /// The place of a call, if a function resolves the field.
    fn call(self, parent: &Name, field: &Node<Selected>) -> Option<Source> {
        let resolver = self.bindings.resolver(parent, &field.name)?.clone();
        let mut calls = self.calls.borrow_mut();
        calls.push(CallSite { field: field.clone(), resolver });
        Some(Source::Resolved(calls.len() - 1))
    }

    fn hides(self, parent: &Name, field: &str) -> bool {
        self.bindings.hides(parent, field, self.viewer.role.as_deref())
    }

    /// A field that cannot be left out of the result and must not be in it.
    fn forbidden(
        self,
        parent: &Name,
        selected: &[&'a Node<Selected>],
        path: Vec<serde_json::Value>,
    ) -> GraphQLError {
        let message = format!("Field {parent}.{} is not visible to your role", selected[0].name);
        let path = if path.is_empty() { vec![selected[0].response_key().as_str().into()] } else { path };
        GraphQLError { locations: self.locations(selected), path, ..GraphQLError::new("FORBIDDEN", message) }
    }

    fn shape(self, ty: &Type, sets: &[&'a SelectionSet], path: &Trail<'_>) -> Result<Shape, GraphQLError> {
        let kind = match ty {
            Type::List(item) | Type::NonNullList(item) => Kind::List(Box::new(self.shape(item, sets, path)?)),
            Type::Named(name) | Type::NonNullNamed(name) => match self.schema.types.get(name) {
                Some(ExtendedType::Scalar(_)) => Kind::Leaf(Scalar::from_name(name).unwrap_or(Scalar::Json)),
                Some(ExtendedType::Enum(_)) => match self.bindings.labels(name) {
                    Some(labels) => Kind::Enum(labels.clone()),
                    None => return Err(unknown_type(name)),
                },
                Some(ExtendedType::Object(_)) => Kind::Object(self.object(name, sets, path)?),
                Some(ExtendedType::Interface(_) | ExtendedType::Union(_)) => {
                    Kind::Abstract(self.variants(name, sets, path)?)
                }
                Some(ExtendedType::InputObject(_)) | None => return Err(unknown_type(name)),
            },
        };
        Ok(Shape { nullable: !ty.is_non_null(), kind })
    }

    fn object(
        self,
        name: &Name,
        sets: &[&'a SelectionSet],
        path: &Trail<'_>,
    ) -> Result<Box<[Field]>, GraphQLError> {
        let groups = self.collect(name, sets);
        groups
            .iter()
            .map(|(key, selected)| {
                let path = Trail { above: Some(path), key };
                self.field(name, selected, &path, |it| self.bindings.source(name, it))
            })
            .collect()
    }

    fn variants(
        self,
        name: &Name,
        sets: &[&'a SelectionSet],
        path: &Trail<'_>,
    ) -> Result<Box<[Variant]>, GraphQLError> {
        let objects = self.schema.types.iter().filter_map(|(object, definition)| {
            (definition.is_object() && self.schema.is_subtype(name, object)).then_some(object)
        });
        objects
            .map(|object| {
                Ok(Variant { type_name: object.as_str().into(), fields: self.object(object, sets, path)? })
            })
            .collect()
    }
}

/// Where a field stands in the response, for errors: lists have no index yet.
struct Trail<'a> {
    above: Option<&'a Trail<'a>>,
    key: &'a Name,
}

impl Trail<'_> {
    fn segments(&self) -> Vec<serde_json::Value> {
        let mut segments = self.above.map(Trail::segments).unwrap_or_default();
        segments.push(self.key.as_str().into());
        segments
    }
}

/// Cannot happen in a valid schema; an error costs less than a panic.
fn unknown_type(name: &Name) -> GraphQLError {
    GraphQLError::new("INTERNAL_SERVER_ERROR", format!("{name} cannot be served by this schema"))
}

impl Plan {
    /// Estimated bytes, for the cache.
    pub(super) fn bytes(&self) -> usize {
        fn fields(content: &Content) -> usize {
            fn of(shape: &Shape) -> usize {
                match &shape.kind {
                    Kind::Leaf(_) | Kind::Enum(_) => 0,
                    Kind::List(item) => of(item),
                    Kind::Object(all) => all.iter().map(|field| fields(&field.content)).sum(),
                    Kind::Abstract(variants) => variants
                        .iter()
                        .flat_map(|variant| &variant.fields)
                        .map(|field| fields(&field.content))
                        .sum(),
                }
            }
            match content {
                Content::TypeName(_) | Content::Hidden => 1,
                Content::Value(_, shape) => 1 + of(shape),
            }
        }
        const BYTES_PER_FIELD: usize = 250;
        BYTES_PER_FIELD * (1 + self.calls.len() + fields(&self.result.field.content))
    }
}
