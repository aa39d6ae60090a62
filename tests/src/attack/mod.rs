//! Mallory of globex tries to see what is acme's, by every means that a client has.
//!
//! Each attack has a control: the same means, used by ann of acme, shows the secret. Without it a test would pass
//! because nothing was there to be seen.

mod documents;

mod replay;

mod reservations;

mod side_channels;

mod sockets;

mod tokens;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Builder, Daemon, token_of};
use crate::support::database::{Database, Session};
use crate::support::websocket::Socket;
use crate::support::within;

/// Stands in everything that is acme's, and nowhere else.
const SECRET: &str = "SECRET-OF-ACME";

/// What both tenants have: rows, letters, and a vault that only row security keeps apart.
const SETUP: &str = r#"
    create table orders (id int primary key, tenant_id text, note text);
    grant select on orders to WEB;
    select attach_trigger('orders', 'Order', tenant_column => 'tenant_id', include_old => true);
    create schema app;
    create table app.vault (tenant text, content text);
    insert into app.vault values ('acme', 'SECRET-OF-ACME'), ('globex', 'of globex');
    alter table app.vault enable row level security;
    create policy own on app.vault
        using (tenant = current_setting('request.jwt.claims')::jsonb ->> 'tenant_id');
    grant usage on schema app to WEB; grant select on app.vault to WEB;
    create function app.vault(event jsonb, arguments jsonb) returns jsonb stable language sql as $$
        select jsonb_agg(content) from app.vault where tenant = arguments ->> 'tenant' $$;
    create function app.broken(event jsonb, arguments jsonb) returns jsonb stable language plpgsql as $$
        begin raise exception 'cannot handle %', event; end $$;
    insert into tidings.definitions (name, sdl) values ('default', $sdl$
        type Letter {
            body: String
            pay: String @visibleTo(roles: ["BOSS"])
            vault(tenant: String): [String!] @resolve(function: "app.vault")
            ofTenant(tenant: String): [String!] @resolve(function: "app.vault", scope: TENANT)
            broken: String @resolve(function: "app.broken")
        }
        extend type Subscription {
            letter(box: ID): Letter @event(channel: "letters", type: "sent")
        }
    $sdl$);
"#;

/// A database of two tenants with its daemon.
struct Arena {
    _database: Database,
    sql: Session,
    daemon: Daemon,
    /// A role that tokens may take.
    web: String,
    /// The role that may see what is redacted for others.
    boss: String,
    /// The last row that was written.
    row: std::cell::Cell<i32>,
}

impl Arena {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// An arena whose daemon has settings of its own.
    async fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let database = Database::new().await;
        let (web, boss) = (database.role().await, database.role().await);
        let sql = database.connect().await;
        sql.run(&SETUP.replace("WEB", &web).replace("BOSS", &boss)).await;
        let builder = Daemon::builder(&database.conninfo())
            .env("TIDINGS_RESOLVE_ROLE", &web)
            .env("TIDINGS_RESOLVE_ROLES", &format!("{web},{boss}"));
        let daemon = settings(builder).start().await;
        Self { _database: database, sql, daemon, web, boss, row: 0.into() }
    }

    fn token(&self, user: &str, tenant: &str) -> String {
        token_of(json!({"sub": user, "tenant_id": tenant, "role": self.web}), Duration::from_secs(600))
    }

    fn ann(&self) -> String {
        self.token("ann", "acme")
    }

    fn mallory(&self) -> String {
        self.token("mallory", "globex")
    }

    /// Both tenants write a row and a letter, acme first. Returns the number of globex's row.
    async fn both_write(&self) -> i32 {
        let row = self.row.get() + 2;
        self.row.set(row);
        let acme = row - 1;
        self.sql
            .run(&format!(
                r#"begin;
                insert into orders values ({acme}, 'acme', '{SECRET}'); update orders set note = note where id = {acme};
                select publish_event('letters', 'sent', '{{"box": "7", "body": "{SECRET}"}}', tenant_id => 'acme');
                select publish_event('letters', 'sent', '{{"box": "7", "body": "{SECRET}"}}', 'acme', 'ann');
                delete from orders where id = {acme};
                commit;
                begin;
                select publish_event('letters', 'sent', '{{"box": "7", "body": "of globex"}}', tenant_id => 'globex');
                insert into orders values ({row}, 'globex', 'of globex');
                commit"#
            ))
            .await;
        row
    }

    /// What a request shows to somebody while both tenants write: its results, as text.
    async fn seen(&self, token: &str, tenant: &str, request: &Value) -> Vec<String> {
        let mut socket = Socket::open(&self.daemon, token).await;
        socket.send(json!({"type": "subscribe", "id": "request", "payload": request})).await;
        socket.send(json!({"type": "subscribe", "id": "end", "payload": {"query": "subscription { orderInserted { id } }"}})).await;
        // Messages are taken in order, so the answer to a query says that both are live, or refused.
        socket.send(json!({"type": "subscribe", "id": "live", "payload": {"query": "{ __typename }"}})).await;
        let mut seen = Vec::new();
        until(&mut socket, &mut seen, |message| message["id"] == "live" && message["type"] == "complete")
            .await;
        let row = self.both_write().await;
        let last = if tenant == "globex" { row } else { row - 1 };
        until(&mut socket, &mut seen, |message| {
            message["id"] == "end" && message["payload"]["data"]["orderInserted"]["id"] == last
        })
        .await;
        // What functions resolve may come later than the rows. A subscription's results come in the order of their
        // events, so whoever has the last of their own letters would have everything before it.
        let is_refused = seen.first().is_some_and(|text| text.contains("\"type\":\"error\""));
        let letters = match tenant {
            _ if is_refused || !request["query"].as_str().unwrap().contains("letter") => 0,
            "globex" => 1,
            _ => 2,
        };
        while seen.len() < letters {
            let count = seen.len();
            until(&mut socket, &mut seen, |message| message["id"] == "request").await;
            assert!(seen.len() > count);
        }
        seen
    }

    /// Mallory makes a request and sees nothing of acme's; ann makes the same, and does.
    async fn shows_nothing(&self, request: &Value) {
        self.shows_nothing_but(request, request).await;
    }

    /// The same where the means of an attack has to be aimed at somebody: ann's request is another.
    async fn shows_nothing_but(&self, attack: &Value, control: &Value) {
        let seen = self.seen(&self.mallory(), "globex", attack).await;
        assert!(!seen.iter().any(|text| text.contains(SECRET)), "{attack}: {seen:#?}");
        let seen = self.seen(&self.ann(), "acme", control).await;
        assert!(seen.iter().any(|text| text.contains(SECRET)), "the control fails: {control}: {seen:#?}");
    }
}

/// Receives until a message; what came for the request is added to `seen`.
async fn until(socket: &mut Socket, seen: &mut Vec<String>, end: impl Fn(&Value) -> bool) {
    within("the end of what is seen", async {
        loop {
            let message = socket.receive().await;
            if message["id"] == "request" {
                seen.push(message.to_string());
            }
            if end(&message) {
                return;
            }
        }
    })
    .await;
}
