//! A database of a test's own on the suite's server.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, NoTls};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh database with the extension.
pub struct Database {
    name: String,
    server: String,
}

impl Database {
    /// Creates it.
    pub async fn create() -> Self {
        let server =
            std::env::var("TIDINGS_TEST_URL").expect("TIDINGS_TEST_URL names a server; run `make test`");
        let name = format!("tidings_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Self { name, server };
        let admin = connect(&database.server).await;
        admin.batch_execute(&format!("create database {}", database.name)).await.unwrap();
        database.client().await.batch_execute("create extension tidings").await.unwrap();
        database
    }

    /// Its URL, as superuser.
    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    /// A connection as superuser.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
