//! Narrowings leave out rows that do not match, and none that does.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use tidings_daemon::source::functions::{CallError, Caller};
use tidings_daemon::source::rows::{Comparison, Narrowing, Read, Reads, Row, Rows};
use tokio::sync::mpsc;

use super::Setting;
use crate::support::database::within;

const WORDS: &str = r#"
    create collation public.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create type public.mood as enum ('sad', 'glad');
    create domain public.code as char(6);
    create domain public.amount as int check (value >= 0);
    create type public.spot as (x int, y int);
    create table public.words (
        id int primary key, txt text, vchar varchar, chars char(6), code code, free text collate any_case, nm name,
        num numeric, flt float8, at timestamptz, uid uuid, mood mood, yes bool, spot spot, "Qu""ote" text, big int8, amount amount
    );
    grant select on words to READER;
    select attach_trigger('words')
"#;

/// Texts whose order and quoting go wrong easily. Row n has the n-th; the last row has nulls.
const TEXTS: [&str; 9] = ["a", "A", "ab", "b'c", r"b\c", "é", "%_", "", "a b"];

async fn setting() -> Setting {
    let setting = Setting::new(WORDS).await;
    for (n, text) in TEXTS.iter().enumerate() {
        let quoted = text.replace('\'', "''");
        setting
            .run(&format!(
                r#"insert into words select {n}, t, t, t, t, t, t, {n} - 4.5, {n} / 2.0, '2024-01-0{d} 00:00+00',
                lpad({n}::text, 32, '0')::uuid, (array['sad', 'glad'])[{n} % 2 + 1]::mood, {n} % 2 = 0, row({n}, null)::spot, t, {n}::int8 << 40, {n}
                from (values ('{quoted}')) v(t)"#,
                d = n + 1
            ))
            .await;
    }
    setting.run("insert into words (id, spot) values (9, row(null, null)), (10, null)").await;
    setting
}

impl Setting {
    async fn ids(&self, narrowing: Narrowing) -> Vec<i64> {
        let rows = self.narrowed("words", vec![narrowing]).await;
        rows.iter().map(|row| row.json()["id"].as_i64().unwrap()).collect()
    }
}

fn one_of(column: &str, values: &[&str]) -> Narrowing {
    let values = values.iter().map(|it| (*it).into()).collect();
    Narrowing::OneOf { column: column.into(), values, reads: Reads::Column }
}

fn compare(column: &str, comparison: Comparison, value: &str, reads: Reads) -> Narrowing {
    Narrowing::Compare { column: column.into(), comparison, value: value.into(), reads }
}

fn starts(column: &str, prefix: &str) -> Narrowing {
    Narrowing::StartsWith { column: column.into(), prefix: prefix.into() }
}

fn is_null(column: &str, null: bool) -> Narrowing {
    Narrowing::IsNull { column: column.into(), null }
}

/// The rows whose JSON text in the column satisfies the condition.
fn matching(rows: &[Value], column: &str, condition: impl Fn(&str) -> bool) -> Vec<i64> {
    let rows = rows.iter().filter(|row| row[column].as_str().is_some_and(&condition));
    rows.map(|row| row["id"].as_i64().unwrap()).collect()
}

/// Nothing is missing, and something is left out.
fn assert_narrows(what: &str, narrowed: &[i64], wanted: &[i64]) {
    assert!(wanted.iter().all(|id| narrowed.contains(id)), "{what}: {narrowed:?} lacks some of {wanted:?}");
    assert!(narrowed.len() < TEXTS.len() + 2, "{what}: nothing is left out");
}

const ORDERS: [Comparison; 4] =
    [Comparison::Greater, Comparison::GreaterOrEqual, Comparison::Less, Comparison::LessOrEqual];

fn holds(comparison: Comparison, left: &str, right: &str) -> bool {
    match comparison {
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
    }
}

#[tokio::test]
async fn texts_compare_by_bytes_in_every_text_type() {
    let setting = setting().await;
    let rows: Vec<Value> = setting.rows("words").await.iter().map(super::Taken::json).collect();
    for column in ["txt", "vchar", "chars", "code", "free", "nm", "Qu\"ote"] {
        for value in ["a", "ab", "b'c", r"b\c", "é", "%", "a ", "ab    ", "a b   "] {
            let equal = matching(&rows, column, |text| text == value);
            assert_narrows(column, &setting.ids(one_of(column, &[value, "zzz"])).await, &equal);
            for order in ORDERS {
                let wanted = matching(&rows, column, |text| holds(order, text, value));
                let narrowed = setting.ids(compare(column, order, value, Reads::Bytes)).await;
                assert_narrows(&format!("{column} {order:?} {value:?}"), &narrowed, &wanted);
            }
            let wanted = matching(&rows, column, |text| text.starts_with(value));
            assert_narrows(column, &setting.ids(starts(column, value)).await, &wanted);
        }
    }
    // Where no blanks and no collation are in the way it is exact.
    assert_eq!(setting.ids(one_of("txt", &["a", r"b\c", "b'c", "%_"])).await, [0, 3, 4, 6]);
    assert_eq!(setting.ids(compare("txt", Comparison::Greater, "b", Reads::Bytes)).await, [3, 4, 5]);
    assert_eq!(setting.ids(starts("txt", "%")).await, [6]);
    assert_eq!(setting.ids(starts("free", "a")).await, [0, 2, 8], "not A");
}

#[tokio::test]
async fn other_types_compare_as_they_do() {
    let setting = setting().await;
    use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
    for (narrowing, expected) in [
        (one_of("id", &["1", "07"]), vec![1, 7]),
        (compare("id", Less, "3000000000", Reads::Bigint), (0..11).collect()),
        (compare("id", Greater, "8", Reads::Bigint), vec![9, 10]),
        (one_of("big", &["1099511627776"]), vec![1]),
        (one_of("amount", &["-5", "3"]), vec![3]),
        (one_of("amount", &["-5"]), vec![]),
        (compare("amount", LessOrEqual, "-1", Reads::Column), vec![]),
        (one_of("num", &["-3.50", "0.5"]), vec![1, 5]),
        (compare("num", Greater, "2.5", Reads::Column), vec![8]),
        (compare("num", GreaterOrEqual, "2.5", Reads::Column), vec![7, 8]),
        (compare("flt", LessOrEqual, "0.5", Reads::Column), vec![0, 1]),
        (compare("at", Less, "2024-01-02T00:00:00Z", Reads::Column), vec![0]),
        (one_of("at", &["2024-01-02T02:00:00+02:00"]), vec![1]),
        (one_of("uid", &["00000000-0000-0000-0000-000000000003"]), vec![3]),
        (one_of("mood", &["glad"]), vec![1, 3, 5, 7]),
        (one_of("yes", &["true"]), vec![0, 2, 4, 6, 8]),
        (is_null("txt", true), vec![9, 10]),
        (is_null("txt", false), vec![0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (is_null("spot", true), vec![10]),
        (one_of("id", &[]), vec![]),
        (one_of("txt", &["a\0"]), vec![]),
        (Narrowing::Any(vec![]), vec![]),
        (
            Narrowing::Any(vec![
                vec![compare("id", Greater, "1", Reads::Column), compare("id", Less, "4", Reads::Column)],
                vec![Narrowing::Any(vec![vec![one_of("txt", &["a"])], vec![is_null("spot", true)]])],
            ]),
            vec![0, 2, 3, 10],
        ),
    ] {
        assert_eq!(setting.ids(narrowing.clone()).await, expected, "{narrowing:?}");
    }
    let both = vec![compare("id", Greater, "1", Reads::Column), compare("id", Less, "4", Reads::Column)];
    assert_eq!(setting.narrowed("words", both).await.len(), 2, "all conditions hold");
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error_and_not_no_rows() {
    let setting = setting().await;
    let unknown = |name| {
        CallError::Raised(format!("there is no column {name:?} of this table that your role may select"))
    };
    for (narrowing, expected) in [
        (one_of("id", &["x"]), CallError::Failed),
        (one_of("at", &["2024-13-01"]), CallError::Failed),
        (one_of("not there", &["1"]), unknown("not there")),
        (is_null("ctid", true), unknown("ctid")),
    ] {
        let read = setting.read_as(&setting.reader, "{}", "words", vec![narrowing.clone()], usize::MAX);
        assert_eq!(read.await.unwrap_err(), expected, "{narrowing:?}");
    }
    // The connection goes on.
    assert_eq!(setting.rows("words").await.len(), TEXTS.len() + 2);
}

#[tokio::test]
async fn values_are_values_whatever_they_say() {
    let setting = setting().await;
    for value in ["') or true --", r"\') or true --", "'; drop table words; --", "$1", r"\x00", "{a}"] {
        assert_eq!(setting.ids(one_of("txt", &[value])).await, [] as [i64; 0], "{value}");
        assert_eq!(setting.ids(starts("Qu\"ote", value)).await, [] as [i64; 0], "{value}");
    }
}

#[tokio::test]
async fn reading_ends_when_there_is_enough_and_goes_on_beyond_a_page() {
    let setting =
        Setting::new("create table many (id int primary key); grant select on many to READER; select attach_trigger('many')")
            .await;
    setting.run("insert into many select generate_series(1, 1000)").await;
    let rows = setting.rows("many").await;
    assert_eq!(rows.len(), 1000);
    assert!(rows.iter().enumerate().all(|(n, row)| row.json() == json!({"id": n + 1})));
    for enough in [1, 255, 256, 257, 999] {
        let read = setting.read_as(&setting.reader, "{}", "many", Vec::new(), enough);
        let (rows, _) = read.await.unwrap();
        assert_eq!(rows.len(), enough);
    }
}

#[tokio::test]
async fn reading_ends_when_nobody_waits_any_more() {
    let setting =
        Setting::new("create table many (id int primary key); grant select on many to READER; select attach_trigger('many')")
            .await;
    setting.run("insert into many select generate_series(1, 200000)").await;
    let table = setting.session.line("select 'many'::regclass::oid").await.parse().unwrap();
    let caller = Caller { role: setting.reader.as_str().into(), claims: "{}".into() };
    let (sender, mut taken) = mpsc::unbounded_channel();
    let take = move |_: &Row<'_>| match sender.send(()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let moment = setting.functions.read(Read { table, caller, conditions: Vec::new() }, Box::new(take));
    within("the first row", taken.recv()).await.unwrap();
    drop(moment);
    let mut rows = 1;
    while within("the end", taken.recv()).await.is_some() {
        rows += 1;
    }
    assert!(rows < 200_000, "all rows were read for nobody");
}
