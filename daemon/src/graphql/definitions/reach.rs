//! Which types a result may hold.

use apollo_compiler::Name;
use apollo_compiler::Schema;
use apollo_compiler::collections::{HashMap, IndexSet};
use apollo_compiler::schema::{ExtendedType, Implementers};

/// Every type that a value of type `from` can lead to, `from` itself among them.
pub(super) fn reachable<'a>(
    schema: &'a Schema,
    implementers: &'a HashMap<Name, Implementers>,
    from: &'a Name,
) -> IndexSet<&'a Name> {
    let mut reached = IndexSet::default();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if !reached.insert(name) {
            continue;
        }
        match schema.types.get(name) {
            Some(ExtendedType::Object(it)) => {
                open.extend(it.fields.values().map(|field| field.ty.inner_named_type()));
            }
            Some(ExtendedType::Interface(it)) => {
                open.extend(it.fields.values().map(|field| field.ty.inner_named_type()));
                open.extend(implementers.get(name).into_iter().flat_map(|it| &it.objects));
            }
            Some(ExtendedType::Union(it)) => open.extend(it.members.iter().map(|member| &member.name)),
            _ => {}
        }
    }
    reached
}
