//! Tables attached with row_security: their policies decide who sees what.

mod identities;

mod types;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, token_of};
use crate::support::database::{Database, Session};
use crate::support::websocket::Socket;

/// A table whose rows are their owner's, a reader and an editor.
const DOCS: &str = "
    create table docs (id int primary key, owner text, team text, state text default 'draft', secret text);
    alter table docs enable row level security;
    create policy own on docs for select using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
    grant select (id, owner, team, state) on docs to READER; grant select on docs to EDITOR;
    select attach_trigger('docs', type_name => 'Doc', include_old => true, row_security => true)";

const CHANGES: &str = "subscription { docChanged { operation record { id state } old { id } } }";

/// A database with the table, and a daemon whose tokens may take the two roles.
struct Setting {
    session: Session,
    daemon: Daemon,
    reader: String,
    editor: String,
    _database: Database,
}

impl Setting {
    async fn new(policies: &str) -> Self {
        let database = Database::new().await;
        let session = database.connect().await;
        let (reader, editor) = (database.role().await, database.role().await);
        let fill = |text: &str| text.replace("READER", &reader).replace("EDITOR", &editor);
        session.run(&fill(DOCS)).await;
        session.run(&fill(policies)).await;
        let daemon = Daemon::builder(&database.conninfo())
            .env("TIDINGS_RESOLVE_ROLES", &format!("{reader},{editor}"))
            .env("TIDINGS_EVENTS_ROLES", &editor)
            .start()
            .await;
        Self { session, daemon, reader, editor, _database: database }
    }

    async fn socket(&self, user: &str, role: &str) -> Socket {
        let claims = json!({"sub": user, "role": role});
        Socket::open(&self.daemon, &token_of(claims, Duration::from_secs(600))).await
    }

    async fn subscriber(&self, user: &str, role: &str, query: &str) -> Socket {
        let mut socket = self.socket(user, role).await;
        socket.subscribe("1", query).await;
        socket
    }

    /// The error that a subscription is refused with.
    async fn refusal(&self, user: &str, role: &str, query: &str) -> Value {
        let mut socket = self.socket(user, role).await;
        socket.send(json!({"type": "subscribe", "id": "1", "payload": {"query": query}})).await;
        let message = socket.receive().await;
        assert_eq!(message["type"], "error", "{query}: {message}");
        message["payload"][0].clone()
    }

    /// Runs statements in one transaction.
    async fn write(&self, statements: &str) {
        self.session.run(statements).await;
    }
}

/// The changes that come before `last`, as text without quotes.
async fn changes_until(socket: &mut Socket, last: &str) -> Vec<String> {
    let mut changes = Vec::new();
    while changes.last().is_none_or(|change| change != last) {
        let result = socket.next().await;
        let change = &result["data"]["docChanged"];
        let parts = ["operation", "record", "old"].map(|part| change[part].to_string().replace('"', ""));
        changes.push(parts.join(" "));
    }
    changes
}

#[tokio::test]
async fn a_daemon_without_roles_leaves_the_table_out() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table docs (id int primary key, owner text); alter table docs enable row level security;
             select attach_trigger('docs', type_name => 'Doc', row_security => true)",
        )
        .await;
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_EVENTS_ROLES", "auditor").start().await;
    daemon.wait_for_log("is attached with row_security").await;
    let answer = async |role: &str, query: &str| {
        let claims = json!({"sub": "ann", "role": role});
        let mut socket = Socket::open(&daemon, &token_of(claims, Duration::from_secs(600))).await;
        socket.send(json!({"type": "subscribe", "id": "1", "payload": {"query": query}})).await;
        socket.send(json!({"type": "ping"})).await;
        socket.receive().await["payload"][0]["extensions"]["code"].clone()
    };
    assert_eq!(answer("admin", "subscription { docInserted { id } }").await, "GRAPHQL_VALIDATION_FAILED");
    let events = r#"subscription { events(channel: "public.docs") { data } }"#;
    assert_eq!(answer("auditor", events).await, "FORBIDDEN");
    assert!(answer("admin", events).await.is_null(), "administrators read every channel");
}

#[tokio::test]
async fn everybody_sees_the_records_that_the_policies_admit_for_them() {
    let it = Setting::new("").await;
    let mut ann = it.subscriber("ann", &it.reader, CHANGES).await;
    let mut bob = it.subscriber("bob", &it.editor, CHANGES).await;
    it.write("insert into docs (id, owner) values (1, 'ann'), (2, 'bob'), (3, null), (4, 'ann')").await;
    // The row leaves ann's view and enters bob's.
    it.write("update docs set owner = 'bob' where id = 1").await;
    // The table is empty by the time that anybody could look.
    it.write("update docs set state = 'done' where id = 4; delete from docs; truncate docs").await;
    assert_eq!(
        changes_until(&mut ann, "TRUNCATE null null").await,
        [
            "INSERT {id:1,state:draft} null",
            "INSERT {id:4,state:draft} null",
            "UPDATE {id:4,state:done} {id:4}",
            "DELETE {id:4,state:done} null",
            "TRUNCATE null null",
        ]
    );
    let mut told = changes_until(&mut bob, "TRUNCATE null null").await;
    // The order in which the rows are deleted is not this test's business.
    told[2..4].sort_unstable();
    assert_eq!(
        told,
        [
            "INSERT {id:2,state:draft} null",
            "UPDATE {id:1,state:draft} null",
            "DELETE {id:1,state:draft} null",
            "DELETE {id:2,state:draft} null",
            "TRUNCATE null null",
        ]
    );
}

#[tokio::test]
async fn a_filter_does_not_pass_by_an_old_record_that_is_not_admitted() {
    let it = Setting::new("").await;
    let either = "subscription { docChanged(filter: { state: { eq: \"draft\" } }, filterScope: RECORD_OR_OLD)
        { operation record { id state } old { id } } }";
    let mut ann = it.subscriber("ann", &it.reader, either).await;
    it.write("insert into docs (id, owner, state) values (1, 'bob', 'draft'), (2, 'ann', 'draft')").await;
    it.write("update docs set owner = 'ann', state = 'sent' where id = 1").await;
    it.write("update docs set state = 'sent' where id = 2; truncate docs").await;
    assert_eq!(
        changes_until(&mut ann, "TRUNCATE null null").await,
        ["INSERT {id:2,state:draft} null", "UPDATE {id:2,state:sent} {id:2}", "TRUNCATE null null"]
    );
}

#[tokio::test]
async fn subqueries_restrictions_and_roles_count() {
    let it = Setting::new(
        "create table members (who text, team text); grant select on members to READER, EDITOR;
         insert into members values ('ann', 'red'), ('bob', 'red');
         create policy team on docs for select to EDITOR using (
             exists (select from members m where m.team = docs.team
                 and m.who = current_setting('request.jwt.claims', true)::json ->> 'sub'));
         create policy shown on docs as restrictive for select using (state <> 'hidden')",
    )
    .await;
    let mut reader = it.subscriber("ann", &it.reader, CHANGES).await;
    let mut editor = it.subscriber("bob", &it.editor, CHANGES).await;
    it.write(
        "insert into docs (id, owner, team, state) values
            (1, 'x', 'red', 'a'), (2, 'ann', 'blue', 'a'), (3, 'ann', 'red', 'hidden'), (4, 'bob', null, 'a')",
    )
    .await;
    it.write("truncate docs").await;
    let end = "TRUNCATE null null";
    assert_eq!(changes_until(&mut reader, end).await, ["INSERT {id:2,state:a} null", end]);
    assert_eq!(
        changes_until(&mut editor, end).await,
        ["INSERT {id:1,state:a} null", "INSERT {id:4,state:a} null", end]
    );
    // As of delivery: what the subquery finds now counts.
    it.write("delete from members where who = 'bob'").await;
    it.write("insert into docs (id, team, state) values (5, 'red', 'a')").await;
    it.write("truncate docs").await;
    assert_eq!(changes_until(&mut editor, end).await, [end]);
}

#[tokio::test]
async fn columns_need_the_privilege_to_select_them() {
    let it = Setting::new("").await;
    for (query, line, path) in [
        ("subscription {\n docInserted { id secret } }", 2, json!(["docInserted", "secret"])),
        ("subscription {\n docChanged { old { secret } } }", 2, json!(["docChanged", "old", "secret"])),
        (
            "subscription {\n docInserted(filter: { secret: { eq: \"x\" } }) { id } }",
            2,
            json!(["docInserted"]),
        ),
    ] {
        let error = it.refusal("ann", &it.reader, query).await;
        assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{query}: {error}");
        assert_eq!((&error["locations"][0]["line"], &error["path"]), (&json!(line), &path), "{error}");
    }
    let mut editor = it.subscriber("bob", &it.editor, "subscription { docInserted { secret } }").await;
    it.write("insert into docs (id, owner, secret) values (1, 'bob', 'x')").await;
    assert_eq!(editor.next().await["data"]["docInserted"]["secret"], "x");
    it.write(&format!(
        "revoke select on docs from {0}; grant select (id, owner) on docs to {0};
         insert into docs (id, owner, secret) values (2, 'bob', 'y')",
        it.editor
    ))
    .await;
    // Either the new schema refuses the subscription or the check withholds the result, whichever comes first.
    let message = editor.receive().await;
    assert_eq!(message["type"], "error", "{message}");
}

#[tokio::test]
async fn a_column_that_may_not_be_selected_is_not_named_among_the_changed_ones() {
    let it = Setting::new("").await;
    let query = "subscription { docChanged { changedColumns } }";
    let mut reader = it.subscriber("ann", &it.reader, query).await;
    let mut editor = it.subscriber("ann", &it.editor, query).await;
    it.write("insert into docs (id, owner) values (1, 'ann')").await;
    it.write("update docs set state = 'a', secret = 'x'").await;
    it.write("update docs set secret = 'y'").await;
    let told = async |socket: &mut Socket| {
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(socket.next().await["data"]["docChanged"]["changedColumns"].take());
        }
        told
    };
    assert_eq!(told(&mut reader).await, [json!(null), json!(["state"]), json!([])]);
    assert_eq!(told(&mut editor).await, [json!(null), json!(["state", "secret"]), json!(["secret"])]);
}

#[tokio::test]
async fn a_role_that_is_not_listed_is_refused() {
    let it = Setting::new("").await;
    for role in ["admin", "postgres", "nobody", ""] {
        let error = it.refusal("ann", role, CHANGES).await;
        assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{role}: {error}");
        assert_eq!(error["path"], json!(["docChanged"]), "{error}");
    }
    let events = r#"subscription { events(channel: "public.docs") { data } }"#;
    let error = it.refusal("ann", &it.editor, events).await;
    assert_eq!(error["extensions"]["code"], "FORBIDDEN", "also for events_roles: {error}");
}

#[tokio::test]
async fn a_policy_that_raises_hides_the_events_from_that_identity_alone() {
    let it = Setting::new(
        "create policy fragile on docs for select using (
             1 / (case when current_setting('request.jwt.claims', true)::json ->> 'sub' = 'mallory' or state = 'bad'
                  then 0 else 1 end) = 1)",
    )
    .await;
    let mut ann = it.subscriber("ann", &it.reader, CHANGES).await;
    let mut mallory = it.subscriber("mallory", &it.reader, CHANGES).await;
    it.write("insert into docs (id, owner, state) select n, 'x', case n when 4 then 'bad' else 'a' end from generate_series(1, 9) n").await;
    it.write("truncate docs").await;
    let end = "TRUNCATE null null";
    let mut expected: Vec<String> =
        [1, 2, 3, 5, 6, 7, 8, 9].iter().map(|id| format!("INSERT {{id:{id},state:a}} null")).collect();
    expected.push(end.into());
    assert_eq!(changes_until(&mut ann, end).await, expected, "one bad record hides no other");
    assert_eq!(changes_until(&mut mallory, end).await, [end]);
    it.daemon.wait_for_log("policies raise an error over a record").await;
    it.daemon.wait_for_log("22012").await;
    assert!(!it.daemon.log().contains("mallory"), "claims are not logged");
}

#[tokio::test]
async fn a_policy_that_hangs_holds_up_that_identity_alone() {
    let it = Setting::new(
        "create policy slow on docs for select using (
             case when current_setting('request.jwt.claims', true)::json ->> 'sub' = 'mallory'
                 then pg_sleep(3600) is null else true end)",
    )
    .await;
    let mut ann = it.subscriber("ann", &it.reader, CHANGES).await;
    let mut mallory = it.subscriber("mallory", &it.reader, CHANGES).await;
    it.write("insert into docs (id, owner) values (1, 'x')").await;
    it.write("truncate docs").await;
    let end = "TRUNCATE null null";
    assert_eq!(changes_until(&mut ann, end).await, ["INSERT {id:1,state:draft} null", end]);
    let undecided = "tidings_row_security_records_total{verdict=\"undecided\"}";
    assert_eq!(it.daemon.metric(undecided).await, "0");
    let ended = mallory.receive().await;
    assert_eq!(ended["type"], "error", "to go on would hide a gap: {ended}");
    let extensions = &ended["payload"][0]["extensions"];
    assert_eq!(extensions["code"], "POLICIES_UNDECIDED", "{ended}");
    assert!(extensions["cursor"].is_string(), "{ended}");
    assert_eq!(it.daemon.metric(undecided).await, "1");
    mallory.subscribe("1", CHANGES).await;
}

#[tokio::test]
async fn a_check_that_loses_its_connection_is_made_again() {
    let it = Setting::new(
        "create policy patient on docs for select using (
             pg_sleep(case when current_setting('request.jwt.claims', true)::json ->> 'sub' = 'mallory'
                 then 1.5 else 0 end) is not null)",
    )
    .await;
    let mut mallory = it.subscriber("mallory", &it.reader, CHANGES).await;
    it.write("insert into docs (id, owner) values (1, 'x')").await;
    let sleeping = "select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'tidings resolve' and wait_event = 'PgSleep' and datname = current_database()";
    while it.session.lines(sleeping).await.is_empty() {}
    let end = "TRUNCATE null null";
    it.write("truncate docs").await;
    assert_eq!(changes_until(&mut mallory, end).await, ["INSERT {id:1,state:draft} null", end]);
}

#[tokio::test]
async fn a_change_of_the_policies_counts_from_then_on() {
    let it = Setting::new("").await;
    let mut ann = it.subscriber("ann", &it.reader, CHANGES).await;
    let end = "TRUNCATE null null";
    for (change, seen) in [
        ("select", false),
        ("create policy all_of_them on docs for select using (true)", true),
        ("alter policy all_of_them on docs using (id < 0)", false),
        ("drop policy all_of_them on docs; alter table docs disable row level security", true),
        ("alter table docs enable row level security", false),
    ] {
        it.write(change).await;
        it.write("insert into docs (id, owner) values (1, 'bob')").await;
        it.write("truncate docs").await;
        let told = changes_until(&mut ann, end).await;
        assert_eq!(told.len() == 2, seen, "{change}: {told:?}");
    }
}

#[tokio::test]
async fn whoever_has_the_same_role_and_claims_shares_the_checks() {
    let it = Setting::new("").await;
    let token = |user: &str| token_of(json!({"sub": user, "role": it.reader}), Duration::from_secs(600));
    let (ann, bob) = (token("ann"), token("bob"));
    let mut sockets = Vec::new();
    for token in [&ann, &ann, &ann, &ann, &bob] {
        let mut socket = Socket::open(&it.daemon, token).await;
        socket.subscribe("1", "subscription { docChanged { operation } }").await;
        sockets.push(socket);
    }
    it.write("insert into docs (id, owner) values (1, 'ann'), (2, 'ann'), (3, 'bob')").await;
    it.write("truncate docs").await;
    for socket in &mut sockets {
        while socket.next().await["data"]["docChanged"]["operation"] != "TRUNCATE" {}
    }
    let records = async |verdict: &str| {
        it.daemon.metric(&format!("tidings_row_security_records_total{{verdict=\"{verdict}\"}}")).await
    };
    // Three records for each of two identities, however many subscriptions they have.
    assert_eq!((records("admitted").await.as_str(), records("denied").await.as_str()), ("3", "3"));
}
