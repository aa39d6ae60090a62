-- Everything that is not called by users lives in schema tidings. The schema that CREATE EXTENSION
-- chose holds only publish_event, attach_trigger and detach_trigger.

-- Whatever is planted in the chosen schema, no name in this script is looked up there.
set local search_path = pg_catalog, pg_temp;

do $$
begin
    if '@extschema@' = 'tidings' then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = 'extension tidings cannot be installed into schema tidings',
            detail = 'That schema holds the internal objects and is created by the extension.',
            hint = 'Leave SCHEMA out, or name the schema in which publish_event should be found: '
                'drop schema tidings; create extension tidings schema public;';
    end if;
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception using
            errcode = 'feature_not_supported',
            message = format('extension tidings needs a database in encoding UTF8, this one is in %s',
                current_setting('server_encoding')),
            hint = 'JSON is UTF-8 by definition. Create the database with: create database ... encoding ''UTF8'';';
    end if;
end
$$;

-- Not "if not exists": a schema that somebody else made and still owns could hold planted objects.
create schema tidings;
comment on schema tidings is 'Internals of extension tidings: events, attachments, retention.';

-- The random part of the history id. It is written once here and deliberately not dumped: a
-- restored copy is another history, and cursors of the original must not be accepted by it.
create table tidings.history (
    singleton boolean primary key default true check (singleton),
    random_id uuid not null default pg_catalog.gen_random_uuid(),
    started_at timestamptz not null default pg_catalog.clock_timestamp()
);
insert into tidings.history default values;
comment on table tidings.history is 'The random part of tidings.history_id(); never dumped.';

-- Identifies this unbroken sequence of transactions. The timeline comes from the insert position,
-- because the one in pg_control can be stale just after a promotion. Fails during recovery.
create function tidings.history_id() returns bigint
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select hashtextextended(
        concat_ws('/',
            (pg_control_system()).system_identifier,
            left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
            (select d.oid from pg_database d where d.datname = current_database()),
            h.random_id),
        0)
    from tidings.history h;
$$;
comment on function tidings.history_id() is
    'Hash of system identifier, timeline, database and a random id; part of every cursor.';

-- A database whose files were put back to an earlier state gives ids and transactions to other events, and nothing
-- in it tells. Whoever has seen an id that was never drawn here knows, and begins another history: then every
-- cursor from before is told so, however many events come to be stored. Several nodes may notice; the first does it.
create function tidings.begin_history(known bigint, seen_id bigint) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from tidings.history for update;
    if known is null or seen_id is null
        or tidings.history_id() <> known or seen_id <= (select last_value from tidings.events_id_seq)
    then
        return false;
    end if;
    update tidings.history set random_id = gen_random_uuid(), started_at = clock_timestamp();
    return true;
end
$$;
comment on function tidings.begin_history(bigint, bigint) is
    'Makes this another history, if it is still the known one and the id was never drawn in it. For the daemon.';
