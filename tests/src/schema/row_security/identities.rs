//! A hundred identities and ten thousand events: everybody receives what PostgreSQL would let them select.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::daemon::{Daemon, token_of};
use crate::support::database::Database;
use crate::support::websocket::Socket;

const IDENTITIES: usize = 100;
const EVENTS: usize = 10_000;
/// Rows of one transaction. The last of each is everybody's, so that a subscriber knows when it has all.
const ROUND: usize = 1_000;

const TABLE: &str = "
    create table items (id int primary key, owner text, team int, state text);
    create table members (who text, team int);
    insert into members select 'u' || n, n % 40 from generate_series(0, 99) n;
    alter table items enable row level security;
    create policy own on items using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
    create policy team on items for select to EDITOR using (team in (
        select m.team from members m where m.who = current_setting('request.jwt.claims', true)::json ->> 'sub'));
    create policy everybody on items for select using (state = 'all');
    create policy secret on items as restrictive for select to READER using (state <> 'secret');
    grant select on items, members to READER, EDITOR;
    select attach_trigger('items', type_name => 'Item', row_security => true)";

struct Subscriber {
    user: String,
    role: String,
    socket: Socket,
    received: BTreeSet<i64>,
}

impl Subscriber {
    /// Receives until the row that ends a round.
    async fn receive_until(&mut self, last: i64) {
        loop {
            let result = self.socket.next().await;
            let id = result["data"]["itemInserted"]["id"].as_i64().unwrap_or_else(|| panic!("{result}"));
            assert!(self.received.insert(id), "{} received {id} twice", self.user);
            if id == last {
                return;
            }
        }
    }
}

#[tokio::test]
async fn everybody_receives_exactly_what_postgresql_lets_them_select() {
    let database = Database::new().await;
    let session = database.connect().await;
    let (reader, editor) = (database.role().await, database.role().await);
    session.run(&TABLE.replace("READER", &reader).replace("EDITOR", &editor)).await;
    let daemon = Daemon::builder(&database.conninfo())
        .env("TIDINGS_RESOLVE_ROLES", &format!("{reader},{editor}"))
        .env("TIDINGS_RESOLVE_TIMEOUT_MS", "30000")
        .start()
        .await;
    let mut subscribers = Vec::new();
    for number in 0..IDENTITIES {
        let (user, role) = (format!("u{number}"), if number % 2 == 0 { &reader } else { &editor });
        let token = token_of(json!({"sub": user, "role": role}), Duration::from_secs(600));
        let mut socket = Socket::open(&daemon, &token).await;
        socket.subscribe("1", "subscription { itemInserted { id owner } }").await;
        subscribers.push(Subscriber { user, role: role.clone(), socket, received: BTreeSet::new() });
    }

    let began = Instant::now();
    for first in (1..=EVENTS).step_by(ROUND) {
        let last = first + ROUND - 1;
        session
            .run(&format!(
                "insert into items
                 select n, 'u' || n * 7919 % 97, n * 104729 % 60,
                     case when n = {last} then 'all' when n % 5 = 0 then 'secret' else 'open' end
                 from generate_series({first}, {last}) n"
            ))
            .await;
        join_all(subscribers.iter_mut().map(|it| it.receive_until(i64::try_from(last).unwrap()))).await;
    }
    let took = began.elapsed();

    let mut deliveries = 0;
    for Subscriber { user, role, received, .. } in &subscribers {
        session
            .run(&format!(
                "begin; set local role {role}; set local \"request.jwt.claims\" = '{{\"sub\":\"{user}\"}}'"
            ))
            .await;
        let allowed = session.lines("select id from items order by id").await;
        session.run("rollback").await;
        let received: Vec<String> = received.iter().map(i64::to_string).collect();
        assert_eq!(received, allowed, "{user} as {role}");
        deliveries += received.len();
    }
    println!(
        "{IDENTITIES} identities, {EVENTS} events: {deliveries} deliveries, all as PostgreSQL says, \
         by {} check statements over {} denied records in {:.1} s",
        daemon.metric("tidings_row_security_checks_total").await,
        daemon.metric("tidings_row_security_records_total{verdict=\"denied\"}").await,
        took.as_secs_f64()
    );
}
