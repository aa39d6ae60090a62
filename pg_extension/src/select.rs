//! Statements that read in the snapshot of the statement that called us, and so all in the same one.

use crate::sys;
use pgrx::prelude::*;
use std::ops::ControlFlow;

/// A parameter of a statement.
pub(crate) struct Argument(pg_sys::Oid, Option<pg_sys::Datum>);

impl<T: IntoDatum> From<T> for Argument {
    fn from(value: T) -> Self {
        Self(T::type_oid(), value.into_datum())
    }
}

/// A row of a result.
pub(crate) struct Row {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
}

impl Row {
    /// The value of a column, counted from 1; nothing if it is null.
    ///
    /// # Safety
    /// The column must be of that type.
    pub(crate) unsafe fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        let mut is_null = true;
        // SAFETY: the row lives as long as the call that hands it over; the caller vouches for the type.
        unsafe {
            let datum = pg_sys::SPI_getbinval(self.tuple, self.descriptor, column, &mut is_null);
            T::from_datum(datum, is_null)
        }
    }
}

/// Runs a statement and hands over its rows until told to stop. Values that are stored apart from their row are
/// fetched only when asked for.
pub(crate) fn select(
    statement: &str,
    arguments: &[Argument],
    mut visit: impl FnMut(&Row) -> ControlFlow<()>,
) {
    let text = sys::c_string(statement);
    let mut types: Vec<pg_sys::Oid> = arguments.iter().map(|argument| argument.0).collect();
    let mut values: Vec<pg_sys::Datum> =
        arguments.iter().map(|argument| argument.1.unwrap_or(pg_sys::Datum::null())).collect();
    let nulls: Vec<std::ffi::c_char> =
        arguments.iter().map(|argument| if argument.1.is_some() { b' ' as _ } else { b'n' as _ }).collect();
    let count = i32::try_from(arguments.len()).unwrap_or(0);
    // SAFETY: connect and finish are paired (an error unwinds and the abort cleans up SPI); the strings and lists live
    // across the call. Read only means: in the active snapshot, without taking another.
    unsafe {
        pg_sys::SPI_connect();
        let code = pg_sys::SPI_execute_with_args(
            text.as_ptr(),
            count,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            true,
            0,
        );
        if code < 0 || pg_sys::SPI_tuptable.is_null() {
            error!("tidings could not read: SPI error {code}");
        }
        let table = pg_sys::SPI_tuptable;
        let rows = usize::try_from(pg_sys::SPI_processed).unwrap_or(0);
        for index in 0..rows {
            let row = Row { tuple: *(*table).vals.add(index), descriptor: (*table).tupdesc };
            if visit(&row).is_break() {
                break;
            }
        }
        pg_sys::SPI_finish();
    }
}

/// Runs a statement that returns one row at most.
pub(crate) fn select_one<T>(
    statement: &str,
    arguments: &[Argument],
    take: impl Fn(&Row) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    select(statement, arguments, |row| {
        found = take(row);
        ControlFlow::Break(())
    });
    found
}

/// Runs what selects as of this very moment, whatever snapshot the transaction has.
pub(crate) fn as_of_now<T>(read: impl FnOnce() -> T) -> T {
    // SAFETY: push and pop are paired; after an error the abort empties the stack of snapshots.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        let found = read();
        pg_sys::PopActiveSnapshot();
        found
    }
}
