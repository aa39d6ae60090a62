//! The documents of the corpus: `corpus/FOLDER/*.graphql`, each file a rule.
//!
//! A case begins with a line `=== title`. Its document follows as it stands, or, where an editor would
//! spoil it, after a line `--- json` as a JSON string. Lines `--- variables` and `--- operation` begin
//! what else the request has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidings_daemon::graphql::request::Request;

/// A request with the name that it is reported by.
#[derive(Debug)]
pub(crate) struct Case {
    /// `folder/file: title`
    pub(crate) name: String,
    pub(crate) request: Request,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// A file of the corpus.
pub(crate) fn text(path: &str) -> String {
    let path = folder(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All cases of a folder, in order.
pub(crate) fn cases(name: &str) -> Vec<Case> {
    let files = std::fs::read_dir(folder(name)).expect("a folder of the corpus");
    let mut files: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|file| file != "schema.graphql");
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = text(&format!("{name}/{file}"));
        let parts = text.split("\n=== ").skip(1);
        let rule = file.trim_end_matches(".graphql");
        cases.extend(parts.map(|part| case(&format!("{name}/{rule}"), part)));
    }
    cases
}

fn case(rule: &str, part: &str) -> Case {
    let (title, rest) = part.split_once('\n').unwrap_or((part, ""));
    let name = format!("{rule}: {title}");
    let mut sections = BTreeMap::from([("document", String::new())]);
    let mut section = "document";
    for line in rest.split_inclusive('\n') {
        match line.strip_prefix("--- ") {
            Some(header) => section = header.trim_end(),
            None => sections.entry(section).or_default().push_str(line),
        }
    }
    let mut section = |name: &str| sections.remove(name).map(|text| text.trim_end_matches('\n').to_owned());
    let parsed = |text: String| -> Value {
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
    };
    let document = section("document").unwrap_or_default();
    let request = Request {
        query: section("json").map_or(document, |text| parsed(text).as_str().expect("a string").to_owned()),
        variables: section("variables").map(|text| parsed(text).as_object().expect("an object").clone()),
        operation_name: section("operation"),
        extensions: None,
    };
    assert!(sections.is_empty(), "{name}: {sections:?}");
    Case { name, request }
}

/// Names of the cases that may differ, with the reason: `corpus/differences.txt` gives a reason on a
/// line that begins with `#`, and below it the names.
pub(crate) fn allowed_differences() -> BTreeMap<String, String> {
    let mut allowed = BTreeMap::new();
    let mut reason = String::new();
    let mut in_reason = false;
    for line in text("differences.txt").lines().filter(|line| !line.is_empty()) {
        if let Some(text) = line.strip_prefix('#') {
            if !in_reason {
                reason.clear();
            }
            reason.push_str(text);
            in_reason = true;
        } else {
            in_reason = false;
            assert!(allowed.insert(line.to_owned(), reason.clone()).is_none(), "{line} stands there twice");
        }
    }
    allowed
}
