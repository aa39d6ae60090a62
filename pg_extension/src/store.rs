//! An event becomes a row of `tidings.events`.

use crate::roles::RunAsOwner;
use crate::slots::{Relations, RowValues, Rows};
use crate::{pending, settings, slots, statement, sys, transaction, wake_up};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::CString;

/// Who may receive an event; see the `audience` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Open,
    Tenant,
    User,
    Both,
}

impl Audience {
    pub(crate) fn of(tenant: bool, user: bool) -> Self {
        match (tenant, user) {
            (false, false) => Self::Open,
            (true, false) => Self::Tenant,
            (false, true) => Self::User,
            (true, true) => Self::Both,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Both => "both",
        }
    }
}

/// One event, ready to be stored. Payloads are JSON texts that were checked or made by us.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) channel: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) type_name: Option<&'a str>,
    pub(crate) audience: Audience,
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) payload: &'a [u8],
    pub(crate) old_payload: Option<&'a [u8]>,
    pub(crate) changed_columns: Option<Vec<&'a str>>,
    pub(crate) metadata: Option<&'a [u8]>,
    pub(crate) truncated: bool,
}

thread_local! {
    static RENUMBER_PLAN: Cell<pg_sys::SPIPlanPtr> = const { Cell::new(std::ptr::null_mut()) };
}

/// When an event has to be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    /// When the statement has fired its triggers, if it is one that we saw begin.
    AfterTriggers,
}

/// Stores an event in the current transaction and returns its id.
pub(crate) fn store(event: Event<'_>, when: When) -> i64 {
    let now = sys::now();
    let slot = slots::slot_at(now);
    let id = sys::next_value(Relations::get().sequence);
    let mut texts = Texts::for_event(&event);
    let values = values_of(event, &mut texts, id, slot, now);
    if when == When::AfterTriggers && statement::is_collecting() {
        pending::add(slot, &values);
    } else {
        let mut rows = Rows::for_slot(slot);
        rows.push(&values);
        // SAFETY: as a write of this command, which every later one sees.
        rows.insert(unsafe { pg_sys::GetCurrentCommandId(true) });
    }
    wake_up::at_commit();
    if settings::FORCE_SYNC_COMMIT.get() {
        // SAFETY: sets a flag for the commit of this transaction.
        unsafe { pg_sys::ForceSyncCommit() };
    }
    id
}

/// Gives stored events of this transaction other ids: `old[n]` becomes `new[n]`.
pub(crate) fn renumber(old: Vec<i64>, new: Vec<i64>) {
    pending::write();
    let table = sys::relation_oid(c"events");
    let mut values = [old.into_datum(), new.into_datum()];
    let _owner = RunAsOwner::of(table);
    execute(renumber_plan(), &mut values);
}

/// The values in the order of the columns.
fn values_of(
    event: Event<'_>,
    texts: &mut Texts,
    id: i64,
    slot: usize,
    now: pg_sys::TimestampTz,
) -> RowValues {
    let metadata = match event.metadata {
        Some(explicit) => Some(sys::text_datum(explicit)),
        None => session_metadata(),
    };
    // SAFETY: assigns the top-level transaction id if there is none; we are in a transaction.
    let xid = unsafe { pg_sys::GetTopFullTransactionId() };
    let mut text = |text: &str| Some(texts.text(text.as_bytes()));
    [
        id.into_datum(),
        Some(pg_sys::Datum::from(slot)),
        Some(pg_sys::Datum::from(xid.value)),
        text(event.channel),
        text(event.event_type),
        event.type_name.and_then(&mut text),
        text(event.audience.name()),
        event.tenant_id.and_then(&mut text),
        event.user_id.and_then(&mut text),
        Some(texts.text(event.payload)),
        event.old_payload.map(|payload| texts.text(payload)),
        event.changed_columns.map(|names| texts.array(&names)),
        metadata,
        Some(pg_sys::Datum::from(now)),
        event.truncated.into_datum(),
    ]
}

/// The texts of one event as PostgreSQL holds them, in one allocation.
struct Texts {
    /// Words, for the alignment.
    words: Vec<u32>,
}

/// Of an array, up to its dimension: size, dimensions, that there are no nulls, type, count, lowest index.
const ARRAY_WORDS: usize = 6;

impl Texts {
    /// With room for all texts, so that none moves when another is added.
    fn for_event(event: &Event<'_>) -> Self {
        let keys = [event.type_name, event.tenant_id, event.user_id].into_iter().flatten();
        let texts = [event.channel, event.event_type, event.audience.name()].into_iter().chain(keys);
        let columns = event.changed_columns.iter().flatten().copied();
        let payloads = [Some(event.payload), event.old_payload].into_iter().flatten();
        let room: usize = texts
            .chain(columns)
            .map(str::as_bytes)
            .chain(payloads)
            .map(|text| 1 + text.len().div_ceil(4))
            .sum();
        Self { words: Vec::with_capacity(room + ARRAY_WORDS) }
    }

    /// A text; valid until this is dropped.
    fn text(&mut self, text: &[u8]) -> pg_sys::Datum {
        let at = self.words.len();
        self.room_for(1 + text.len().div_ceil(4));
        // SAFETY: there is room for the text behind the word of the size.
        unsafe {
            let start = self.words.as_mut_ptr().add(at + 1);
            std::ptr::copy_nonoverlapping(text.as_ptr(), start.cast(), text.len());
        }
        self.sized(at, 4 + text.len())
    }

    /// An array of texts; valid until this is dropped.
    fn array(&mut self, texts: &[&str]) -> pg_sys::Datum {
        let at = self.words.len();
        let dimensions: &[u32] = match u32::try_from(texts.len()).unwrap_or(u32::MAX) {
            0 => &[],
            count => &[count, 1],
        };
        self.room_for(4 + dimensions.len());
        self.words[at + 1] = u32::from(!texts.is_empty());
        self.words[at + 3] = pg_sys::TEXTOID.to_u32();
        self.words[at + 4..].copy_from_slice(dimensions);
        for text in texts {
            self.text(text.as_bytes());
        }
        self.sized(at, (self.words.len() - at) * 4)
    }

    /// Adds zeros, without moving what is there.
    fn room_for(&mut self, words: usize) {
        assert!(self.words.capacity() - self.words.len() >= words, "the event has no such text");
        self.words.resize(self.words.len() + words, 0);
    }

    /// Writes the size of a value, which its first word holds.
    fn sized(&mut self, at: usize, bytes: usize) -> pg_sys::Datum {
        // SAFETY: the word is there.
        unsafe {
            let start = self.words.as_mut_ptr().add(at);
            pgrx::set_varsize_4b(start.cast(), i32::try_from(bytes).unwrap_or(i32::MAX));
            pg_sys::Datum::from(start)
        }
    }
}

/// The setting `tidings.metadata`; content that is not JSON never fails the writer.
fn session_metadata() -> Option<pg_sys::Datum> {
    let setting = settings::METADATA.get()?;
    let text = setting.to_bytes();
    if text.is_empty() {
        return None;
    }
    let problem = if text.len() > settings::max_event_bytes() {
        "is larger than tidings.max_event_bytes"
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
        "is not valid JSON"
    } else {
        return Some(sys::text_datum(text));
    };
    if transaction::first_metadata_warning() {
        crate::error::warn(
            format!("setting tidings.metadata {problem}; events of this transaction have no metadata"),
            "Set it to a JSON object: select set_config('tidings.metadata', '{\"actor\":\"ada\"}', true);",
        );
    }
    None
}

/// A NOTIFY when this transaction commits.
pub(crate) fn notify() {
    sys::notify(c"tidings");
}

fn execute(plan: pg_sys::SPIPlanPtr, values: &mut [Option<pg_sys::Datum>]) {
    let mut datums: Vec<pg_sys::Datum> =
        values.iter().map(|value| value.unwrap_or(pg_sys::Datum::null())).collect();
    let nulls: Vec<std::ffi::c_char> =
        values.iter().map(|value| if value.is_some() { b' ' as _ } else { b'n' as _ }).collect();
    // SAFETY: connect and finish are paired (an error unwinds and the abort cleans up SPI); the plan
    // was made for exactly these parameters.
    let code = unsafe {
        pg_sys::SPI_connect();
        let code = pg_sys::SPI_execute_plan(plan, datums.as_mut_ptr(), nulls.as_ptr(), false, 0);
        pg_sys::SPI_finish();
        code
    };
    if code < 0 {
        error!("tidings could not renumber events: SPI error {code}");
    }
}

/// Runs under the writer's search_path, so every name and operator is qualified.
fn renumber_plan() -> pg_sys::SPIPlanPtr {
    let mut plan = RENUMBER_PLAN.get();
    if plan.is_null() {
        plan = prepare(
            "update tidings.events as e set id = m.new_id \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as m (old_id, new_id) \
             where e.id operator(pg_catalog.=) m.old_id",
            &mut [pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID],
        );
        RENUMBER_PLAN.set(plan);
    }
    plan
}

/// Makes a plan that lives as long as the backend.
fn prepare(statement: &str, types: &mut [pg_sys::Oid]) -> pg_sys::SPIPlanPtr {
    let statement: CString = sys::c_string(statement);
    let count = i32::try_from(types.len()).unwrap_or(0);
    // SAFETY: the strings and types live across the call; SPI_keepplan moves the plan out of the
    // SPI procedure's memory before SPI_finish frees that.
    unsafe {
        pg_sys::SPI_connect();
        let plan = pg_sys::SPI_prepare(statement.as_ptr(), count, types.as_mut_ptr());
        if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
            let code = pg_sys::SPI_result;
            error!("tidings could not prepare a statement: SPI error {code}");
        }
        pg_sys::SPI_finish();
        plan
    }
}
