//! Which tables and which documents the schema is made of.

use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::ast::{self, Document};
use apollo_compiler::validation::{DiagnosticList, Valid};

use super::directives::OnEvent;
use super::{bind::bind, directives, strip::strip};
use crate::graphql::bindings::{Bindings, MetadataChannels};
use crate::graphql::introspect::complete;
use crate::graphql::schema::SchemaError;
use crate::graphql::sdl::Draft;
use crate::source::catalog::{AttachedTable, Catalog, Definition};

/// A schema with its bindings.
#[derive(Debug)]
pub(in crate::graphql) struct Compiled {
    pub(in crate::graphql) schema: Valid<Schema>,
    pub(in crate::graphql) bindings: Bindings,
    /// Tables and documents that were left out, and why.
    pub(in crate::graphql) problems: Vec<String>,
}

/// What the operator decides about the tables.
#[derive(Debug)]
pub(in crate::graphql) struct Setting {
    /// Whose metadata is shown.
    pub(in crate::graphql) metadata: Arc<MetadataChannels>,
    /// Whether policies can be evaluated; without, tables with row security are left out.
    pub(in crate::graphql) row_security: bool,
}

impl Compiled {
    /// Any schema in SDL, whose fields are bound to nothing.
    pub(in crate::graphql) fn parse(sdl: &str) -> Result<Self, SchemaError> {
        let parsed = Schema::parse(sdl, "schema").map_err(|refused| first(&refused.errors))?;
        let schema = validated(parsed)?;
        Ok(Self { schema, bindings: Bindings::default(), problems: Vec::new() })
    }
}

/// Compiles the catalog; what makes it fail is left out and named.
pub(in crate::graphql) fn compile_sound(
    catalog: &Catalog,
    setting: &Setting,
) -> Result<Compiled, SchemaError> {
    let all: Vec<&Definition> = catalog.definitions.iter().collect();
    if let Ok(compiled) = compile(&catalog.tables, catalog, &all, setting) {
        return Ok(compiled);
    }
    let mut problems = Vec::new();
    let tables = sound_tables(catalog, setting, &mut problems);
    let documents = sound_documents(&tables, catalog, setting, &mut problems)?;
    let mut compiled = compile(&tables, catalog, &documents, setting)?;
    compiled.problems.append(&mut problems);
    Ok(compiled)
}

fn sound_tables(catalog: &Catalog, setting: &Setting, problems: &mut Vec<String>) -> Vec<AttachedTable> {
    if compile(&catalog.tables, catalog, &[], setting).is_ok() {
        return catalog.tables.clone();
    }
    let is_sound = |table: &&AttachedTable| match compile(&[(*table).clone()], catalog, &[], setting) {
        Ok(_) => true,
        Err(reason) => {
            problems.push(format!("table {} (type {:?}): {reason}", table.table, table.type_name));
            false
        }
    };
    catalog.tables.iter().filter(is_sound).cloned().collect()
}

/// The documents that compose, found by adding one at a time for as long as one more fits: they may use
/// each other's types in any order.
fn sound_documents<'a>(
    tables: &[AttachedTable],
    catalog: &'a Catalog,
    setting: &Setting,
    problems: &mut Vec<String>,
) -> Result<Vec<&'a Definition>, SchemaError> {
    let mut sound: Vec<&Definition> = Vec::new();
    let mut left: Vec<&Definition> = catalog.definitions.iter().collect();
    loop {
        let before = left.len();
        let mut refused = Vec::new();
        left.retain(|document| {
            sound.push(document);
            match compile(tables, catalog, &sound, setting) {
                Ok(_) => false,
                Err(reason) => {
                    sound.pop();
                    refused.push(format!("definitions {:?}: {reason}", document.name));
                    true
                }
            }
        });
        if left.is_empty() || left.len() == before {
            problems.append(&mut refused);
            return Ok(sound);
        }
    }
}

/// Closes the channels of documents that are left out: what they hid must not come to light because
/// they do not compose any more. Of one that does not even parse nobody knows what it hid.
fn close_left_out(catalog: &Catalog, documents: &[&Definition], bindings: &mut Bindings) {
    let left_out =
        catalog.definitions.iter().filter(|it| !documents.iter().any(|used| std::ptr::eq(*used, *it)));
    for document in left_out {
        let parsed = Document::parse(document.sdl.as_str(), &document.name);
        bindings.all_channels_closed |= parsed.is_err();
        let parsed = parsed.unwrap_or_else(|refused| refused.partial);
        for definition in &parsed.definitions {
            let fields = match definition {
                ast::Definition::ObjectTypeDefinition(it) => &it.fields,
                ast::Definition::ObjectTypeExtension(it) => &it.fields,
                _ => continue,
            };
            let events = fields.iter().filter_map(|field| OnEvent::of(&field.directives));
            bindings.redacted_channels.extend(events.map(|event| event.channel));
        }
    }
}

fn compile(
    tables: &[AttachedTable],
    catalog: &Catalog,
    documents: &[&Definition],
    setting: &Setting,
) -> Result<Compiled, SchemaError> {
    let Draft { mut bindings, problems, sdl } = Draft::of(tables, &setting.metadata, setting.row_security);
    // The channels of all tables are protected, those of tables left out too.
    let secured = catalog.tables.iter().filter(|table| table.row_security.is_some());
    bindings.secured_channels = secured.map(|table| table.channel.as_str().into()).collect();
    bindings.row_channels = catalog.tables.iter().map(|table| table.channel.as_str().into()).collect();
    let mut builder = Schema::builder().parse(sdl, "tables").parse(directives::SDL, "directives");
    if documents.iter().any(|document| document.sdl.contains("@oneOf")) {
        builder = builder.parse(directives::ONE_OF, "directives");
    }
    for document in documents {
        builder = builder.parse(document.sdl.as_str(), &document.name);
    }
    let built = builder.build().map_err(|refused| first(&refused.errors))?;
    let mut schema = built.validate().map_err(|refused| first(&refused.errors))?.into_inner();
    close_left_out(catalog, documents, &mut bindings);
    bind(&schema, &mut bindings).map_err(SchemaError::Invalid)?;
    strip(&mut schema);
    let schema = validated(schema)?;
    Ok(Compiled { schema, bindings, problems })
}

/// A schema with everything that introspection shows, if it is valid.
fn validated(mut schema: Schema) -> Result<Valid<Schema>, SchemaError> {
    complete(&mut schema);
    schema.validate().map_err(|refused| first(&refused.errors))
}

/// The first error with its place.
pub(super) fn first(errors: &DiagnosticList) -> SchemaError {
    let error = errors.iter().next().map(|diagnostic| diagnostic.to_json());
    SchemaError::Invalid(error.map_or_else(String::new, |error| match error.locations.first() {
        Some(at) => format!("{}:{}: {}", at.line, at.column, error.message),
        None => error.message,
    }))
}
