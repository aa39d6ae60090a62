//! The labels of an enum as the database has them, and the names that GraphQL has for them.

use std::collections::HashSet;

use crate::graphql::names;

/// Labels with their names, in the order of the type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels(Vec<Label>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    text: Box<str>,
    name: Box<str>,
}

impl Labels {
    /// Names for labels that may be anything, by the rule of [`names`]. `true`, `false` and `null` are
    /// no names of values (section 3.9), so they get numbers.
    pub(super) fn of_type(labels: &[String]) -> Self {
        let is_literal = |label: &str| matches!(label, "true" | "false" | "null");
        let keeps = |label: &&String| names::legal(label) == **label && !is_literal(label);
        let mut taken: HashSet<String> = labels.iter().filter(keeps).cloned().collect();
        let label = |label: &String| {
            let name = if keeps(&label) {
                label.clone()
            } else {
                let free = |name: &str| !taken.contains(name) && !is_literal(name);
                let name = names::unique(&names::legal(label), free);
                taken.insert(name.clone());
                name
            };
            Label { text: label.as_str().into(), name: name.into() }
        };
        Self(labels.iter().map(label).collect())
    }
    /// Labels that are names already.
    pub(super) fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.map(|name| Label { text: name.into(), name: name.into() }).collect())
    }

    /// Labels and names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|label| (&*label.text, &*label.name))
    }

    /// The name of a label.
    pub(super) fn name(&self, text: &str) -> Option<&str> {
        self.0.iter().find(|label| *label.text == *text).map(|label| &*label.name)
    }

    /// The label of a name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|label| *label.name == *name).map(|label| &*label.text)
    }

    /// Where a label stands in the order of the type.
    pub(super) fn rank(&self, text: &str) -> Option<usize> {
        self.0.iter().position(|label| *label.text == *text)
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn labels_get_legal_names_and_keep_their_order() {
        let labels: Vec<String> =
            ["in progress", "in_progress", "true", "2nd", "done", ""].map(String::from).into();
        let labels = Labels::of_type(&labels);
        let names: Vec<&str> = labels.iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["in_progress_2", "in_progress", "true_2", "_2nd", "done", "_"]);
        assert_eq!(labels.name("2nd"), Some("_2nd"));
        assert_eq!(labels.text("in_progress_2"), Some("in progress"));
        assert_eq!((labels.rank("in progress"), labels.rank("nothing")), (Some(0), None));
    }
}
