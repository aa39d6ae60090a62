//! From a committed transaction to a client: the whole path with real processes.

mod acknowledgement;

mod backlog;

pub(crate) mod crash;

mod cursors;

mod many_open;

pub(crate) mod exactly_once;

mod isolation;

pub(crate) mod outage;

mod poll_plan;

mod resume;

mod rows;

use crate::support::database::Database;

/// A table of orders that belong to tenants.
const ORDERS: &str = "
    create table orders (id int primary key, tenant_id text, status text not null, total numeric);
    comment on table orders is 'What customers bought';
    select attach_trigger('orders', type_name => 'Order', tenant_column => 'tenant_id', include_old => true);
";

/// A database with the orders attached.
async fn database_with_orders() -> Database {
    let database = Database::new().await;
    database.connect().await.batch_execute(ORDERS).await.unwrap();
    database
}
