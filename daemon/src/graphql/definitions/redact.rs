//! The schema as a role sees it: without the fields that `@visibleTo` hides from it, and without what only
//! leads to them.
//!
//! A field that an interface declares stays while any implementer shows it: the interface's name for it is
//! public anyway, and its value stays hidden.

use apollo_compiler::Name;
use apollo_compiler::Schema;
use apollo_compiler::ast::FieldDefinition;
use apollo_compiler::collections::{HashSet, IndexMap, IndexSet};
use apollo_compiler::schema::{Component, ComponentName, ExtendedType};
use apollo_compiler::validation::Valid;

use super::compose::first;
use crate::graphql::bindings::{Bindings, PublishedRoot, Root};
use crate::graphql::schema::SchemaError;

type Fields = IndexMap<Name, Component<FieldDefinition>>;

/// Takes out of a schema what a role may not know of; no role at all is one that no field names.
///
/// # Errors
///
/// If what is left is not valid.
pub(in crate::graphql) fn redact(
    full: &Schema,
    bindings: &Bindings,
    role: Option<&str>,
) -> Result<Valid<Schema>, SchemaError> {
    let mut schema = full.clone();
    remove_arguments(&mut schema, bindings, role);
    let hidden = hidden_fields(full, bindings, role);
    for (name, definition) in &mut schema.types {
        retain_fields(definition, |field, _| !hidden.contains(&(name.clone(), field.clone())));
    }
    remove_empty(&mut schema);
    let (before, after) = (reached(full), reached(&schema));
    schema.types.retain(|name, definition| {
        definition.is_built_in() || after.contains(name) || !before.contains(name)
    });
    schema.validate().map_err(|refused| first(&refused.errors))
}

/// Objects with fields that are hidden, and the interfaces that declare nothing else by that name.
fn hidden_fields(schema: &Schema, bindings: &Bindings, role: Option<&str>) -> HashSet<(Name, Name)> {
    let mut hidden = HashSet::default();
    for (name, definition) in &schema.types {
        let ExtendedType::Object(object) = definition else { continue };
        for (field, definition) in &object.fields {
            let hides = bindings.hides(name, field, role)
                || name == "Subscription" && needs_hidden(definition, bindings, role);
            if hides {
                hidden.insert((name.clone(), field.clone()));
            }
        }
    }
    let implementers = schema.implementers_map();
    let interfaces = || {
        schema.types.iter().filter_map(|(name, definition)| {
            let ExtendedType::Interface(interface) = definition else { return None };
            Some((interface, &implementers.get(name)?.objects))
        })
    };
    // What one interface keeps on an object, another interface of that object has to keep, too.
    loop {
        let before = hidden.len();
        for (interface, objects) in interfaces() {
            for field in interface.fields.keys() {
                let at = |object: &Name| (object.clone(), field.clone());
                if objects.iter().any(|object| !hidden.contains(&at(object))) {
                    objects.iter().for_each(|object| {
                        hidden.remove(&at(object));
                    });
                }
            }
        }
        if hidden.len() == before {
            break;
        }
    }
    for (interface, objects) in interfaces().filter(|(_, objects)| !objects.is_empty()) {
        for field in interface.fields.keys() {
            if objects.iter().all(|object| hidden.contains(&(object.clone(), field.clone()))) {
                hidden.insert((interface.name.clone(), field.clone()));
            }
        }
    }
    hidden
}

/// Whether a root field cannot be used without asking for a hidden value.
fn needs_hidden(field: &FieldDefinition, bindings: &Bindings, role: Option<&str>) -> bool {
    let root = bindings.root(&field.name);
    let Some(Root::Published(root)) = root.map(|root| &**root) else { return false };
    field.arguments.iter().any(|it| it.is_required() && asks_for_hidden(root, &it.name, bindings, role))
}

/// Whether an argument asks for the value of a hidden field.
fn asks_for_hidden(root: &PublishedRoot, argument: &str, bindings: &Bindings, role: Option<&str>) -> bool {
    let mut matched = root.matches.iter().filter(|it| *it.argument == *argument);
    matched.any(|it| root.objects.iter().any(|object| bindings.hides(object, &it.field, role)))
}

fn remove_arguments(schema: &mut Schema, bindings: &Bindings, role: Option<&str>) {
    let Some(ExtendedType::Object(subscription)) = schema.types.get_mut("Subscription") else { return };
    for (name, field) in &mut subscription.make_mut().fields {
        let Some(Root::Published(root)) = bindings.root(name).map(|root| &**root) else { continue };
        if field.arguments.iter().any(|it| asks_for_hidden(root, &it.name, bindings, role)) {
            field.make_mut().arguments.retain(|it| !asks_for_hidden(root, &it.name, bindings, role));
        }
    }
}

/// Removes types without fields or members, and what leads to them: GraphQL has no empty types.
fn remove_empty(schema: &mut Schema) {
    loop {
        let is_empty = |definition: &ExtendedType| match definition {
            ExtendedType::Object(it) => it.fields.is_empty(),
            ExtendedType::Interface(it) => it.fields.is_empty(),
            ExtendedType::Union(it) => it.members.is_empty(),
            _ => false,
        };
        let empty = schema.types.iter().filter(|(_, definition)| is_empty(definition));
        let empty: HashSet<Name> = empty.map(|(name, _)| name.clone()).collect();
        if empty.is_empty() {
            return;
        }
        schema.types.retain(|name, _| !empty.contains(name));
        for definition in schema.types.values_mut() {
            retain_fields(definition, |_, field| !empty.contains(field.ty.inner_named_type()));
            retain_names(definition, |name| !empty.contains(name));
        }
    }
}

/// Keeps some fields of an object or interface, and copies it only if there is any other.
fn retain_fields(definition: &mut ExtendedType, keep: impl Fn(&Name, &FieldDefinition) -> bool) {
    let loses = |fields: &Fields| fields.iter().any(|(name, field)| !keep(name, field));
    let fields = match definition {
        ExtendedType::Object(it) if loses(&it.fields) => &mut it.make_mut().fields,
        ExtendedType::Interface(it) if loses(&it.fields) => &mut it.make_mut().fields,
        _ => return,
    };
    fields.retain(|name, field| keep(name, field));
}

/// Keeps some interfaces of an object or interface, or members of a union.
fn retain_names(definition: &mut ExtendedType, keep: impl Fn(&Name) -> bool) {
    let loses = |names: &IndexSet<ComponentName>| names.iter().any(|it| !keep(&it.name));
    let names = match definition {
        ExtendedType::Object(it) if loses(&it.implements_interfaces) => {
            &mut it.make_mut().implements_interfaces
        }
        ExtendedType::Interface(it) if loses(&it.implements_interfaces) => {
            &mut it.make_mut().implements_interfaces
        }
        ExtendedType::Union(it) if loses(&it.members) => &mut it.make_mut().members,
        _ => return,
    };
    names.retain(|it| keep(&it.name));
}

/// Every type that a document can come to, types of arguments among them.
fn reached(schema: &Schema) -> HashSet<Name> {
    let implementers = schema.implementers_map();
    let mut reached = HashSet::default();
    let roots = schema.schema_definition.iter_root_operations();
    let mut open: Vec<&Name> = roots.map(|(_, root)| &root.name).collect();
    while let Some(name) = open.pop() {
        if !reached.insert(name.clone()) {
            continue;
        }
        let fields = match schema.types.get(name) {
            Some(ExtendedType::Object(it)) => {
                open.extend(it.implements_interfaces.iter().map(|it| &it.name));
                &it.fields
            }
            Some(ExtendedType::Interface(it)) => {
                open.extend(it.implements_interfaces.iter().map(|it| &it.name));
                open.extend(implementers.get(name).into_iter().flat_map(|it| it.iter()));
                &it.fields
            }
            Some(ExtendedType::Union(it)) => {
                open.extend(it.members.iter().map(|it| &it.name));
                continue;
            }
            Some(ExtendedType::InputObject(it)) => {
                open.extend(it.fields.values().map(|field| field.ty.inner_named_type()));
                continue;
            }
            _ => continue,
        };
        for field in fields.values() {
            open.push(field.ty.inner_named_type());
            open.extend(field.arguments.iter().map(|argument| argument.ty.inner_named_type()));
        }
    }
    reached
}
