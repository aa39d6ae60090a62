//! What retention does to writers, to the stream and to those who come back, and what holds it back.

mod absence;

mod client;

mod day;

mod races;

mod size;

mod state;

use crate::support::daemon::{Builder, Daemon};
use crate::support::database::{Database, Session};
use crate::support::within;

/// A table of orders that everybody may see.
const ORDERS: &str = "
    create table orders (id int primary key, note text default 'x');
    select attach_trigger('orders', type_name => 'Order', channel => 'orders');
";

const INSERTED: &str = "subscription { orderInserted { id } }";

/// Everything that has been committed is removed.
const REMOVE_ALL: &str = "
    do $$
    begin
        perform tidings.remove_slot(slot, null) from generate_series(0, 2) slot;
    end
    $$";

/// A database with the orders attached.
async fn database_with_orders() -> Database {
    let database = Database::new().await;
    database.connect().await.run(ORDERS).await;
    database
}

/// A daemon that remembers nothing: what retention removes from the table is gone for whoever comes back.
fn forgetful(conninfo: &str) -> Builder {
    Daemon::builder(conninfo).env("TIDINGS_RING_EVENTS", "0")
}

/// Waits until a query says yes.
async fn until(session: &Session, query: &str) {
    within(query, async {
        while session.line(query).await != "t" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
