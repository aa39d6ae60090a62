//! How values of a type look in JSON.

use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;

/// The JSON form of a type; domains have the shape of their base type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Int2,
    Int4,
    Int8,
    /// float and numeric: a number unless NaN or infinite. The output function.
    Number(pg_sys::Oid),
    /// text and its kin: the bytes themselves.
    Text,
    /// json and jsonb: their text as it is. The output function.
    Verbatim(pg_sys::Oid),
    /// date, timestamp and timestamptz: ISO 8601 with a T. The type.
    Temporal(pg_sys::Oid),
    /// The element type.
    Array(pg_sys::Oid),
    Composite,
    /// Everything else: a string. The output function.
    Output(pg_sys::Oid),
}

thread_local! {
    /// Shapes of element and attribute types met so far; emptied whenever a type changes.
    static SHAPES: RefCell<HashMap<pg_sys::Oid, Shape>> = RefCell::default();
}

/// Called by the type cache's invalidation.
pub(crate) fn forget_types() {
    SHAPES.with(|shapes| {
        if let Ok(mut shapes) = shapes.try_borrow_mut() {
            shapes.clear();
        }
    });
}

impl Shape {
    pub(crate) fn of(type_oid: pg_sys::Oid) -> Self {
        if let Some(shape) = SHAPES.with_borrow(|shapes| shapes.get(&type_oid).copied()) {
            return shape;
        }
        let shape = Self::look_up(type_oid);
        SHAPES.with_borrow_mut(|shapes| shapes.insert(type_oid, shape));
        shape
    }

    /// A type's casts to json are not asked: they are a user's code, and one that raises would fail
    /// the writer.
    fn look_up(type_oid: pg_sys::Oid) -> Self {
        // SAFETY: syscache look-ups for a type that a column or array of ours has.
        let (base, output) = unsafe {
            let base = pg_sys::getBaseType(type_oid);
            let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo(base, &mut output, &mut is_varlena);
            (base, output)
        };
        match base {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID | pg_sys::FLOAT8OID | pg_sys::NUMERICOID => Self::Number(output),
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => Self::Text,
            pg_sys::JSONOID | pg_sys::JSONBOID => Self::Verbatim(output),
            pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Self::Temporal(base),
            // SAFETY: as above. int2vector and oidvector have elements but are no varlena arrays for
            // get_base_element_type's callers; get_element_type leaves them out.
            _ => unsafe {
                let element = pg_sys::get_element_type(base);
                if element != pg_sys::InvalidOid {
                    Self::Array(element)
                } else if pg_sys::type_is_rowtype(base) {
                    Self::Composite
                } else {
                    Self::Output(output)
                }
            },
        }
    }
}
