//! Everything goes wrong, and every client's history is reconciled with the table.
//!
//! # Layout
//!
//! `workload` is what is written; `transport` (with `http` and `websocket`) how clients subscribe; `client` one
//! that comes back whatever happens; `nodes` the daemons and the network around them; `ledger` reconciles. The tests:
//! `everything` is all faults but promotion, one after the other; `standby` promotes one; in `network` nothing but the
//! network fails; `places` takes cursors from node to node; `held` is what is not delivered before a standby has it. The
//! database's resources: `clock`, `disk`, `queue`. In `soak` nothing fails, for a long time.
//!
//! `make test-faults` is the long form. Sizes: `TIDINGS_FAULT_WRITERS`, `TIDINGS_FAULT_CLIENTS`, `TIDINGS_FAULT_ROUNDS`.

use std::sync::LazyLock;
use std::time::Duration;

mod workload;

mod transport;

mod http;

mod websocket;

mod client;

mod nodes;

mod ledger;

mod everything;

mod held;

mod standby;

mod network;

mod places;

mod clock;

mod disk;

mod queue;

mod soak;

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    writers: u64,
    clients: u64,
    /// How often each fault happens.
    rounds: u64,
}

impl Sizes {
    /// Those of the environment, else those of the short form.
    fn get() -> Self {
        static SIZES: LazyLock<Sizes> = LazyLock::new(|| Sizes {
            writers: size("WRITERS", 24),
            clients: size("CLIENTS", 12),
            rounds: size("ROUNDS", 1),
        });
        *SIZES
    }

    /// How often each writer begins a transaction: what is written reaches half of the clients, and a machine of two
    /// processors has to get it to them.
    fn pace(self) -> Duration {
        Duration::from_millis(5 * self.clients)
    }
}

fn size(name: &str, short: u64) -> u64 {
    let name = format!("TIDINGS_FAULT_{name}");
    std::env::var(&name).map_or(short, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
