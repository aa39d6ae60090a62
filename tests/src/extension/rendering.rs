//! Payloads: what each type looks like, and that the writer's session does not matter.

use crate::support::database::Database;

const TYPES: &str = r#"
    create type public.mood as enum ('sad', 'happy "quoted"');
    create domain public.positive as int check (value > 0);
    create domain public.moods as mood[];
    create type public.place as (street text, at timestamptz, "Odd Name" int[], mood mood);
    create table public.everything (
        id int8 primary key, small int2, yes bool, real4 float4, real8 float8, num numeric, txt text, chars char(3),
        vchar varchar(9), nm name, ts timestamp, tstz timestamptz, day date, clock time, clocktz timetz,
        span interval, uid uuid, js json, jb jsonb, bytes bytea, feeling mood, pos positive, feelings moods,
        ints int[], grid int[][], texts text[], places place[], spot place, ranges tstzrange, net inet, bits bit(3),
        pt point, money_like numeric(10,2), empty int[], nothing text
    );
    select attach_trigger('everything');
"#;

const ROW: &str = r#"
    insert into everything values (
        9223372036854775807, -7, true, 0.1, 1e100, 12345678901234567890.123456789, E'line\n"quote" \\ \t\x01 é 😀', 'ab',
        'v', 'n', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', '2024-02-29', '12:34:56', '12:34:56+02',
        '1 year 2 mons 3 days 04:05:06', '6ccd780c-baba-1026-9564-5b8c656024db', '{"b": 1,  "a": 1}', '{"b": 1, "a": [null]}',
        '\xdeadbeef', 'happy "quoted"', 5, '{sad,"happy \"quoted\""}', '{1,null,3}', '{{1,2},{3,4}}', '{a,"b c",null,"NULL"}',
        array[row('s', '2024-01-01 00:00+00', '{1}', 'sad')::place, null], row(null, null, '{}', null),
        '[2024-01-01 00:00+00,)', '10.0.0.1/8', '101', '(1.5,2)', 3.10, '{}', null
    )
"#;

const EXPECTED: &str = concat!(
    r#"{"id":9223372036854775807,"small":-7,"yes":true,"real4":0.1,"real8":1e+100,"#,
    r#""num":12345678901234567890.123456789,"txt":"line\n\"quote\" \\ \t\u0001 é 😀","chars":"ab ","vchar":"v","nm":"n","#,
    r#""ts":"2024-02-29T12:34:56.789","tstz":"2024-02-29T10:34:56.789+00:00","day":"2024-02-29","clock":"12:34:56","#,
    r#""clocktz":"12:34:56+02","span":"P1Y2M3DT4H5M6S","uid":"6ccd780c-baba-1026-9564-5b8c656024db","#,
    r#""js":{"b": 1,  "a": 1},"jb":{"a": [null], "b": 1},"bytes":"\\xdeadbeef","feeling":"happy \"quoted\"","pos":5,"#,
    r#""feelings":["sad","happy \"quoted\""],"ints":[1,null,3],"grid":[[1,2],[3,4]],"texts":["a","b c",null,"NULL"],"#,
    r#""places":[{"street":"s","at":"2024-01-01T00:00:00+00:00","Odd Name":[1],"mood":"sad"},null],"#,
    r#""spot":{"street":null,"at":null,"Odd Name":[],"mood":null},"ranges":"[\"2024-01-01 00:00:00+00\",)","#,
    r#""net":"10.0.0.1/8","bits":"101","pt":"(1.5,2)","money_like":3.10,"empty":[],"nothing":null}"#
);

#[tokio::test]
async fn every_common_type_has_its_json_form() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(TYPES).await;
    session.run(ROW).await;
    assert_eq!(session.line("select payload from tidings.events").await, EXPECTED);
    // It is JSON to PostgreSQL as well.
    session.run("select payload::jsonb from tidings.events").await;
}

#[tokio::test]
async fn the_writers_session_changes_nothing_and_is_not_changed() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(TYPES).await;
    let settings = [
        ("datestyle", "SQL, DMY"),
        ("timezone", "Asia/Kolkata"),
        ("intervalstyle", "postgres_verbose"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-5"),
    ];
    // The row is written by a neutral session and touched by the odd one.
    session.run(ROW).await;
    for (name, value) in settings {
        session.run(&format!("set {name} = '{value}'")).await;
    }
    session.run("update everything set id = id").await;
    for payload in session.lines("select payload from tidings.events").await {
        assert_eq!(payload, EXPECTED);
    }
    for (name, value) in settings {
        assert_eq!(session.line(&format!("show {name}")).await, value);
    }
    let shown = session.line("select concat_ws('|', tstz, span, bytes, real8) from everything").await;
    assert!(shown.starts_with("29/02/2024 16:04:56.789 IST|@ 1 year"), "{shown}");
}

#[tokio::test]
async fn numbers_that_json_cannot_hold_are_strings() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (a float8, b float4, c numeric, d timestamp, e date); select attach_trigger('t');
             insert into t values ('nan', '-infinity', 'infinity', 'infinity', '-infinity'), (-0.5, -1e-10, -3, '0044-03-15 BC', '99999-01-01')",
        )
        .await;
    assert_eq!(
        session.events().await,
        [
            r#"INSERT {"a":"NaN","b":"-Infinity","c":"Infinity","d":"infinity","e":"-infinity"}"#,
            r#"INSERT {"a":-0.5,"b":-1e-10,"c":-3,"d":"0044-03-15T00:00:00 BC","e":"99999-01-01"}"#,
        ]
    );
}

#[tokio::test]
async fn json_that_jsonb_refuses_is_stored_as_it_is() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            r#"create table public.t (doc json); select attach_trigger('t', include_old => true);
            insert into t values ('{"a":"\u0000","n":1e400000,"a":2}'); update t set doc = '[1e400000]'; delete from t"#,
        )
        .await;
    assert_eq!(
        session.events().await,
        [
            r#"INSERT {"doc":{"a":"\u0000","n":1e400000,"a":2}}"#,
            r#"UPDATE {"doc":[1e400000]}"#,
            r#"DELETE {"doc":[1e400000]}"#,
        ]
    );
}

#[tokio::test]
async fn a_cast_to_json_is_not_called() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create type public.pair as (a int, b int);
             create function boom(pair) returns json language plpgsql as $$ begin raise exception 'boom'; end $$;
             create cast (pair as json) with function boom(pair);
             create table public.t (p pair); select attach_trigger('t'); insert into t values (row(1, 2))",
        )
        .await;
    assert_eq!(session.events().await, [r#"INSERT {"p":{"a":1,"b":2}}"#]);
}

#[tokio::test]
async fn large_compressed_values_are_whole() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, body text, doc jsonb); select attach_trigger('t', include_old => true);
             insert into t select 1, string_agg(md5(n::text), ''), jsonb_agg(md5(n::text)) from generate_series(1, 5000) n;
             update t set id = 2",
        )
        .await;
    assert_eq!(
        session
            .line(
                "select bool_and(payload ->> 'body' = body and (payload -> 'doc')::jsonb = doc and not truncated
                    and coalesce(old_payload ->> 'body' = body, true)) from tidings.events, t"
            )
            .await,
        "t"
    );
    assert_eq!(
        session.line("select changed_columns from tidings.events order by id desc limit 1").await,
        "{id}"
    );
}
