//! Records as JSON bytes, the same bytes whatever the writer's session is set to.
//!
//! Own code instead of `row_to_json`: that one runs a user's casts to json, depends on the session's
//! settings and has no limit.

mod value;

pub(crate) mod escape;
pub(crate) mod session;
pub(crate) mod shape;

use crate::plan::{Column, Plan};
use pgrx::prelude::*;

pub(crate) use session::NeutralSession;

/// The record is larger than the limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// A tuple taken apart: one value or null per attribute.
#[derive(Debug)]
pub(crate) struct Values {
    datums: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Values {
    /// # Safety
    /// The tuple must have been formed for this descriptor, and must outlive the values.
    pub(crate) unsafe fn of(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: heap_deform_tuple fills natts entries of both arrays.
        unsafe {
            let count = usize::try_from((*descriptor).natts).unwrap_or(0);
            let mut values = Self { datums: vec![pg_sys::Datum::null(); count], nulls: vec![true; count] };
            pg_sys::heap_deform_tuple(
                tuple,
                descriptor,
                values.datums.as_mut_ptr(),
                values.nulls.as_mut_ptr(),
            );
            values
        }
    }

    pub(crate) fn get(&self, position: usize) -> Option<pg_sys::Datum> {
        match self.nulls.get(position) {
            Some(false) => Some(self.datums[position]),
            _ => None,
        }
    }
}

/// True if both hold the same bytes in this column; json, point and others have no equality.
pub(crate) fn same(column: &Column, left: &Values, right: &Values) -> bool {
    match (left.get(column.position), right.get(column.position)) {
        (None, None) => true,
        (Some(left), Some(right)) if column.by_value => left.value() == right.value(),
        // SAFETY: both values are of the column's type.
        (Some(left), Some(right)) => unsafe {
            crate::sys::same_image(left, right, column.by_value, column.length)
        },
        _ => false,
    }
}

/// A record as a JSON object.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) json: Vec<u8>,
    pub(crate) truncated: bool,
}

/// Renders the published columns; only the key columns if that would be larger than `limit` bytes.
pub(crate) fn record(plan: &Plan, values: &Values, limit: usize, _session: &NeutralSession) -> Record {
    if let Ok(json) = object(plan.columns.iter().filter(|column| column.published), values, limit) {
        return Record { json, truncated: false };
    }
    let keys = object(plan.columns.iter().filter(|column| column.key), values, limit);
    Record { json: keys.unwrap_or_else(|TooLarge| b"{}".to_vec()), truncated: true }
}

fn object<'a>(
    columns: impl Iterator<Item = &'a Column>,
    values: &Values,
    limit: usize,
) -> Result<Vec<u8>, TooLarge> {
    let mut writer = value::Writer::new(limit);
    writer.raw(b"{")?;
    for (number, column) in columns.enumerate() {
        if number > 0 {
            writer.raw(b",")?;
        }
        writer.raw(&column.label)?;
        match values.get(column.position) {
            // SAFETY: the value is of the column's type.
            Some(datum) => unsafe { writer.value(column.shape, column.length, datum) }?,
            None => writer.raw(b"null")?,
        }
    }
    writer.raw(b"}")?;
    Ok(writer.into_bytes())
}

/// A tenant or user: the value's text, without JSON quotes. None if null, too long to be a key, empty
/// or not a scalar: such an event reaches nobody.
pub(crate) fn key(
    column: &Column,
    values: &Values,
    bytes_max: usize,
    _session: &NeutralSession,
) -> Option<String> {
    let datum = values.get(column.position)?;
    // SAFETY: the value is of the column's type.
    let text = unsafe { value::plain_text(column.shape, column.length, datum, bytes_max) }?;
    String::from_utf8(text).ok().filter(|text| !text.is_empty())
}
