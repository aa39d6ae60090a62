//! The table of events: its three slots, and how rows get into them.
//!
//! Rows go in as COPY puts them in, many at a time and without a statement of SQL: that would evaluate the table's
//! CHECK and NOT NULL constraints, which the values made here satisfy, for every transaction anew. So triggers, rules
//! and policies that somebody puts on the table have no effect on them. Indexes of all kinds do get their entries.

use crate::{settings, sys};
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Three fixed partitions, (epoch / retention) mod 3; `sql/10_events.sql` creates them.
const SLOTS: usize = 3;
const SLOT_TABLES: [&CStr; SLOTS] = [c"events_0", c"events_1", c"events_2"];
/// Seconds from 1970 to 2000, PostgreSQL's own epoch.
const POSTGRES_EPOCH_SECONDS: i64 = 946_684_800;

/// The columns in the order of `RowValues`.
const COLUMNS: [(&CStr, pg_sys::Oid); COLUMN_COUNT] = [
    (c"id", pg_sys::INT8OID),
    (c"slot", pg_sys::INT2OID),
    (c"xid", pg_sys::XID8OID),
    (c"channel", pg_sys::TEXTOID),
    (c"event_type", pg_sys::TEXTOID),
    (c"type_name", pg_sys::TEXTOID),
    (c"audience", pg_sys::TEXTOID),
    (c"tenant_id", pg_sys::TEXTOID),
    (c"user_id", pg_sys::TEXTOID),
    (c"payload", pg_sys::JSONOID),
    (c"old_payload", pg_sys::JSONOID),
    (c"changed_columns", pg_sys::TEXTARRAYOID),
    (c"metadata", pg_sys::JSONOID),
    (c"created_at", pg_sys::TIMESTAMPTZOID),
    (c"truncated", pg_sys::BOOLOID),
];
const COLUMN_COUNT: usize = 15;

/// One value or null for each of `COLUMNS`.
pub(crate) type RowValues = [Option<pg_sys::Datum>; COLUMN_COUNT];

/// Slots of tuples that are handed over at once; a page holds about forty narrow events.
const TUPLES_AT_ONCE: usize = 128;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Relations {
    parent: pg_sys::Oid,
    slots: [pg_sys::Oid; SLOTS],
    pub(crate) sequence: pg_sys::Oid,
}

thread_local! {
    /// Looked up by name once, and again after any change of one of them: a `DROP EXTENSION` and
    /// `CREATE EXTENSION` in the same session gives them new OIDs.
    static RELATIONS: Cell<Option<Relations>> = const { Cell::new(None) };
    /// Never dropped with the process, which is taken down by then.
    static FORMS: ManuallyDrop<RefCell<[Option<Rc<Form>>; SLOTS]>> = const {
        ManuallyDrop::new(RefCell::new([const { None }; SLOTS]))
    };
}

impl Relations {
    pub(crate) fn get() -> Self {
        RELATIONS.get().unwrap_or_else(|| {
            let relations = Self {
                parent: sys::relation_oid(c"events"),
                slots: SLOT_TABLES.map(sys::relation_oid),
                sequence: sys::relation_oid(c"events_id_seq"),
            };
            RELATIONS.set(Some(relations));
            relations
        })
    }

    /// True for the table of events and for its slots.
    pub(crate) fn hold_events(&self, relation: pg_sys::Oid) -> bool {
        relation == self.parent || self.slots.contains(&relation)
    }
}

/// Asks PostgreSQL to tell us when one of the relations changes.
pub(crate) fn register() {
    // SAFETY: the callback is a function of this library, which is never unloaded.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let Some(known) = RELATIONS.get() else { return };
    if relation == pg_sys::InvalidOid || relation == known.sequence || known.hold_events(relation) {
        RELATIONS.set(None);
        let forms = FORMS.with(|forms| forms.try_borrow_mut().map(|mut forms| std::mem::take(&mut *forms)));
        drop(forms);
    }
}

/// The slot for events of this moment.
pub(crate) fn slot_at(now: pg_sys::TimestampTz) -> usize {
    let seconds = now.div_euclid(1_000_000) + POSTGRES_EPOCH_SECONDS;
    let period = seconds.div_euclid(i64::from(settings::RETENTION.get().max(1)));
    usize::try_from(period.rem_euclid(SLOTS as i64)).unwrap_or(0)
}

/// What rows of a slot look like.
#[derive(Debug)]
struct Form {
    table: pg_sys::Oid,
    /// A copy, so that rows can be made while the table is not open.
    descriptor: pg_sys::TupleDesc,
    positions: [usize; COLUMN_COUNT],
}

impl Form {
    /// The slot is locked as an INSERT locks it, until the transaction ends.
    fn of_locked(slot: usize) -> Rc<Self> {
        let table = lock_slot(slot);
        let known = FORMS.with(|forms| forms.borrow()[slot].clone());
        if let Some(form) = known.filter(|form| form.table == table) {
            return form;
        }
        let mut form = Self { table, descriptor: std::ptr::null_mut(), positions: [0; COLUMN_COUNT] };
        // SAFETY: the table is locked, so that it can be opened, and its columns stay as they are.
        unsafe {
            let relation = pg_sys::table_open(table, pg_sys::NoLock as i32);
            let caller = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            form.descriptor = pg_sys::CreateTupleDescCopy((*relation).rd_att);
            pg_sys::MemoryContextSwitchTo(caller);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            form.positions = positions_in(form.descriptor);
        }
        let form = Rc::new(form);
        FORMS.with(|forms| forms.borrow_mut()[slot] = Some(Rc::clone(&form)));
        form
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        if !self.descriptor.is_null() {
            // SAFETY: a copy that is ours alone.
            unsafe { pg_sys::FreeTupleDesc(self.descriptor) };
        }
    }
}

/// Rows for one slot, in memory of their own.
#[derive(Debug)]
pub(crate) struct Rows {
    slot: usize,
    form: Rc<Form>,
    memory: pg_sys::MemoryContext,
    /// Of the row that is being made.
    datums: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    tuples: Vec<pg_sys::HeapTuple>,
    bytes: usize,
}

impl Rows {
    pub(crate) fn for_slot(slot: usize) -> Self {
        let form = Form::of_locked(slot);
        // SAFETY: the descriptor lives as long as the form; the memory belongs to these rows.
        unsafe {
            let count = usize::try_from((*form.descriptor).natts).unwrap_or(0);
            let memory = pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"tidings rows".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let (datums, nulls) = (vec![pg_sys::Datum::null(); count], vec![true; count]);
            Self { slot, form, memory, datums, nulls, tuples: Vec::new(), bytes: 0 }
        }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn len(&self) -> usize {
        self.tuples.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row; the values are copied.
    pub(crate) fn push(&mut self, values: &RowValues) {
        for (value, &position) in values.iter().zip(&self.form.positions) {
            self.datums[position] = value.unwrap_or(pg_sys::Datum::null());
            self.nulls[position] = value.is_none();
        }
        // SAFETY: the arrays have an entry for each of the descriptor's attributes. The memory context is switched back
        // here, or by whoever catches an error.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.memory);
            let tuple = pg_sys::heap_form_tuple(
                self.form.descriptor,
                self.datums.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            );
            pg_sys::MemoryContextSwitchTo(caller);
            self.bytes += (*tuple).t_len as usize;
            self.tuples.push(tuple);
        }
    }

    /// Puts the rows into the table, in the subtransaction of now and as if by that command: whichever statement began
    /// later sees them. May be done again after that subtransaction was rolled back.
    pub(crate) fn insert(&self, command: pg_sys::CommandId) {
        // SAFETY: the table is locked. What is opened here is closed here, or by the abort after an error; what is
        // allocated is gone with the executor's state.
        unsafe {
            let relation = pg_sys::table_open(self.form.table, pg_sys::NoLock as i32);
            let state = pg_sys::CreateExecutorState();
            let caller = pg_sys::MemoryContextSwitchTo((*state).es_query_cxt);
            let mut target =
                pg_sys::ResultRelInfo { type_: pg_sys::NodeTag::T_ResultRelInfo, ..Default::default() };
            pg_sys::InitResultRelInfo(&mut target, relation, 0, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(&mut target, false);
            let count = self.tuples.len().min(TUPLES_AT_ONCE);
            let mut slots: Vec<_> = (0..count)
                .map(|_| {
                    pg_sys::MakeSingleTupleTableSlot(self.form.descriptor, &raw const pg_sys::TTSOpsHeapTuple)
                })
                .collect();
            for tuples in self.tuples.chunks(TUPLES_AT_ONCE) {
                for (&tuple, &slot) in tuples.iter().zip(&slots) {
                    pg_sys::ExecStoreHeapTuple(tuple, slot, false);
                }
                let count = c_int::try_from(tuples.len()).unwrap_or(0);
                pg_sys::table_multi_insert(
                    relation,
                    slots.as_mut_ptr(),
                    count,
                    command,
                    0,
                    std::ptr::null_mut(),
                );
                insert_index_entries(&mut target, &slots[..tuples.len()], state);
            }
            pg_sys::ExecCloseIndices(&mut target);
            pg_sys::MemoryContextSwitchTo(caller);
            pg_sys::FreeExecutorState(state);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: nothing but ourselves points into it.
        unsafe { pg_sys::MemoryContextDelete(self.memory) };
    }
}

/// # Safety
/// The slots must hold rows that were just inserted into the target, whose indexes are open.
unsafe fn insert_index_entries(
    target: *mut pg_sys::ResultRelInfo,
    slots: &[*mut pg_sys::TupleTableSlot],
    state: *mut pg_sys::EState,
) {
    // SAFETY: the caller vouches for the arguments. One guard is for all the calls: there is nothing to be dropped
    // between them.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            for &slot in slots {
                sys::insert_index_entries(target, slot, state);
                let context = (*state).es_per_tuple_exprcontext;
                if !context.is_null() {
                    sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
                }
            }
        });
    }
}

/// Locks the table of a slot against removal and against changes of its columns.
fn lock_slot(slot: usize) -> pg_sys::Oid {
    loop {
        let table = Relations::get().slots[slot];
        // SAFETY: locks an OID, whether something has it or not, and hears then of changes until now.
        unsafe { pg_sys::LockRelationOid(table, pg_sys::RowExclusiveLock as i32) };
        if Relations::get().slots[slot] == table {
            return table;
        }
    }
}

/// Where the columns are: in their order, unless somebody changed the table.
///
/// # Safety
/// The descriptor must be valid.
unsafe fn positions_in(descriptor: pg_sys::TupleDesc) -> [usize; COLUMN_COUNT] {
    // SAFETY: the caller vouches for it; the attributes live as long as it does.
    let attributes = unsafe { pgrx::PgTupleDesc::from_pg_unchecked(descriptor) };
    let is = |position: usize, (name, type_oid): (&CStr, pg_sys::Oid)| {
        attributes.get(position).is_some_and(|attribute| {
            !attribute.attisdropped
                && attribute.atttypid == type_oid
                // SAFETY: a name is a C string.
                && unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) } == name
        })
    };
    std::array::from_fn(|expected| {
        let column = COLUMNS[expected];
        if is(expected, column) {
            return expected;
        }
        (0..attributes.len()).find(|&position| is(position, column)).unwrap_or_else(|| {
            crate::error::refuse(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!(
                    "tidings.events has no column {} of the type that it was made with",
                    column.0.to_string_lossy()
                ),
                "The table's columns are not to be changed; drop and create the extension.",
            )
        })
    })
}
