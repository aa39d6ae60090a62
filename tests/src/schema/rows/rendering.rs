//! A row looks like the INSERT event of it.

use tidings_daemon::event::Audience;
use tidings_daemon::source::functions::CallError;

use super::Setting;

/// A table with every kind of type, and its odd relatives.
const EVERYTHING: &str = r#"
    create type public.mood as enum ('sad', 'happy "quoted"');
    create domain public.positive as int check (value > 0);
    create domain public.moods as mood[];
    create domain public.code as char(4);
    create type public.place as (street text, at timestamptz, "Odd Name" int[], mood mood, dropped int);
    create type public.pair as (a int, b int);
    create function boom(pair) returns json language plpgsql as $$ begin raise exception 'boom'; end $$;
    create cast (pair as json) with function boom(pair);
    -- A base type of its own, as citext and hstore are.
    create type public.shout;
    create function shout_in(cstring) returns shout language internal immutable strict as 'textin';
    create function shout_out(shout) returns cstring language internal immutable strict as 'textout';
    create type public.shout (input = shout_in, output = shout_out, like = text);
    create function boom(shout) returns json language plpgsql as $$ begin raise exception 'boom'; end $$;
    create cast (shout as json) with function boom(shout);
    create domain public.cry as shout;
    create table public."Every ""Thing""" (
        gone int, id int8, small int2, yes bool, real4 float4, real8 float8, num numeric, txt text, chars char(3),
        vchar varchar(9), nm name, ts timestamp, tstz timestamptz, day date, clock time, clocktz timetz,
        span interval, uid uuid, js json, jb jsonb, bytes bytea, feeling mood, pos positive, feelings moods,
        ints int[], grid int[][], texts text[], places place[], spot place, ranges tstzrange, net inet, bits bit(3),
        pt point, "numeric" numeric(10,2), empty int[], nothing text, letter "char", code code, pair pair, loud shout,
        cry cry, "order" int, "Upper" text, "qu""ote" text, "r" text, "new" text, numbers int4multirange, x xml,
        doubled int generated always as (small * 2) stored, vector int2vector, class regclass, primary key ("order", id)
    );
    alter table "Every ""Thing""" drop column gone;
    alter type place drop attribute dropped;
    grant select on "Every ""Thing""" to READER;
    select attach_trigger('"Every ""Thing"""', type_name => 'Everything')
"#;

const ROWS: &str = r#"
    set timezone = 'Asia/Kolkata'; set datestyle = 'SQL, DMY'; set intervalstyle = 'postgres_verbose';
    set bytea_output = 'escape'; set extra_float_digits = -5;
    insert into "Every ""Thing""" values (
        9223372036854775807, -7, true, 0.1, 1e100, 12345678901234567890.123456789, E'line\n"quote" \\ \t\x01\x7f é 😀', 'ab',
        'v', 'n', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', '2024-02-29', '12:34:56', '12:34:56+02',
        '1 year 2 mons 3 days 04:05:06', '6ccd780c-baba-1026-9564-5b8c656024db', '{"b": 1,  "a": 1e400000}',
        '{"b": 1, "a": [null]}', '\xdeadbeef', 'happy "quoted"', 5, '{sad,"happy \"quoted\""}', '{1,null,3}',
        '{{1,2},{3,4}}', '{a,"b c",null,"NULL"}', array[row('s', '2024-01-01 00:00+00', '{1}', 'sad')::place, null],
        row(null, null, '{}', null), '[2024-01-01 00:00+00,)', '10.0.0.1/8', '101', '(1.5,2)', 3.10, '{}', null, 'x', 'c',
        row(1, 2), 'AH\"', 'OH', 1, 'U', 'q', 'r', 'new', '{[1,3),[5,7)}', '<a b="c"/>', default, '1 2 3', 'pg_class');
    insert into "Every ""Thing""" (id, "order", real4, real8, num, ts, tstz, day, span, spot, texts, grid) values
        (1, 2, 'nan', '-infinity', 'infinity', 'infinity', '-infinity', '-infinity', '-1 day', null, '{}', '[0:1]={7,8}'),
        (2, 2, '-infinity', '-0.0', 'nan', '0044-03-15 BC', '0044-03-15 12:00+00 BC', '0044-03-15 BC', '-1 day +00:00:01',
         row(null, null, null, null), array[array['a'], array[null]], '{{{1}}}'),
        (0, 2, 1e-10, 1.0000000000000002, -0.10, '99999-01-01', '1900-01-01 00:00:00 Asia/Kolkata', '99999-01-01', '0', null, null, null);
    reset all
"#;

#[tokio::test]
async fn a_row_has_the_bytes_of_its_event() {
    let setting = Setting::new(EVERYTHING).await;
    setting.run(ROWS).await;
    let rows = setting.rows(r#""Every ""Thing""""#).await;
    // In the order of the primary key.
    let events =
        "select payload from tidings.events order by (payload->>'order')::int, (payload->>'id')::bigint";
    let expected = setting.session.lines(events).await;
    assert_eq!(expected.len(), 4);
    assert_eq!(rows.iter().map(|row| &*row.record).collect::<Vec<_>>(), expected);
    let row = &rows[0];
    assert!(row.record.contains(r#""loud":"AH\\\"","cry":"OH""#), "without their casts: {}", row.record);
    assert_eq!(row.names, (r#"public.Every "Thing""#.to_owned(), "Everything".to_owned()));
    assert_eq!((row.audience, &row.tenant, &row.user), (Audience::default(), &None, &None));
    let age = setting
        .session
        .line(&format!("select extract(epoch from clock_timestamp())::bigint - {} / 1000000", row.read_at_us))
        .await;
    assert!((0..=60).contains(&age.parse::<i64>().unwrap()), "{age} s");
}

#[tokio::test]
async fn a_cast_to_json_inside_of_a_value_is_refused_by_name() {
    let setting = Setting::new(EVERYTHING).await;
    let refused = async |columns: &str, message: &str| {
        setting.run(&format!("drop table if exists t; create table t (id int primary key, {columns}); grant select on t to READER; select attach_trigger('t')")).await;
        let CallError::Raised(raised) = setting.refusal("t").await else { panic!("{columns}") };
        assert_eq!(raised, format!("{message}, which has a cast to json"));
    };
    refused("a int, b shout[]", r#"column "b" of public.t cannot be read: it contains type public.shout"#)
        .await;
    setting.run("create type public.outer_place as (a int, cries cry[])").await;
    refused(
        "a int, b outer_place[]",
        r#"column "b" of public.t cannot be read: it contains type public.shout"#,
    )
    .await;
    // A column that is not captured does not matter.
    setting.run("select attach_trigger('t', columns => '{a}'); insert into t values (1, 2, '{}')").await;
    assert_eq!(setting.records("t").await, [r#"{"id":1,"a":2}"#]);
}

#[tokio::test]
async fn a_record_that_is_too_large_has_its_key() {
    let setting = Setting::new(
        "create table t (body text, \"K\" text, id int, primary key (id, \"K\")); grant select on t to READER;
         select attach_trigger('t', tenant_column => 'K')",
    )
    .await;
    let database = setting.session.line("select current_database()").await;
    setting.run(&format!("alter database {database} set tidings.max_event_bytes = 1024")).await;
    // The limit is in force for sessions that begin now.
    setting
        .database
        .connect()
        .await
        .run(
            "insert into t select repeat('é', n), 'k', n from generate_series(490, 510) n;
         insert into t values ('x', repeat('k', 1100), 1), (repeat('x', 3000000), 'k', 2)",
        )
        .await;
    let rows = setting.rows("t").await;
    let events = "select truncated || ' ' || payload || ' ' || coalesce(tenant_id, '') from tidings.events order by (payload->>'id')::int nulls first";
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {} {}", row.truncated, row.record, row.tenant.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(rows, setting.session.lines(events).await);
    let truncated = rows.iter().filter(|row| row.starts_with("true {\"K\":\"k\",\"id\"")).count();
    assert!((2..20).contains(&truncated), "{rows:?}");
    assert_eq!(rows[0], "true {} ", "a key that is too large itself");
}

#[tokio::test]
async fn tenant_and_user_are_those_of_the_event() {
    let setting = Setting::new(EVERYTHING).await;
    setting.run(ROWS).await;
    let columns = setting
        .session
        .lines(r#"select attname from pg_attribute where attrelid = '"Every ""Thing"""'::regclass and attnum > 0 and not attisdropped"#)
        .await;
    assert!(columns.len() > 40, "{columns:?}");
    let mut with_tenant = 0;
    for pair in columns.chunks(2) {
        let (tenant, user) = (&pair[0], pair.last().unwrap());
        setting
            .run(&format!(
                r#"truncate tidings.events;
                select attach_trigger('"Every ""Thing"""', type_name => 'Everything', tenant_column => $c${tenant}$c$,
                    user_column => $c${user}$c$, columns => '{{id}}');
                update "Every ""Thing""" set small = small"#
            ))
            .await;
        let rows = setting.rows(r#""Every ""Thing""""#).await;
        let rows: Vec<_> = rows.into_iter().map(|row| (row.record, row.tenant, row.user)).collect();
        let query = "select payload::text, tenant_id, user_id from tidings.events
            order by (payload->>'order')::int, (payload->>'id')::bigint";
        let events = setting.session.query(query, &[]).await.unwrap();
        let events: Vec<(String, Option<String>, Option<String>)> =
            events.iter().map(|event| (event.get(0), event.get(1), event.get(2))).collect();
        assert_eq!(rows, events, "{tenant} {user}");
        with_tenant += usize::from(rows[0].1.is_some());
    }
    // The others are json, arrays, composites, or null.
    assert!(with_tenant > 15, "{with_tenant}");
}
