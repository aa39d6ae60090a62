//! Errors of fields, written as JSON while the result is written (section 7.1.2).

use crate::graphql::leaf::write_string;
use crate::graphql::plan::Field;

/// Where a field stands in the response: a list from the inside out, on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    pub(super) parent: Option<&'a Path<'a>>,
    pub(super) segment: Segment<'a>,
}

/// One step of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Segment<'a> {
    Field(&'a Field),
    Index(usize),
}

/// What went wrong with a field.
#[derive(Debug)]
pub(super) struct FieldError {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// The errors of one result, in the order in which they arose.
#[derive(Debug, Default)]
pub(super) struct Errors {
    json: Vec<u8>,
    count: usize,
}

/// Errors of one result that are spelled out. A list of a million bad items is one mistake, and must
/// not make a result many times the size of its event.
const ERRORS_MAX: usize = 50;

impl Errors {
    pub(super) fn push(&mut self, field: &Field, path: &Path<'_>, error: &FieldError) {
        self.count += 1;
        if self.count > ERRORS_MAX {
            return;
        }
        self.json.extend(if self.count == 1 { &b"{\"message\":"[..] } else { b",{\"message\":" });
        write_string(&mut self.json, &error.message);
        self.json.extend(b",\"locations\":");
        self.json.extend(&field.locations);
        self.json.extend(b",\"path\":[");
        self.path(path);
        self.json.extend(b"],\"extensions\":{\"code\":\"");
        self.json.extend(error.code.as_bytes());
        self.json.extend(b"\"}}");
    }

    fn path(&mut self, path: &Path<'_>) {
        if let Some(parent) = path.parent {
            self.path(parent);
            self.json.push(b',');
        }
        match path.segment {
            Segment::Field(field) => self.json.extend(&field.key[..field.key.len() - 1]),
            Segment::Index(index) => self.json.extend(itoa::Buffer::new().format(index).as_bytes()),
        }
    }

    /// Appends `,"errors":[…]` if there are any.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        out.extend(b",\"errors\":[");
        out.extend(&self.json);
        if self.count > ERRORS_MAX {
            let more = format!(
                ",{{\"message\":\"{} more errors\",\"extensions\":{{\"code\":\"MORE_ERRORS\"}}}}",
                self.count - ERRORS_MAX
            );
            out.extend(more.as_bytes());
        }
        out.push(b']');
    }
}
