//! The worker that sends one NOTIFY for many commits.
//!
//! It serves the database of `tidings.database` and needs no extension there to do so: what it sends is a hint.
//! While it is not there (it starts again five seconds after an error, or was never asked for) transactions notify by
//! themselves. A commit that had counted on it leaves its flag behind, which the next worker finds; and the daemon
//! looks once a second without any hint.

use crate::{settings, sys};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::prelude::*;
use pgrx::{PgAtomic, pg_shmem_init};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// Whether somebody committed since the last NOTIFY.
// SAFETY: the name is of this library alone.
static PENDING: PgAtomic<AtomicBool> = unsafe { PgAtomic::new(c"tidings_wake_up_pending") };

/// The database that is served; zero while none is.
// SAFETY: as above.
static DATABASE: PgAtomic<AtomicU32> = unsafe { PgAtomic::new(c"tidings_wake_up_database") };

/// Where the worker's latch is, in memory that all processes have at the same place; zero while there is none.
// SAFETY: as above.
static LATCH: PgAtomic<AtomicUsize> = unsafe { PgAtomic::new(c"tidings_wake_up_latch") };

/// Whether this process descends from one that asked for the shared memory.
static PRELOADED: AtomicBool = AtomicBool::new(false);

/// Pause before a worker that ended is started again.
const RESTART: Duration = Duration::from_secs(5);

/// Shortest time between two NOTIFYs, in microseconds. Each costs the daemon a poll, and a writer whose commit follows one
/// would have to make a system call to wake the worker again. Half of a NOTIFY's way to a client is not noticed.
const PAUSE_US: std::ffi::c_long = 500;

/// Asks for shared memory and for the worker, if the server is preloading us.
pub(crate) fn register() {
    // SAFETY: a flag of this process that only the server's start sets.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        return;
    }
    PRELOADED.store(true, Ordering::Relaxed);
    pg_shmem_init!(PENDING);
    pg_shmem_init!(DATABASE);
    pg_shmem_init!(LATCH);
    BackgroundWorkerBuilder::new("tidings wake-up")
        .set_library("tidings")
        .set_function("tidings_wake_up")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(RESTART))
        .enable_spi_access()
        .load();
}

pub(super) fn serves_this_database() -> bool {
    // SAFETY: a variable of this process.
    let this = unsafe { pg_sys::MyDatabaseId };
    PRELOADED.load(Ordering::Relaxed) && DATABASE.get().load(Ordering::Acquire) == this.to_u32()
}

/// Has the worker send a NOTIFY soon. Nothing here can fail: the transaction has committed.
pub(super) fn wake() {
    // Whoever finds it set has a worker that has not looked yet.
    if !PRELOADED.load(Ordering::Relaxed) || PENDING.get().swap(true, Ordering::AcqRel) {
        return;
    }
    let latch = LATCH.get().load(Ordering::Acquire) as *mut pg_sys::Latch;
    if !latch.is_null() {
        // SAFETY: latches of processes lie in shared memory for as long as the server runs. If the worker has ended
        // meanwhile, another process wakes up for nothing, which all of them expect.
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// The worker's main function.
///
/// # Safety
/// The server calls it in a process of its own.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn tidings_wake_up(_arg: pg_sys::Datum) {
    // SAFETY: a handler of the server itself: it ends the process at the next safe place, and the server starts it
    // again unless it is shutting down.
    unsafe { on_sigterm(sys::die) };
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
    let database = wait_for_a_name();
    BackgroundWorker::connect_worker_to_spi(Some(&database), None);
    BackgroundWorker::transaction(|| {
        if let Err(error) = Spi::run("set synchronous_commit = off") {
            warning!("tidings wake-up: {error}");
        }
    });
    // SAFETY: called in the process that the function is for, with a function of this library.
    unsafe { pg_sys::before_shmem_exit(Some(leave), pg_sys::Datum::from(0)) };
    // SAFETY: variables of this process.
    let (latch, this) = unsafe { (pg_sys::MyLatch, pg_sys::MyDatabaseId) };
    LATCH.get().store(latch as usize, Ordering::Release);
    DATABASE.get().store(this.to_u32(), Ordering::Release);
    log!("tidings wake-up serves database \"{database}\"");
    // What was committed while no worker was there.
    PENDING.get().store(true, Ordering::Release);
    loop {
        if PENDING.get().swap(false, Ordering::AcqRel) {
            BackgroundWorker::transaction(crate::store::notify);
            // SAFETY: sleeps; a signal ends it early.
            unsafe { pg_sys::pg_usleep(PAUSE_US) };
        } else {
            BackgroundWorker::wait_latch(None);
        }
        if reload() && configured() != database {
            // SAFETY: ends this process, and has it started again.
            unsafe { pg_sys::proc_exit(1) };
        }
    }
}

/// Waits until `tidings.database` names one.
fn wait_for_a_name() -> String {
    loop {
        let name = configured();
        if !name.is_empty() {
            return name;
        }
        BackgroundWorker::wait_latch(None);
        reload();
    }
}

fn configured() -> String {
    settings::DATABASE.get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Reads the configuration again if that was asked for. Whether it was.
fn reload() -> bool {
    let asked = BackgroundWorker::sighup_received();
    if asked {
        // SAFETY: what every process of the server does after SIGHUP.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    }
    asked
}

/// From now on transactions notify by themselves.
#[pg_guard]
unsafe extern "C-unwind" fn leave(_code: c_int, _arg: pg_sys::Datum) {
    DATABASE.get().store(0, Ordering::Release);
    LATCH.get().store(0, Ordering::Release);
}

/// # Safety
/// The handler must be one that may run in a signal.
unsafe fn on_sigterm(handler: unsafe extern "C-unwind" fn(c_int)) {
    const SIGTERM: c_int = 15;
    // SAFETY: the caller vouches for the handler.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(SIGTERM, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(SIGTERM, Some(handler));
    }
}
