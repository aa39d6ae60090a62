//! Whether a type has all that its interfaces promise (section 3.6.2).

use std::collections::{HashMap, HashSet};

use super::compose::find_repeated;
use super::directives::find;
use super::graph::{Entry, Graph, Kind, is_required, written};
use super::parse::{Field, InputValue};
use super::problem::{Place, Problems};

pub(super) fn check<'a>(graph: &Graph<'a>, entry: &Entry<'a>, problems: &mut Problems) {
    let declared: HashSet<&str> = entry.interfaces.iter().map(|(_, name)| *name).collect();
    let fields: HashMap<&str, (Place, &Field)> =
        entry.fields.iter().map(|(place, field)| (field.name.as_str(), (*place, *field))).collect();
    for (place, name) in &entry.interfaces {
        if problems.is_full(place.document) {
            continue;
        }
        let interface = match graph.usable(name) {
            Some(found) if found.kind == Kind::Interface => found,
            Some(found) => {
                problems.add(*place, format!("{} implements {}", entry.described(), found.described()));
                continue;
            }
            None => {
                problems.add(*place, format!("{} implements {name:?}, which is unknown", entry.described()));
                continue;
            }
        };
        if *name == entry.name {
            problems.add(*place, format!("interface {name:?} implements itself"));
            continue;
        }
        for (_, inherited) in &interface.interfaces {
            if *inherited == entry.name {
                problems.add(*place, format!("interfaces {name:?} and {inherited:?} implement each other"));
            } else if !declared.contains(inherited) {
                let message =
                    format!("{} must also implement {inherited:?}, because {name:?} does", entry.described());
                problems.add(*place, message);
            }
        }
        for (_, promised) in &interface.fields {
            check_field(
                graph,
                entry,
                interface,
                *place,
                promised,
                fields.get(promised.name.as_str()),
                problems,
            );
        }
    }
    find_repeated(entry.interfaces.iter().map(|(place, name)| (*place, *name)), |place, name| {
        problems.add(place, format!("{} implements {name:?} twice", entry.described()));
    });
}

fn check_field<'a>(
    graph: &Graph<'a>,
    entry: &Entry<'a>,
    interface: &Entry<'a>,
    place: Place,
    promised: &Field,
    found: Option<&(Place, &Field)>,
    problems: &mut Problems,
) {
    let name = promised.name.as_str();
    let Some((place, field)) = found else {
        let message = format!(
            "{} lacks field \"{name}: {}\" of interface {:?}",
            entry.described(),
            written(&promised.field_type),
            interface.name
        );
        return problems.add(place, message);
    };
    if !graph.is_subtype(&field.field_type, &promised.field_type) {
        let (is, wanted) = (written(&field.field_type), written(&promised.field_type));
        problems.add(
            *place,
            format!("field {name:?} has type {is}, but interface {:?} wants {wanted}", interface.name),
        );
    }
    if find(&field.directives, "deprecated").is_some() && find(&promised.directives, "deprecated").is_none() {
        let message =
            format!("field {name:?} is deprecated, but in interface {:?} it is not", interface.name);
        problems.add(*place, message);
    }
    let own: HashMap<&str, &InputValue> =
        field.arguments.iter().map(|argument| (argument.name.as_str(), argument)).collect();
    for argument in &promised.arguments {
        let wanted = written(&argument.value_type);
        let problem = match own.get(argument.name.as_str()) {
            Some(own) if own.value_type == argument.value_type => continue,
            Some(own) => format!("has type {}", written(&own.value_type)),
            None => "is missing".to_owned(),
        };
        let message = format!(
            "argument {:?} of field {name:?} {problem}, but interface {:?} wants {wanted}",
            argument.name, interface.name
        );
        problems.add(*place, message);
    }
    let known: HashSet<&str> = promised.arguments.iter().map(|argument| argument.name.as_str()).collect();
    for own in &field.arguments {
        if is_required(own) && !known.contains(own.name.as_str()) {
            let message = format!(
                "argument {:?} of field {name:?} is required, but interface {:?} does not have it",
                own.name, interface.name
            );
            problems.add(*place, message);
        }
    }
}
