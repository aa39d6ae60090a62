//! What it takes until a subscription is live, and gone again.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use tidings_daemon::graphql::error::GraphQLError;
use tidings_daemon::service::{Service, ServiceOptions};
use tidings_daemon::source::memory;
use tokio::runtime::Builder;

use super::{Case, Work};
use crate::room::identity;
use crate::shop;

pub(super) fn cases(cases: &mut Vec<Case>) {
    cases.push(Case::new("subscribe/plain", "subscription", 1, || {
        work("subscription { orderInserted { id total note state } }", Value::Null)
    }));
    cases.push(Case::new("subscribe/filtered", "subscription", 1, || {
        let query = "subscription($id: BigInt, $least: BigFloat) {
            orderChanged(id: $id, filter: { total: { gte: $least }, state: { in: [paid, sent] } }) {
                operation record { id state total note } changedColumns } }";
        work(query, json!({ "id": 7, "least": 10 }))
    }));
}

/// A known document: whoever sent it first has paid for its validation.
fn work(query: &str, variables: Value) -> Result<Work> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let (publisher, source) = memory::source(shop::catalog(), 1);
    let service = runtime.block_on(async {
        let service = Service::start(source, ServiceOptions::default());
        service.ready().await;
        service
    });
    let (identity, request) = (identity(0), shop::request(query, variables));
    let subscribe = move || {
        let _ = &publisher;
        runtime.block_on(async {
            let mut connection = service.connect(identity.clone());
            let permit = service.authorize(&request, &identity).await?;
            connection.subscribe(permit).map(drop)
        })
    };
    subscribe().map_err(|errors: Vec<GraphQLError>| anyhow!("{errors:?}"))?;
    Ok(Box::new(move || {
        // It was accepted a moment ago.
        let _ = subscribe();
    }))
}
