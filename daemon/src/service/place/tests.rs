//! Whoever goes on from the place after any delivery gets the rest of each subscription, once.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Place;
use crate::event::Event;
use crate::graphql::request::Request;
use crate::hub::audience::Identity;
use crate::hub::mailbox::{Delivery, MailboxLimits, SubscriptionId};
use crate::service::{Connection, Service, ServiceOptions};
use crate::source::catalog::Catalog;
use crate::source::memory;

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

/// A client with one subscription to each of several channels, one of them throttled.
struct Client {
    connection: Connection,
    channels: HashMap<SubscriptionId, &'static str>,
    place: Option<HashMap<&'static str, String>>,
    got: HashMap<&'static str, Vec<u64>>,
}

fn request(channel: &str) -> Request {
    let throttle = if channel == "d" { " @throttle(ms: 5)" } else { "" };
    let query = format!("subscription {{ events(channel: \"{channel}\"){throttle} {{ data }} }}");
    Request { query, ..Request::default() }
}

impl Client {
    async fn come(service: &Service, before: Option<Self>) -> Self {
        let identity = Arc::new(Identity::default());
        let mut connection = service.connect(identity.clone());
        connection.know_place();
        let mut client = Self { connection, channels: HashMap::new(), place: None, got: HashMap::new() };
        let stood = before.as_ref().and_then(|before| before.place.clone());
        client.got = before.map(|before| before.got).unwrap_or_default();
        for channel in CHANNELS {
            let mut request = request(channel);
            if let Some(cursor) = stood.as_ref().and_then(|stood| stood.get(channel)) {
                request.resume_after(cursor.clone());
            }
            let permit = service.authorize(&request, &identity).await.unwrap();
            let subscription = client.connection.subscribe(permit).unwrap();
            client.channels.insert(subscription, channel);
        }
        client.place = stood;
        client
    }

    /// Reads what there is, or the beginning of it.
    async fn read(&mut self, upto: usize) {
        let mut deliveries = Vec::new();
        let wait = std::time::Duration::from_millis(1);
        if tokio::time::timeout(wait, self.connection.drain(&mut deliveries)).await.is_err() {
            return;
        }
        for delivery in deliveries.iter().take(upto) {
            let place = self.connection.place_after(delivery);
            self.take(delivery, &place);
        }
    }

    fn take(&mut self, delivery: &Delivery, place: &Place) {
        let Delivery::Next { subscription, result, .. } = delivery else { panic!("{delivery:?}") };
        let channel = self.channels[subscription];
        let text = std::str::from_utf8(result).unwrap();
        let number = text.rsplit(':').next().unwrap().trim_end_matches('}').parse().unwrap();
        self.got.entry(channel).or_default().push(number);
        let behind: HashMap<_, _> = place.behind.iter().cloned().collect();
        let of = |subscription| behind.get(subscription).unwrap_or(&place.cursor).to_string();
        let all = self.channels.iter();
        self.place = Some(all.map(|(subscription, channel)| (*channel, of(subscription))).collect());
    }
}

#[tokio::test(start_paused = true)]
async fn s20_whoever_goes_on_from_a_place_gets_the_rest_of_everything_once() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let (publisher, source) = memory::source(Catalog::default(), 100);
        let mailbox = MailboxLimits { messages: random.random_range(4..60), ..MailboxLimits::default() };
        let service = Service::start(source, ServiceOptions { mailbox, ..ServiceOptions::default() });
        service.ready().await;
        let mut client = Client::come(&service, None).await;
        let mut published: HashMap<&str, Vec<u64>> = HashMap::new();
        for number in 0..300 {
            let channel = CHANNELS[random.random_range(0..CHANNELS.len())];
            published.entry(channel).or_default().push(number);
            let payload = number.to_string().into();
            let event =
                Event { channel: channel.into(), event_type: "e".into(), payload, ..Event::default() };
            publisher.publish(event).await.unwrap();
            match random.random_range(0..12) {
                0..4 => client.read(usize::MAX).await,
                // Before it knows a place it would begin anew.
                4 if client.place.is_some() => {
                    client.read(random.random_range(0..5)).await;
                    client = Client::come(&service, Some(client)).await;
                }
                _ => {}
            }
        }
        for _ in 0..100 {
            client.read(usize::MAX).await;
        }
        for channel in CHANNELS {
            let (got, all) = (&client.got[channel], &published[channel]);
            if channel == "d" {
                // Conflated: what is left out may come later again, but never twice, and the last one always comes.
                assert!(got.is_sorted_by(|a, b| a < b), "seed {seed}, {channel}: {got:?}");
                assert_eq!(got.last(), all.last(), "seed {seed}, {channel}");
            } else {
                assert_eq!(got, all, "seed {seed}, channel {channel}");
            }
        }
    }
}
