//! Clients that people use, unchanged, with their usual options. `tests/clients/matrix.txt` lists them.

mod events;

mod killed;

mod resumed;

use crate::support::database::Database;

/// A database with a table whose rows belong to tenants.
async fn database_with_orders() -> Database {
    let database = Database::new().await;
    let sql = database.connect().await;
    sql.run(
        "create table orders (id int primary key, tenant_id text, status text default 'new', total numeric)",
    )
    .await;
    sql.run("select attach_trigger('orders', type_name => 'Order', tenant_column => 'tenant_id')").await;
    database
}
