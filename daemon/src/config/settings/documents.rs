//! What documents may ask for.

use super::{GIB, KIB, Setting, setting};
use crate::graphql::limits::Limits;

/// In order.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "document.max_bytes",
        "Bytes of a document",
        "256 bytes to 1 MiB (1048576)",
        put!(c.schema.limits.document_bytes = v.count(256, KIB * KIB)),
    ),
    setting(
        "document.max_tokens",
        "Tokens of a document",
        "16 to 1000000",
        put!(c.schema.limits.tokens = v.count(16, 1_000_000)),
    ),
    setting(
        "document.max_depth",
        "Nesting of a document, fragments followed",
        "1 to 64",
        put!(c.schema.limits.depth = v.count(1, Limits::DEPTH_MAX as u64)),
    ),
    setting(
        "document.max_aliases",
        "Aliases of a document",
        "0 to 10000",
        put!(c.schema.limits.aliases = v.count(0, 10_000)),
    ),
    setting(
        "document.max_root_fields",
        "Root fields of an operation",
        "1 to 10000",
        put!(c.schema.limits.root_fields = v.count(1, 10_000)),
    ),
    setting(
        "document.max_fields",
        "Fields of a document, fragments followed",
        "1 to 1000000",
        put!(c.schema.limits.fields = v.count(1, 1_000_000)),
    ),
    setting(
        "document.max_list_items",
        "Items of a list argument",
        "1 to 100000",
        put!(c.schema.limits.list_items = v.count(1, 100_000)),
    ),
    setting(
        "document.max_filter_tests",
        "Comparisons in a filter",
        "1 to 10000",
        put!(c.schema.limits.filter_tests = v.count(1, 10_000)),
    ),
    setting(
        "document.cache_bytes",
        "Bytes that cached documents and plans may take, each",
        "1 MiB (1048576) to 16 GiB",
        put!(c.schema.limits.cache_bytes = v.count(KIB * KIB, 16 * GIB)),
    ),
    setting(
        "initial.max_rows",
        "Rows that a subscription may begin with",
        "1 to 1000000",
        put!(c.schema.limits.initial_rows = v.count(1, 1_000_000)),
    ),
    setting(
        "initial.max_bytes",
        "Bytes of the results that a subscription may begin with",
        "1 KiB (1024) to 1 GiB",
        put!(c.schema.limits.initial_bytes = v.count(KIB, GIB)),
    ),
    setting(
        "document.introspection",
        "Whether introspection is answered",
        "true or false",
        put!(c.schema.introspection = v.boolean()),
    ),
    setting(
        "document.introspection_by_role",
        "Whether a role is shown only the fields that it may see",
        "true or false",
        put!(c.schema.introspection_by_role = v.boolean()),
    ),
    setting(
        "document.allow_list_file",
        "JSON file with the only documents that may run, by their SHA-256",
        "the path of a JSON file",
        |c, v| {
            c.allow_list_file = Some(v.text()?.into());
            Ok(())
        },
    ),
];
