//! Events that come by NOTIFY, for the programs that stand where a server does.

use anyhow::{Context, Result};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_postgres::{AsyncMessage, Client, Error, NoTls};

/// What the load generator sends.
#[derive(Debug, Deserialize)]
pub struct Payload<'a> {
    /// Whom it is for.
    pub channel: &'a str,
    /// What they get.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// A connection, and what comes over it once [`listen`] has been awaited. Nothing happens unless somebody reads it.
///
/// # Errors
/// If there is no database.
pub async fn connect(url: &str) -> Result<(Client, impl Stream<Item = Result<AsyncMessage, Error>> + use<>)> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.context("the database")?;
    Ok((client, futures_util::stream::poll_fn(move |context| connection.poll_message(context))))
}

/// Has the events come.
///
/// # Errors
/// If the database does not want that.
pub async fn listen(client: &Client) -> Result<()> {
    client.batch_execute("listen bench").await.context("LISTEN")
}
