-- The durable queue. Three fixed slots by clock time, (epoch / retention) mod 3: retention truncates
-- the oldest slot instead of deleting rows, and no insert ever waits for a partition to be made.

-- cache 1: ids of one row's events must grow in the order in which its writers committed, so no
-- session may hold a range of ids in reserve.
create sequence tidings.events_id_seq as bigint cache 1;

create table tidings.events (
    id bigint not null,
    slot smallint not null,
    -- The top-level transaction. Readers compare it with snapshots; see the daemon's source.
    xid xid8 not null,
    channel text not null,
    event_type text not null,
    -- The GraphQL type of an attached table; null for publish_event.
    type_name text,
    -- Which of tenant_id and user_id a receiver must match. Fixed at capture: a required part that is
    -- null then reaches nobody instead of everybody.
    audience text not null check (audience in ('open', 'tenant', 'user', 'both')),
    tenant_id text,
    user_id text,
    -- json, never jsonb: jsonb refuses values that json holds, and costs a parse.
    payload json not null,
    old_payload json,
    changed_columns text[],
    metadata json,
    created_at timestamptz not null,
    -- The record was larger than tidings.max_event_bytes; only its key columns are here.
    truncated boolean not null default false
) partition by list (slot);

create table tidings.events_0 partition of tidings.events for values in (0);
create table tidings.events_1 partition of tidings.events for values in (1);
create table tidings.events_2 partition of tidings.events for values in (2);

-- No two entries are the same: looking for duplicates whenever a page is full would be in vain.
create index events_id_idx on tidings.events (id) with (deduplicate_items = off);
-- With the id, so that the lowest id of a transaction is found without reading its events.
create index events_xid_idx on tidings.events (xid, id) with (deduplicate_items = off);

alter sequence tidings.events_id_seq owned by tidings.events.id;

comment on table tidings.events is
    'Captured events. Written by the extension only; read by the daemon; emptied by tidings.maintain().';
