//! What a capture trigger does with one table: its configuration, resolved against the columns.
//!
//! The configuration is the trigger's one argument, a JSON text. That makes it transactional, cloned
//! to partitions, dumped by pg_dump and readable without any privilege or look-up.

use crate::render::shape::Shape;
use pgrx::prelude::*;
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

/// The trigger's argument; written by `tidings.trigger_argument()`.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) type_name: String,
    pub(crate) channel: String,
    #[serde(default)]
    pub(crate) tenant_column: Option<String>,
    #[serde(default)]
    pub(crate) user_column: Option<String>,
    #[serde(default)]
    pub(crate) columns: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) when_changed: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) include_old: bool,
}

/// One column that is not dropped.
#[derive(Debug)]
pub(crate) struct Column {
    /// Position in the tuple, from 0.
    pub(crate) position: usize,
    pub(crate) name: String,
    /// The name as a JSON string followed by a colon.
    pub(crate) label: Vec<u8>,
    pub(crate) shape: Shape,
    pub(crate) by_value: bool,
    pub(crate) length: i16,
    /// Part of the payload.
    pub(crate) published: bool,
    /// Part of the primary key.
    pub(crate) key: bool,
    /// A change of it makes an UPDATE worth an event.
    pub(crate) watched: bool,
}

/// A configuration resolved against a table's columns.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) columns: Vec<Column>,
    /// Index into `columns`; None also when the column is gone, which is why the audience asks `config`.
    pub(crate) tenant: Option<usize>,
    pub(crate) user: Option<usize>,
}

/// Plans are small; this many cover every table of a large schema, and the cache starts over beyond it.
const CACHED_PLANS_MAX: usize = 1024;

type PlanKey = (pg_sys::Oid, pg_sys::Oid);

thread_local! {
    static PLANS: RefCell<HashMap<PlanKey, Option<Rc<Plan>>>> = RefCell::default();
    /// Counts invalidations, so that a plan made while one arrived is not kept.
    static GENERATION: Cell<u64> = const { Cell::new(0) };
}

/// The plan of a trigger, from the cache if the table did not change. None: unusable configuration,
/// which was reported and must not fail the writer.
///
/// # Safety
/// Both must be valid for the duration of the call, as the trigger manager passes them.
pub(crate) unsafe fn plan_for(relation: pg_sys::Relation, trigger: &pg_sys::Trigger) -> Option<Rc<Plan>> {
    // SAFETY: the caller passes an open relation.
    let key = (unsafe { (*relation).rd_id }, trigger.tgoid);
    if let Some(plan) = PLANS.with_borrow(|plans| plans.get(&key).cloned()) {
        return plan;
    }
    let generation = GENERATION.get();
    // SAFETY: as above.
    let plan = unsafe { make_plan(relation, trigger) }.map(Rc::new);
    if GENERATION.get() == generation {
        PLANS.with_borrow_mut(|plans| {
            if plans.len() >= CACHED_PLANS_MAX {
                plans.clear();
            }
            plans.insert(key, plan.clone());
        });
    }
    plan
}

unsafe fn make_plan(relation: pg_sys::Relation, trigger: &pg_sys::Trigger) -> Option<Plan> {
    // SAFETY: tgargs has tgnargs C strings.
    let argument = (trigger.tgnargs == 1).then(|| unsafe { CStr::from_ptr(*trigger.tgargs) });
    let config: Option<Config> = argument.and_then(|text| serde_json::from_slice(text.to_bytes()).ok());
    let Some(config) = config else {
        // SAFETY: the name is a C string owned by the trigger description.
        let name = unsafe { CStr::from_ptr(trigger.tgname) }.to_string_lossy().into_owned();
        crate::error::warn(
            format!("trigger {name} has an argument that tidings does not understand; nothing is captured"),
            "Attach the table again with attach_trigger(); triggers on tidings.capture() are not made by hand.",
        );
        return None;
    };
    // SAFETY: the caller passes an open relation.
    let columns = unsafe { columns_of(relation, &config) };
    let find = |name: &Option<String>| {
        name.as_ref().and_then(|name| columns.iter().position(|column| column.name == *name))
    };
    Some(Plan { tenant: find(&config.tenant_column), user: find(&config.user_column), columns, config })
}

unsafe fn columns_of(relation: pg_sys::Relation, config: &Config) -> Vec<Column> {
    // SAFETY: the relation is open; the bitmap is a copy in the current memory context.
    let (descriptor, keys) = unsafe {
        (
            pgrx::PgTupleDesc::from_pg_unchecked((*relation).rd_att),
            pg_sys::RelationGetIndexAttrBitmap(
                relation,
                pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_PRIMARY_KEY,
            ),
        )
    };
    let listed = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref().is_none_or(|names| names.iter().any(|listed| listed == name))
    };
    let mut columns = Vec::with_capacity(descriptor.len());
    for position in 0..descriptor.len() {
        let Some(attribute) = descriptor.get(position) else { continue };
        // Virtual generated columns (PostgreSQL 18) are not in the tuple.
        if attribute.attisdropped || attribute.attgenerated == b'v' as std::ffi::c_char {
            continue;
        }
        let bit = i32::from(attribute.attnum) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: the set is a valid bitmap or null.
        let key = unsafe { pg_sys::bms_is_member(bit, keys) };
        let name = attribute.name().to_owned();
        let mut label = Vec::with_capacity(name.len() + 3);
        crate::render::escape::string(&mut label, name.as_bytes());
        label.push(b':');
        columns.push(Column {
            position,
            label,
            shape: Shape::of(attribute.atttypid),
            by_value: attribute.attbyval,
            length: attribute.attlen,
            published: key || listed(&config.columns, &name),
            key,
            watched: listed(&config.when_changed, &name),
            name,
        });
    }
    columns
}

/// Asks PostgreSQL to tell us when a table changes.
pub(crate) fn register() {
    // SAFETY: the callbacks are functions of this library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null());
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::TYPEOID as i32,
            Some(type_changed),
            pg_sys::Datum::null(),
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    GENERATION.set(GENERATION.get().wrapping_add(1));
    PLANS.with(|plans| {
        let Ok(mut plans) = plans.try_borrow_mut() else { return };
        if relation == pg_sys::InvalidOid {
            plans.clear();
        } else {
            plans.retain(|(planned, _), _| *planned != relation);
        }
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn type_changed(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    GENERATION.set(GENERATION.get().wrapping_add(1));
    PLANS.with(|plans| {
        if let Ok(mut plans) = plans.try_borrow_mut() {
            plans.clear();
        }
    });
    crate::render::shape::forget_types();
}
