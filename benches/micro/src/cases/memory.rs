//! The memory source, from whoever publishes to few subscribers: the whole path but for the sockets.

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use tidings_daemon::event::Event;
use tidings_daemon::graphql::error::GraphQLError;
use tidings_daemon::hub::mailbox::Delivery;
use tidings_daemon::service::{Connection, Service, ServiceOptions};
use tidings_daemon::source::memory::{self, Publisher};
use tokio::runtime::{Builder, Runtime};

use super::{Case, Work};
use crate::room::identity;
use crate::shop;

/// Events of one call: as many as the source takes at once.
const EVENTS: usize = 1_000;

const QUERY: &str = "subscription { orderInserted { id total note state } }";

pub(super) fn cases(cases: &mut Vec<Case>) {
    for subscribers in [0, 1, 4] {
        cases.push(Case::new(format!("memory/{subscribers}"), "event", EVENTS, move || work(subscribers)));
    }
}

struct Bus {
    runtime: Runtime,
    publisher: Publisher,
    subscribers: Vec<Connection>,
    /// Somebody of another tenant, to whom the last event of each turn goes: then all have passed by.
    last: Connection,
    deliveries: Vec<Delivery>,
    /// What is published each turn.
    events: Vec<Event>,
}

impl Bus {
    fn new(subscribers: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let (publisher, source) = memory::source(shop::catalog(), EVENTS);
        let (subscribers, last) = runtime.block_on(async {
            let service = Service::start(source, ServiceOptions::default());
            service.ready().await;
            let mut all = Vec::new();
            for _ in 0..subscribers {
                all.push(subscribe(&service, 0).await?);
            }
            anyhow::Ok((all, subscribe(&service, 1).await?))
        })?;
        let events = (1..=EVENTS).map(|number| shop::inserted(7, usize::from(number == EVENTS))).collect();
        Ok(Self { runtime, publisher, subscribers, last, deliveries: Vec::new(), events })
    }

    /// Publishes and waits until everybody has everything. Returns how many deliveries there were.
    fn turn(&mut self) -> usize {
        let Self { runtime, publisher, subscribers, last, deliveries, events } = self;
        let mut count = 0;
        runtime.block_on(async {
            for event in events.iter() {
                // The service lives as long as the bus.
                let _ = publisher.publish(event.clone()).await;
            }
            for connection in subscribers.iter_mut().chain([last]) {
                connection.drain(deliveries).await;
                count += deliveries.len();
                deliveries.clear();
            }
        });
        count
    }
}

async fn subscribe(service: &Service, tenant: usize) -> Result<Connection> {
    let identity = identity(tenant);
    let refused = |errors: Vec<GraphQLError>| anyhow!("{errors:?}");
    let mut connection = service.connect(identity.clone());
    let permit = service.authorize(&shop::request(QUERY, Value::Null), &identity).await.map_err(refused)?;
    connection.subscribe(permit).map_err(refused)?;
    Ok(connection)
}

fn work(subscribers: usize) -> Result<Work> {
    let mut bus = Bus::new(subscribers)?;
    let mut taken = 0;
    // The first turns may be taken in parts.
    for _ in 0..3 {
        taken = bus.turn();
    }
    ensure!(taken > 0, "deliveries");
    Ok(Box::new(move || {
        bus.turn();
    }))
}
