//! A policy finds in an event's record what it would find in the row, whatever the types.

use super::Setting;
use crate::support::daemon::Daemon;

/// The policy compares whole rows with a copy: were one value another, the row would not be shown.
const TABLE: &str = r#"
    create schema "My app"; grant usage on schema "My app" to READER;
    create type "My app".mood as enum ('sad', 'so so'); create type "My app".pair as (x int, y text[]);
    create domain "My app".price as numeric(10, 2) check (value >= 0);
    create table "My app"."Event" (
        record int, gone text, i2 int2, i8 int8, n numeric, f4 float4, f8 float8, b bool, t text, c char(4), v varchar(9),
        bt bytea, u uuid, d date, tm time, tz timetz, ts timestamp, tsz timestamptz, iv interval, j json, jb jsonb,
        e "My app".mood, p "My app".pair, dom "My app".price, li int[], lt text[], le "My app".mood[], lp "My app".pair[],
        lb bytea[], ln float8[], r int4range, ip inet, bits bit(4), pt point,
        place int generated always as (record * 2) stored, "the ""name""" text, primary key (record)
    ) partition by range (record);
    create table "My app"."Event1" partition of "My app"."Event" for values from (0) to (100);
    alter table "My app"."Event" drop column gone;
    alter table "My app"."Event" enable row level security;
    create table "My app"."Expected" (id int, whole text);
    create policy same on "My app"."Event" for select using (
        "Event"::text = (select x.whole from "My app"."Expected" x where x.id = "Event".record));
    create policy event on "My app"."Event" as restrictive for select using (record > 0 and place = record * 2);
    grant select on "My app"."Event", "My app"."Expected" to READER;
    select attach_trigger('"My app"."Event"', type_name => 'Thing', row_security => true)"#;

const ROWS: &str = r#"
    insert into "My app"."Event" values
        (1, 1, 9223372036854775807, 1.50, 0.1, 1e-300, true, E'q"\\\n\u00e4', 'ab', 'x', '\xdeadbeef',
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2026-01-02', '03:04:05.5', '03:04:05+02', '2026-01-02 03:04:05.6',
         '2026-01-02 03:04:05.678+02', '1 year 2 days 03:04:05.6', '{"b": 1, "b": [2]}', '{"a": null}', 'so so', '(1,"{a,NULL,""b c""}")',
         12.30, '{{1,2},{3,4}}', '{a,NULL,""}', '{sad,"so so"}', array[(1, '{x}')::"My app".pair, null], array['\x00'::bytea],
         '{NaN,Infinity,0.1}', '[1,5)', '10.0.0.1/8', '1010', '(1,2.5)'),
        (2, null, null, 'NaN', 'NaN', '-Infinity', null, '', null, null, '\x', null, 'infinity', '24:00', null, '-infinity',
         'infinity', '-1 mon', '[]', '"x"', null, null, null, '{}', '{}', null, '{}', null, '{}', 'empty', null, null, null),
        (3, -1, -1, 1e-20, 1e30, 1e300, false, 'null', '    ', '', null, null, '0044-03-15 BC', null, null, '0044-03-15 12:00 BC',
         '0044-03-15 12:00+00 BC', '-1 year 5 days -03:00', 'true', '1.10', 'sad', '(,)', 0, '{NULL}', null, null, '{}', null, null, '(,)', '::1', null, null);
    insert into "My app"."Expected" select w.record, w::text from "My app"."Event" w"#;

#[tokio::test]
async fn a_record_is_to_a_policy_what_the_row_is() {
    let it = Setting::new(TABLE).await;
    let mut socket =
        it.subscriber("ann", &it.reader, "subscription { thingChanged { record { record } } }").await;
    it.write(ROWS).await;
    it.write(r#"truncate "My app"."Event""#).await;
    let mut seen = Vec::new();
    loop {
        let result = socket.next().await;
        let record = &result["data"]["thingChanged"]["record"]["record"];
        if record.is_null() {
            break;
        }
        seen.push(record.as_i64().unwrap());
    }
    seen.sort_unstable();
    let log = Daemon::log(&it.daemon);
    assert_eq!(seen, [1, 2, 3], "{log}");
}
