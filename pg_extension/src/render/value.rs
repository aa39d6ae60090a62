//! One value as JSON.

use super::shape::Shape;
use super::{TooLarge, Values, escape};
use pgrx::prelude::*;
use std::ffi::{CStr, c_int};

/// `MAXDATELEN` of `utils/datetime.h`: the longest date or timestamp, its zero byte included.
const DATE_BYTES_MAX: usize = 128;

/// A byte buffer with a limit.
pub(super) struct Writer {
    out: Vec<u8>,
    limit: usize,
}

impl Writer {
    pub(super) fn new(limit: usize) -> Self {
        Self { out: Vec::with_capacity(256), limit }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.out.len() + bytes.len() > self.limit {
            return Err(TooLarge);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), TooLarge> {
        if self.out.len() + text.len() + 2 > self.limit {
            return Err(TooLarge);
        }
        escape::string(&mut self.out, text);
        if self.out.len() > self.limit { Err(TooLarge) } else { Ok(()) }
    }

    fn integer(&mut self, value: i64) -> Result<(), TooLarge> {
        self.raw(itoa::Buffer::new().format(value).as_bytes())
    }

    /// # Safety
    /// The value must be of the type that has this shape and length.
    pub(super) unsafe fn value(
        &mut self,
        shape: Shape,
        length: i16,
        datum: pg_sys::Datum,
    ) -> Result<(), TooLarge> {
        // SAFETY: the caller vouches for the type; the size is looked at before the value is
        // decompressed, so a value far beyond the limit costs nothing.
        unsafe {
            if length == -1 && pg_sys::toast_raw_datum_size(datum) > self.limit.saturating_add(64) {
                return Err(TooLarge);
            }
            match shape {
                Shape::Bool => self.raw(if datum.value() != 0 { b"true" } else { b"false" }),
                Shape::Int2 => self.integer(i64::from(datum.value() as i16)),
                Shape::Int4 => self.integer(i64::from(datum.value() as i32)),
                Shape::Int8 => self.integer(datum.value() as i64),
                Shape::Number(output) => match call_output(output, datum) {
                    text if escape::is_number(text) => self.raw(text),
                    text => self.string(text),
                },
                Shape::Text => self.string(text_bytes(datum)),
                Shape::Verbatim(output) => self.raw(call_output(output, datum)),
                Shape::Temporal(type_oid) => self.string(&iso_date(type_oid, datum)),
                Shape::Array(element) => self.array(element, datum),
                Shape::Composite => self.composite(datum),
                Shape::Output(output) => self.string(call_output(output, datum)),
            }
        }
    }

    unsafe fn array(&mut self, element: pg_sys::Oid, datum: pg_sys::Datum) -> Result<(), TooLarge> {
        // SAFETY: the value is an array of this element type; deconstruct_array allocates `count`
        // entries of both results; dimensions follow the fixed header.
        unsafe {
            pg_sys::check_stack_depth();
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let rank = usize::try_from((*array).ndim).unwrap_or(0);
            let sizes = std::slice::from_raw_parts(array.add(1).cast::<c_int>(), rank);
            let (mut length, mut by_value, mut align) = (0_i16, false, 0);
            pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
            let (mut items, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
            pg_sys::deconstruct_array(
                array,
                element,
                c_int::from(length),
                by_value,
                align,
                &mut items,
                &mut nulls,
                &mut count,
            );
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                return self.raw(b"[]");
            }
            let mut items = Items {
                datums: std::slice::from_raw_parts(items, count),
                nulls: std::slice::from_raw_parts(nulls, count),
                shape: Shape::of(element),
                length,
                next: 0,
            };
            self.dimension(sizes, &mut items)
        }
    }

    unsafe fn dimension(&mut self, sizes: &[c_int], items: &mut Items<'_>) -> Result<(), TooLarge> {
        let Some((size, inner)) = sizes.split_first() else { return Ok(()) };
        self.raw(b"[")?;
        for number in 0..*size {
            if number > 0 {
                self.raw(b",")?;
            }
            if !inner.is_empty() {
                // SAFETY: the same array, one dimension further in.
                unsafe { self.dimension(inner, items) }?;
                continue;
            }
            let at = items.next;
            items.next += 1;
            match items.nulls.get(at) {
                // SAFETY: the items are of the element type.
                Some(false) => unsafe { self.value(items.shape, items.length, items.datums[at]) }?,
                _ => self.raw(b"null")?,
            }
        }
        self.raw(b"]")
    }

    unsafe fn composite(&mut self, datum: pg_sys::Datum) -> Result<(), TooLarge> {
        // SAFETY: the value is a composite datum, whose header names its row type; the descriptor is
        // a copy that lives in the current memory context.
        unsafe {
            pg_sys::check_stack_depth();
            let header = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
            let fields = (*header).t_choice.t_datum;
            let descriptor = pg_sys::lookup_rowtype_tupdesc_copy(fields.datum_typeid, fields.datum_typmod);
            let mut tuple = pg_sys::HeapTupleData {
                t_len: u32::try_from(pgrx::varsize_any(header.cast())).unwrap_or(0),
                t_data: header,
                ..Default::default()
            };
            let values = Values::of(&mut tuple, descriptor);
            let attributes = pgrx::PgTupleDesc::from_pg_unchecked(descriptor);
            self.raw(b"{")?;
            let mut first = true;
            for position in 0..attributes.len() {
                let Some(attribute) = attributes.get(position) else { continue };
                if attribute.attisdropped {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    self.raw(b",")?;
                }
                self.string(attribute.name().as_bytes())?;
                self.raw(b":")?;
                match values.get(position) {
                    Some(value) => self.value(Shape::of(attribute.atttypid), attribute.attlen, value)?,
                    None => self.raw(b"null")?,
                }
            }
            self.raw(b"}")
        }
    }
}

struct Items<'a> {
    datums: &'a [pg_sys::Datum],
    nulls: &'a [bool],
    shape: Shape,
    length: i16,
    next: usize,
}

/// The text of a scalar, without quotes; None if it is longer than `bytes_max` or no scalar.
///
/// # Safety
/// The value must be of the type that has this shape and length.
pub(super) unsafe fn plain_text(
    shape: Shape,
    length: i16,
    datum: pg_sys::Datum,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    // SAFETY: the caller vouches for the type.
    let text = unsafe {
        if length == -1 && pg_sys::toast_raw_datum_size(datum) > bytes_max.saturating_add(64) {
            return None;
        }
        match shape {
            Shape::Text => text_bytes(datum).to_vec(),
            Shape::Output(output) | Shape::Number(output) => call_output(output, datum).to_vec(),
            Shape::Temporal(type_oid) => iso_date(type_oid, datum),
            Shape::Verbatim(_) | Shape::Array(_) | Shape::Composite => return None,
            Shape::Bool | Shape::Int2 | Shape::Int4 | Shape::Int8 => {
                let mut writer = Writer::new(bytes_max);
                writer.value(shape, length, datum).ok()?;
                writer.into_bytes()
            }
        }
    };
    (text.len() <= bytes_max).then_some(text)
}

/// # Safety
/// The value must be of the type that the function puts out.
unsafe fn call_output<'a>(output: pg_sys::Oid, datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: output functions return a palloc'ed C string, which lives as long as the trigger call.
    unsafe { CStr::from_ptr(pg_sys::OidOutputFunctionCall(output, datum)).to_bytes() }
}

/// # Safety
/// The value must be a text, varchar or bpchar.
unsafe fn text_bytes<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: detoasted memory lives as long as the trigger call.
    unsafe {
        let text = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        std::slice::from_raw_parts(pgrx::vardata_any(text).cast(), pgrx::varsize_any_exhdr(text))
    }
}

/// # Safety
/// The value must be of this type: date, timestamp or timestamptz.
unsafe fn iso_date(type_oid: pg_sys::Oid, datum: pg_sys::Datum) -> Vec<u8> {
    let mut buffer = [0; DATE_BYTES_MAX + 1];
    // SAFETY: the function writes at most MAXDATELEN bytes and a zero; no time zone means the
    // session's, which is UTC while rendering.
    unsafe {
        pg_sys::JsonEncodeDateTime(buffer.as_mut_ptr(), datum, type_oid, std::ptr::null());
        CStr::from_ptr(buffer.as_ptr()).to_bytes().to_vec()
    }
}
