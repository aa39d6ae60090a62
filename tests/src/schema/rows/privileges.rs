//! A subscriber gets what it could select.

use tidings_daemon::event::Audience;
use tidings_daemon::source::functions::CallError;

use super::Setting;

const NOTES: &str = "
    create table notes (id int primary key, owner text, team text, body text, secret text);
    insert into notes values (1, 'ann', 't1', 'x', 's'), (2, 'bob', 't1', 'y', 's'), (3, 'ann', null, 'z', 's'), (4, 'ann', '', 'z', 's');
";

impl Setting {
    async fn raised(&self, table: &str) -> String {
        match self.refusal(table).await {
            CallError::Raised(message) => message.replace(&self.reader, "READER"),
            error => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn row_security_decides_by_role_and_claims() {
    let setting = Setting::new(NOTES).await;
    setting
        .run(
            "alter table notes enable row level security;
             create policy own on notes for select using (owner = current_setting('request.jwt.claims', true)::json ->> 'sub');
             grant select on notes to READER;
             select attach_trigger('notes', row_security => true, columns => '{id,owner}')",
        )
        .await;
    for (claims, expected) in
        [(r#"{"sub":"ann"}"#, vec![1, 3, 4]), (r#"{"sub":"bob"}"#, vec![2]), ("{}", vec![])]
    {
        let read = setting.read_as(&setting.reader, claims, "notes", Vec::new(), usize::MAX);
        let (rows, _) = read.await.unwrap();
        let ids: Vec<i64> = rows.iter().map(|row| row.json()["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, expected, "{claims}");
    }
    // The policy fails for claims that are no JSON; that is not the client's business.
    let read = setting.read_as(&setting.reader, "no json", "notes", Vec::new(), usize::MAX);
    assert_eq!(read.await.unwrap_err(), CallError::Failed);
}

#[tokio::test]
async fn columns_that_the_role_may_not_select_are_left_out() {
    let setting = Setting::new(NOTES).await;
    setting.run("grant select (body, owner) on notes to READER; select attach_trigger('notes')").await;
    let mut records = setting.records("notes").await;
    // The key cannot be selected, so nothing is said about the order.
    records.sort();
    let record = |owner: &str, body: &str| format!(r#"{{"owner":"{owner}","body":"{body}"}}"#);
    assert_eq!(records, [record("ann", "x"), record("ann", "z"), record("ann", "z"), record("bob", "y")]);
    setting.run("grant select (id) on notes to READER").await;
    assert_eq!(setting.records("notes").await[1], r#"{"id":2,"owner":"bob","body":"y"}"#);
}

#[tokio::test]
async fn a_role_without_privileges_is_told_so() {
    let setting =
        Setting::new(&format!("create schema hidden; set search_path = hidden; {NOTES}; reset search_path"))
            .await;
    setting
        .run(
            "select attach_trigger('hidden.notes', tenant_column => 'team', columns => '{id,body}', condition => $$secret <> 'x'$$)",
        )
        .await;
    let raised = async || setting.raised("hidden.notes").await;
    assert_eq!(
        raised().await,
        "role \"READER\" may not use the schema of hidden.notes, so it has no current rows"
    );
    setting.run("grant usage on schema hidden to READER").await;
    assert_eq!(raised().await, "role \"READER\" may not select from hidden.notes");
    setting.run("grant select (owner) on hidden.notes to READER").await;
    let message = "role \"READER\" may not select column \"team\", \"secret\" of hidden.notes, which decides who sees which rows";
    assert_eq!(raised().await, message);
    setting.run("grant select (team, secret) on hidden.notes to READER").await;
    assert_eq!(
        raised().await,
        "role \"READER\" may not select any column of hidden.notes that its events have"
    );
    setting.run("grant select (body) on hidden.notes to READER").await;
    let mut records = setting.records("hidden.notes").await;
    records.sort();
    assert_eq!(records, [r#"{"body":"x"}"#, r#"{"body":"y"}"#, r#"{"body":"z"}"#, r#"{"body":"z"}"#]);

    let nobody = setting.database.role().await;
    let foreign = setting.read_as(&nobody, "{}", "hidden.notes", Vec::new(), usize::MAX).await;
    assert!(matches!(foreign, Err(CallError::Raised(_))), "{foreign:?}");
    setting
        .run(&format!("grant usage on schema hidden to {nobody}; grant select on hidden.notes to {nobody}"))
        .await;
    let foreign = setting.read_as(&nobody, "{}", "hidden.notes", Vec::new(), usize::MAX).await;
    assert_eq!(foreign.unwrap_err(), CallError::Failed, "the daemon is no member of the role");
    let unknown = setting.read_as("no such role", "{}", "hidden.notes", Vec::new(), usize::MAX).await;
    assert_eq!(unknown.unwrap_err(), CallError::Failed);
    setting.run("select detach_trigger('hidden.notes')").await;
    assert_eq!(setting.refusal("hidden.notes").await, CallError::Failed);
}

#[tokio::test]
async fn tenant_and_user_come_with_each_row() {
    let setting = Setting::new(NOTES).await;
    setting.run("grant select on notes to READER").await;
    let mut seen = Vec::new();
    for columns in [
        "tenant_column => 'team'",
        "user_column => 'owner'",
        "tenant_column => 'team', user_column => 'owner'",
    ] {
        setting.run(&format!("select attach_trigger('notes', {columns})")).await;
        for row in setting.rows("notes").await {
            seen.push((row.audience.tenant, row.audience.user, row.tenant, row.user));
        }
    }
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (true, false, text("t1"), None),
        (true, false, text("t1"), None),
        (true, false, None, None),
        (true, false, None, None),
        (false, true, None, text("ann")),
        (false, true, None, text("bob")),
        (false, true, None, text("ann")),
        (false, true, None, text("ann")),
        (true, true, text("t1"), text("ann")),
        (true, true, text("t1"), text("bob")),
        (true, true, None, text("ann")),
        (true, true, None, text("ann")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(Audience::parse("both"), Some(Audience { tenant: true, user: true }));
}

#[tokio::test]
async fn a_condition_decides_about_rows_as_about_inserts() {
    let setting = Setting::new(NOTES).await;
    setting
        .run(
            "grant select on notes to READER; create schema app; grant usage on schema app to READER;
             create function app.shown(text) returns boolean language sql as $$ select $1 <> 'z' $$;
             create function app.whole(notes) returns boolean language sql as $$ select $1.id > 1 $$;
             set search_path = public, app",
        )
        .await;
    for (arguments, expected) in [
        ("condition => $$body <> 'x'$$", vec![2, 3, 4]),
        (
            r"condition => $$shown(body) and new.body <> E'\\''' -- a comment$$, operations => '{INSERT}'",
            vec![1, 2],
        ),
        ("condition => $$whole(new)$$, operations => '{INSERT,UPDATE}'", vec![2, 3, 4]),
        ("condition => $$new.* is not null$$, operations => '{UPDATE,INSERT}'", vec![1, 2, 4]),
        ("condition => $$body = 'z'$$, operations => '{UPDATE}'", vec![3, 4]),
        ("condition => $$body <> old.body$$, operations => '{UPDATE}'", vec![1, 2, 3, 4]),
        ("condition => $$body = 'y'$$, operations => '{DELETE}'", vec![2]),
        ("condition => $$body = 'y'$$, operations => '{TRUNCATE}'", vec![1, 2, 3, 4]),
        ("condition => null", vec![1, 2, 3, 4]),
    ] {
        setting.run(&format!("select attach_trigger('notes', {arguments})")).await;
        let rows = setting.rows("notes").await;
        let ids: Vec<i64> = rows.iter().map(|row| row.json()["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, expected, "{arguments}");
    }
}

#[tokio::test]
async fn partitions_belong_to_their_table_and_inheritance_children_do_not() {
    let setting = Setting::new(
        "create table parts (id int, place text, primary key (id)) partition by range (id);
         create table parts_low partition of parts for values from (0) to (10);
         create table parts_high (place text, gone int, id int not null);
         alter table parts_high drop column gone;
         alter table parts attach partition parts_high for values from (10) to (20);
         grant select on parts to READER;
         create table parent (id int primary key); create table child (more int) inherits (parent);
         grant select on parent to READER;
         select attach_trigger('parts'); select attach_trigger('parent');
         insert into parts values (15, 'high'), (1, 'low'); insert into parent values (1); insert into child values (2, 3)",
    )
    .await;
    assert_eq!(setting.records("parts").await, [r#"{"id":1,"place":"low"}"#, r#"{"id":15,"place":"high"}"#]);
    assert_eq!(setting.records("parent").await, [r#"{"id":1}"#]);
}
