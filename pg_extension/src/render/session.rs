//! The settings that output functions read, held at fixed values while records are rendered.

use crate::sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::c_int;

/// `BYTEA_OUTPUT_HEX` of `utils/bytea.h`.
const BYTEA_OUTPUT_HEX: c_int = 1;

thread_local! {
    static UTC: Cell<*mut pg_sys::pg_tz> = const { Cell::new(std::ptr::null_mut()) };
}

/// While it lives: TimeZone UTC, DateStyle ISO, IntervalStyle iso_8601, bytea hex, shortest exact floats.
///
/// The variables behind the GUCs are set, not the GUCs: no other code runs meanwhile, and a GUC change
/// per row would cost more than the rendering.
#[derive(Debug)]
pub(crate) struct NeutralSession {
    timezone: *mut pg_sys::pg_tz,
    date_style: c_int,
    date_order: c_int,
    interval_style: c_int,
    bytea: c_int,
    float_digits: c_int,
}

impl NeutralSession {
    pub(crate) fn enter() -> Self {
        // SAFETY: PostgreSQL is single-threaded; pg_tzset returns a time zone that is cached for ever,
        // and UTC needs no file, so it is never null.
        unsafe {
            let mut utc = UTC.get();
            if utc.is_null() {
                utc = pg_sys::pg_tzset(c"UTC".as_ptr());
                UTC.set(utc);
            }
            let saved = Self {
                timezone: pg_sys::session_timezone,
                date_style: pg_sys::DateStyle,
                date_order: pg_sys::DateOrder,
                interval_style: pg_sys::IntervalStyle,
                bytea: sys::bytea_output,
                float_digits: pg_sys::extra_float_digits,
            };
            if !utc.is_null() {
                pg_sys::session_timezone = utc;
            }
            pg_sys::DateStyle = pg_sys::USE_ISO_DATES as c_int;
            pg_sys::DateOrder = pg_sys::DATEORDER_MDY as c_int;
            pg_sys::IntervalStyle = pg_sys::INTSTYLE_ISO_8601 as c_int;
            sys::bytea_output = BYTEA_OUTPUT_HEX;
            pg_sys::extra_float_digits = 1;
            saved
        }
    }
}

impl Drop for NeutralSession {
    fn drop(&mut self) {
        // SAFETY: restores what was there, also while an error unwinds.
        unsafe {
            pg_sys::session_timezone = self.timezone;
            pg_sys::DateStyle = self.date_style;
            pg_sys::DateOrder = self.date_order;
            pg_sys::IntervalStyle = self.interval_style;
            sys::bytea_output = self.bytea;
            pg_sys::extra_float_digits = self.float_digits;
        }
    }
}
