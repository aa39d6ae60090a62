//! What a test wants to have told about itself in the tables at the end of `make test`.

use std::fs::OpenOptions;
use std::io::Write;

/// Notes something about the test that runs on this thread. Told only if `TIDINGS_TEST_NOTES` names a file.
pub(crate) fn note(text: &str) {
    let Some(path) = std::env::var_os("TIDINGS_TEST_NOTES") else { return };
    let thread = std::thread::current();
    // The runner names the thread of a test by its path.
    let name = thread.name().and_then(|path| path.rsplit("::").next()).unwrap_or_default();
    let mut notes = OpenOptions::new().append(true).create(true).open(path).expect("the file of notes opens");
    notes.write_all(format!("{name}\t{text}\n").as_bytes()).expect("a note is written");
}
