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

-- publish_event stores one event inside the caller's transaction and returns its id.

create function @extschema@.publish_event(
    channel text,
    event_type text,
    data jsonb,
    tenant_id text default null,
    user_id text default null,
    metadata jsonb default null
) returns bigint
language c volatile parallel unsafe
as 'MODULE_PATHNAME', 'publish_event';

-- How a transaction of this session wakes the daemon: `coalesced`, `direct` or `off`.
create function tidings.wake_up_mode() returns text
language c stable
as 'MODULE_PATHNAME', 'wake_up_mode_wrapper';

comment on function @extschema@.publish_event(text, text, jsonb, text, text, jsonb) is
    'Stores one event in this transaction; it is delivered when the transaction commits.';

-- Attached tables: what the daemon reads to build its GraphQL schema. The triggers carry their own
-- configuration, so that a writer never has to look here.

create table tidings.attachments (
    target regclass primary key,
    type_name text not null unique,
    channel text not null,
    tenant_column name,
    user_column name,
    operations text[] not null,
    -- Null: all columns, later ones included.
    columns name[],
    when_changed name[],
    condition text,
    include_old boolean not null default false,
    always boolean not null default false,
    -- Whether the table's policies for SELECT decide about its events, too.
    row_security boolean not null default false,
    attached_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('tidings.attachments', '');
comment on table tidings.attachments is
    'Tables whose changes are captured; maintained by attach_trigger and detach_trigger.';

-- Column numbers beside names, so that a rename can be told from a drop. Not dumped: a restore
-- numbers columns anew, and the numbers are taken again when the triggers are created.
create table tidings.attached_columns (
    target oid not null,
    attnum smallint not null,
    attname name not null,
    primary key (target, attnum)
);
comment on table tidings.attached_columns is 'Last seen names of the columns of attached tables.';

-- Custom GraphQL definitions; kept by pg_dump like the attachments.
create table tidings.definitions (
    name text primary key,
    sdl text not null,
    defined_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('tidings.definitions', '');
comment on table tidings.definitions is 'GraphQL definitions for custom events.';

-- What the definitions take, so that attach_trigger need not read GraphQL. Dumped as well, and without a
-- reference to the definitions: a restore may bring the two in any order.
create table tidings.defined_names (
    kind text not null check (kind in ('type', 'field', 'channel')),
    name text not null,
    document text not null,
    primary key (kind, name, document)
);
select pg_catalog.pg_extension_config_dump('tidings.defined_names', '');
comment on table tidings.defined_names is
    'Types, fields of Subscription and channels of the definitions; maintained by define_subscriptions.';

-- Settings exist only once the library is loaded; asking it for them loads it.
create function tidings.settings() returns table (
    notify boolean, retention_seconds bigint, max_size_bytes bigint, size_cap_action text
)
language c stable
as 'MODULE_PATHNAME', 'settings_wrapper';

-- The wake-up for readers of the two tables above.
create function tidings.notify_schema() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Sessions that must PREPARE TRANSACTION switch it off; PostgreSQL refuses that after a NOTIFY.
    if (select s.notify from tidings.settings() s) then
        perform pg_notify('tidings_schema', '');
    end if;
end
$$;

create function tidings.wake_schema() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.notify_schema();
    return null;
end
$$;

create trigger wake_schema after insert or update or delete or truncate on tidings.attachments
    for each statement execute function tidings.wake_schema();
create trigger wake_schema after insert or update or delete or truncate on tidings.definitions
    for each statement execute function tidings.wake_schema();

-- The trigger function, and what attach_trigger needs from the library.

-- Everything it needs travels in its one argument. It runs as the writing role; only the insert into
-- tidings.events is done as the owner of that table.
create function tidings.capture() returns trigger
language c volatile parallel unsafe
as 'MODULE_PATHNAME', 'capture';
comment on function tidings.capture() is 'Stores one event for each row changed in an attached table.';

-- Puts "new." or "old." before the bare column names of a condition and checks that it is one
-- expression which makes sense for the operation.
create function tidings.qualify_condition(condition text, operation text, columns text[]) returns text
language c stable strict
as 'MODULE_PATHNAME', 'qualify_condition_wrapper';

-- The role outside of all security definer functions.
create function tidings.outer_role() returns oid
language c stable
as 'MODULE_PATHNAME', 'outer_role_wrapper';

-- The two things that a publisher may have done with the owner's rights. The library takes down who
-- calls, refuses where PostgreSQL runs other people's code (index expressions in an ANALYZE, say), and
-- then calls tidings.attach and tidings.detach as the owner. Nobody else may call those, or make a trigger of
-- tidings.capture: it would forge another table's events.
create function tidings.attach_for_caller(request tidings.attachments, caller_path text) returns void
language c volatile
as 'MODULE_PATHNAME', 'attach_for_caller_wrapper';

create function tidings.detach_for_caller(target regclass) returns void
language c volatile
as 'MODULE_PATHNAME', 'detach_for_caller_wrapper';

-- What attach_trigger checks before anything is changed. Every refusal names the argument and says
-- what to do.

-- The default type name: the table's name in PascalCase.
create function tidings.pascal_case(name text) returns text
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(upper(left(part, 1)) || substr(part, 2), '' order by place)
    from regexp_split_to_table(name, '[^A-Za-z0-9]+') with ordinality as parts (part, place);
$$;

-- Why a relation cannot be attached; null if it can.
create function tidings.why_not_attachable(target regclass, out problem text, out advice text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    relation record;
    relative regclass;
begin
    select c.relkind, c.relpersistence, c.relnamespace, n.nspname, c.relname
    into relation
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = target;
    if not found then
        problem := format('there is no relation with OID %s', target::oid);
        advice := 'Pass the name of a table, for example ''public.orders''.';
    elsif relation.relkind not in ('r', 'p') then
        problem := format('%s is %s, not a table', target, case relation.relkind
            when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table'
            when 'S' then 'a sequence' when 'c' then 'a composite type' else 'an index' end);
        advice := case relation.relkind
            when 'f' then 'Attach the table on the server that holds its rows.'
            else 'Attach the tables that it is made from.' end;
    elsif relation.nspname in ('pg_catalog', 'information_schema', 'pg_toast') then
        problem := format('%s is a system catalog', target);
        advice := 'Only ordinary tables can be attached.';
    elsif relation.nspname = 'tidings' then
        problem := format('%s belongs to the extension itself', target);
        advice := 'Only ordinary tables can be attached.';
    elsif relation.relpersistence = 't' then
        problem := format('%s is a temporary table', target);
        advice := 'Attach a permanent or unlogged table; a temporary one has no other sessions'' rows.';
    else
        select a.target into relative
        from tidings.attachments a
        where a.target in (select r.relid from pg_partition_ancestors(why_not_attachable.target) r)
            and a.target <> why_not_attachable.target
        limit 1;
        if found then
            problem := format('%s is a partition of %s, which is attached', target, relative);
            advice := 'Nothing to do: the parent''s attachment captures its partitions too.';
            return;
        end if;
        select a.target into relative
        from tidings.attachments a
        where a.target in (select t.relid from pg_partition_tree(why_not_attachable.target) t)
            and a.target <> why_not_attachable.target
        limit 1;
        if found then
            problem := format('partition %s of %s is attached by itself', relative, target);
            advice := format('Detach it first: select detach_trigger(%L);', relative);
        end if;
    end if;
end
$$;

-- Type names that nobody can have; some are kept for later.
create function tidings.reserved_types() returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select array['Query', 'Mutation', 'Subscription', 'Event', 'ServerInfo', 'Operation', 'ChangeOperation',
            'Cursor', 'Opaque', 'ResolveScope', 'FilterIs', 'FilterScope', 'OpaqueFilter']
        || array_agg(scalar || suffix)
    from unnest('{Int,Float,String,Boolean,ID,BigInt,BigFloat,UUID,Datetime,Date,Time,JSON}'::text[]) scalar
    cross join unnest('{"",Filter,ListFilter}'::text[]) suffix;
$$;

-- The types that an attached table makes.
create function tidings.type_names(type_name text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select array[type_name, type_name || 'Change', type_name || 'Filter'];
$$;

-- The fields of Subscription that an attached table makes, whatever operations it captures.
create function tidings.root_fields(type_name text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(lower(left(type_name, 1)) || substr(type_name, 2) || suffix order by place)
    from unnest('{Inserted,Updated,Deleted,Changed}'::text[]) with ordinality suffixes (suffix, place);
$$;

-- A channel that a definition delivers without regard to columns must not become a table's.
create function tidings.check_channel(channel text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    used_by text;
begin
    if channel = '' or octet_length(channel) > 63 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('channel %L is %s bytes long, allowed are 1 to 63', channel, octet_length(channel)),
            hint = 'Name one with channel => ''...''; the default is schema.table.';
    end if;
    select d.document into used_by
    from tidings.defined_names d
    join tidings.definitions n on n.name = d.document
    where d.kind = 'channel' and d.name = check_channel.channel
    order by d.document limit 1;
    if found then
        raise exception using errcode = 'unique_violation',
            message = format('channel %L is the channel of an @event in document "%s"', channel, used_by),
            hint = 'Choose another one with channel => ''...'': the document would deliver whole rows, whatever '
                'columns says.';
    end if;
end
$$;

-- Refuses names that would clash in the GraphQL schema; the daemon derives types and fields from them.
create function tidings.check_type_name(target regclass, type_name text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    other record;
begin
    if type_name is null or type_name !~ '^[A-Za-z_][A-Za-z0-9_]*$' or type_name like '\_\_%'
        or octet_length(type_name) > 63
    then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('type_name %L is not a usable GraphQL name', type_name),
            hint = 'Use up to 63 letters, digits and underscores, not starting with a digit or two '
                'underscores, for example type_name => ''Order''.';
    end if;
    if type_name = any (tidings.reserved_types())
    then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('type_name %L is the name of a built-in GraphQL type', type_name),
            hint = format('Choose another one, for example type_name => %L.', type_name || 'Record');
    end if;
    select a.target, a.type_name into other
    from tidings.attachments a
    where a.target <> check_type_name.target
        and (tidings.type_names(a.type_name) && tidings.type_names(check_type_name.type_name)
            or tidings.root_fields(a.type_name) && tidings.root_fields(check_type_name.type_name))
    limit 1;
    if found then
        raise exception using errcode = 'unique_violation',
            message = format('type_name %L clashes with %L of attached table %s',
                type_name, other.type_name, other.target),
            hint = 'Choose another one with type_name => ''...''.';
    end if;
    select d.kind, d.name, d.document into other
    from tidings.defined_names d
    join tidings.definitions n on n.name = d.document
    where (d.kind = 'type' and d.name = any (tidings.type_names(check_type_name.type_name)))
        or (d.kind = 'field' and d.name = any (tidings.root_fields(check_type_name.type_name)))
    limit 1;
    if found then
        raise exception using errcode = 'unique_violation',
            message = format('type_name %L clashes with %s "%s" of document "%s"',
                type_name, other.kind, other.name, other.document),
            hint = 'Choose another one with type_name => ''...'', or rename it in the document with '
                'define_subscriptions.';
    end if;
end
$$;

create function tidings.check_columns(target regclass, argument text, names name[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    missing text;
begin
    if names is null then
        return;
    end if;
    if array_ndims(names) > 1 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('%s is an array of arrays', argument),
            hint = format('Name columns one after the other: %s => ''{id,total}''.', argument);
    end if;
    if cardinality(names) = 0 or array_position(names, null) is not null then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('%s must not be empty or contain null', argument),
            hint = format('Leave %s out (null) to mean every column.', argument);
    end if;
    select string_agg(format('"%s"', n), ', ') into missing
    from unnest(names) n
    where not exists (
        select from pg_attribute a
        where a.attrelid = target and a.attname = n and a.attnum > 0 and not a.attisdropped);
    if missing is not null then
        raise exception using errcode = 'undefined_column',
            message = format('%s names column %s, which %s does not have', argument, missing, target),
            hint = format('The columns are: %s.', (
                select string_agg(format('"%s"', a.attname), ', ' order by a.attnum)
                from pg_attribute a where a.attrelid = target and a.attnum > 0 and not a.attisdropped));
    end if;
end
$$;

-- The operations in their canonical order. TRUNCATE belongs to DELETE, and may be asked for alone.
create function tidings.check_operations(operations text[]) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text;
begin
    if array_ndims(operations) > 1 then
        raise exception using errcode = 'invalid_parameter_value',
            message = 'operations is an array of arrays',
            hint = 'Name them one after the other: operations => ''{INSERT,UPDATE}''.';
    end if;
    if coalesce(cardinality(operations), 0) = 0 or array_position(operations, null) is not null then
        raise exception using errcode = 'invalid_parameter_value',
            message = 'operations must not be empty or contain null',
            hint = 'Name at least one: operations => ''{INSERT,UPDATE,DELETE}''.';
    end if;
    select o into unknown from unnest(operations) o
    where upper(o) not in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') limit 1;
    if found then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('operations contains %L, which is no operation', unknown),
            hint = 'Use INSERT, UPDATE, DELETE and TRUNCATE.';
    end if;
    return array(
        select k.operation
        from unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) with ordinality k (operation, place)
        where k.operation in (select upper(o) from unnest(operations) o)
            or (k.operation = 'TRUNCATE' and 'DELETE' in (select upper(o) from unnest(operations) o))
        order by k.place);
end
$$;

-- Our triggers' names must be free: a trigger of somebody else would be replaced without a word.
create function tidings.require_free_names(target regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    taken name;
begin
    select t.tgname into taken
    from pg_trigger t
    where t.tgrelid = target and t.tgname like '!tidings\_%' and t.tgfoid <> 'tidings.capture()'::regprocedure
    limit 1;
    if found then
        raise exception using errcode = 'duplicate_object',
            message = format('target %s has a trigger named "%s" that is not ours', target, taken),
            hint = format('Rename it: alter trigger "%s" on %s rename to ...;', taken, target);
    end if;
end
$$;

-- The columns of the primary key, in its order.
create function tidings.key_columns(target regclass) returns name[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array(
        select a.attname
        from pg_index i
        cross join lateral unnest(i.indkey::smallint[]) with ordinality k (attnum, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = target and i.indisprimary and k.place <= i.indnkeyatts
        order by k.place);
$$;

-- Whoever attaches or detaches must own the table, or belong to the role that does. Both count: the role
-- that calls, so that a security definer function cannot act on the tables of whoever runs it, and the
-- role outside of all such functions, so that one lends its owner's rights to nobody.
create function tidings.require_owner(target regclass, caller oid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    owner oid;
begin
    if target is null then
        raise exception using errcode = 'null_value_not_allowed',
            message = 'target must not be null',
            hint = 'Pass the name of a table, for example ''public.orders''.';
    end if;
    select c.relowner into owner from pg_class c where c.oid = target;
    if found and not (pg_has_role(caller, owner, 'usage') and pg_has_role(tidings.outer_role(), owner, 'usage')) then
        raise exception using errcode = 'insufficient_privilege',
            message = format('target %s belongs to %s, not to you', target, pg_get_userbyid(owner)),
            hint = 'Have its owner attach or detach it.';
    end if;
end
$$;

-- attach_trigger and detach_trigger.
--
-- The entries in the user's schema hand over the caller's search_path and name; the rest runs as the
-- extension's owner with a pinned path. What users write is parsed then and never executed: a condition
-- becomes part of a trigger, and is evaluated as whoever writes to the table.

-- The configuration that the triggers carry.
create function tidings.trigger_argument(entry tidings.attachments) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'type_name', entry.type_name,
        'channel', entry.channel,
        'tenant_column', entry.tenant_column,
        'user_column', entry.user_column,
        'columns', to_jsonb(entry.columns),
        'when_changed', to_jsonb(entry.when_changed),
        'include_old', entry.include_old))::text;
$$;

-- Takes down the columns as they are called now.
create function tidings.sync_columns(target regclass) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    delete from tidings.attached_columns c where c.target = sync_columns.target;
    insert into tidings.attached_columns (target, attnum, attname)
    select a.attrelid, a.attnum, a.attname
    from pg_attribute a
    where a.attrelid = sync_columns.target and a.attnum > 0 and not a.attisdropped;
$$;

-- Statement triggers are not cloned to partitions, so each gets its own TRUNCATE trigger.
create function tidings.sync_truncate_triggers(entry tidings.attachments) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
set tidings_internal.busy = 'on'
as $$
declare
    relation record;
    argument text := tidings.trigger_argument(entry);
begin
    for relation in
        select c.oid, n.nspname, c.relname, t.tgargs, t.tgenabled
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        left join pg_trigger t on t.tgrelid = c.oid and t.tgname = '!tidings_truncate'
        where c.relkind in ('r', 'p')
            and (c.oid = entry.target or c.oid in (select relid from pg_partition_tree(entry.target)))
    loop
        if 'TRUNCATE' <> all (entry.operations) then
            if relation.tgargs is not null then
                execute format('drop trigger %I on %I.%I', '!tidings_truncate', relation.nspname, relation.relname);
            end if;
            continue;
        end if;
        if relation.tgargs is distinct from convert_to(argument, 'UTF8') || '\x00'::bytea then
            execute format(
                'create or replace trigger %I after truncate on %I.%I for each statement '
                'execute function tidings.capture(%L)',
                '!tidings_truncate', relation.nspname, relation.relname, argument);
            execute format('alter trigger %I on %I.%I depends on extension tidings',
                '!tidings_truncate', relation.nspname, relation.relname);
            relation.tgenabled := 'O';
        end if;
        if relation.tgenabled <> (case when entry.always then 'A' else 'O' end) then
            execute format('alter table only %I.%I enable %s trigger %I', relation.nspname, relation.relname,
                case when entry.always then 'always' else '' end, '!tidings_truncate');
        end if;
    end loop;
end
$$;

-- Checks a request, completes it, and writes it down. Raises before anything is changed.
create function tidings.register(request tidings.attachments, caller oid) returns tidings.attachments
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    entry tidings.attachments := request;
    refusal record;
    keys name[];
begin
    perform tidings.require_owner(entry.target, caller);
    select * into refusal from tidings.why_not_attachable(entry.target);
    if refusal.problem is not null then
        raise exception using errcode = 'wrong_object_type',
            message = format('target %s', refusal.problem), hint = refusal.advice;
    end if;
    -- CREATE TRIGGER takes this lock anyway; taken now, no column changes between check and use.
    execute (
        select format('lock table only %I.%I in share row exclusive mode', n.nspname, c.relname)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = entry.target);
    -- One at a time: names must be unique in ways that no index can express.
    lock table tidings.attachments, tidings.definitions in share row exclusive mode;
    perform tidings.require_free_names(entry.target);

    if entry.type_name is null then
        select tidings.pascal_case(c.relname) into entry.type_name from pg_class c where c.oid = entry.target;
    end if;
    perform tidings.check_type_name(entry.target, entry.type_name);
    if entry.channel is null then
        select format('%s.%s', n.nspname, c.relname) into entry.channel
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = entry.target;
    end if;
    perform tidings.check_channel(entry.channel);
    entry.operations := tidings.check_operations(entry.operations);
    perform tidings.check_columns(entry.target, 'tenant_column',
        case when entry.tenant_column is not null then array[entry.tenant_column] end);
    perform tidings.check_columns(entry.target, 'user_column',
        case when entry.user_column is not null then array[entry.user_column] end);
    perform tidings.check_columns(entry.target, 'columns', entry.columns);
    perform tidings.check_columns(entry.target, 'when_changed', entry.when_changed);
    if entry.when_changed is not null and 'UPDATE' <> all (entry.operations) then
        raise exception using errcode = 'invalid_parameter_value',
            message = 'when_changed is about UPDATE, which operations does not contain',
            hint = 'Leave when_changed out, or add UPDATE to operations.';
    end if;
    if entry.columns is not null then
        -- Subscribers tell rows apart by their key, so it is always there.
        keys := tidings.key_columns(entry.target);
        entry.columns := keys || array(
            select c from unnest(entry.columns) with ordinality u (c, place)
            where c <> all (keys) group by c order by min(place));
    end if;
    entry.include_old := coalesce(entry.include_old, false);
    entry.always := coalesce(entry.always, false);
    entry.row_security := coalesce(entry.row_security, false);
    if entry.row_security then
        perform tidings.require_readable_policies(entry);
    end if;
    entry.attached_at := clock_timestamp();

    delete from tidings.attachments a where a.target = entry.target;
    insert into tidings.attachments select entry.*;
    perform tidings.sync_columns(entry.target);
    perform tidings.sync_truncate_triggers(entry);
    return entry;
end
$$;

-- A legal GraphQL name that is as near as the rule allows; the daemon has the same rule.
create function tidings.legal_name(name text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when name = '' then '_' else regexp_replace(
        regexp_replace(regexp_replace(name, '[^A-Za-z0-9_]', '_', 'g'), '^([0-9])', '_\1'), '^_+', '_') end;
$$;

-- Field names of columns, in the order of the columns. A name that needs no change is kept; of others that
-- would meet, the later get a number.
create function tidings.field_names(columns text[]) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    taken jsonb;
    fields text[] := '{}';
    column_name text;
    wanted text;
    field text;
    number integer;
begin
    select coalesce(jsonb_object_agg(c, true), '{}') into taken
    from unnest(columns) c where tidings.legal_name(c) = c;
    foreach column_name in array columns loop
        field := tidings.legal_name(column_name);
        if field <> column_name then
            wanted := field;
            number := 1;
            while taken ? field loop
                number := number + 1;
                -- After "_" comes "_2": two underscores would be reserved.
                field := tidings.legal_name(wanted || '_' || number);
            end loop;
            taken := taken || jsonb_build_object(field, true);
        end if;
        fields := fields || field;
    end loop;
    return fields;
end
$$;

-- Columns whose field is called otherwise: who writes a document should not have to guess.
create function tidings.tell_field_names(entry tidings.attachments) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    names text[];
    told text;
    others bigint;
begin
    -- Virtual generated columns (PostgreSQL 18) are not captured.
    names := array(
        select a.attname::text
        from pg_attribute a
        where a.attrelid = entry.target and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
            and (entry.columns is null or a.attname = any (entry.columns))
        order by a.attnum);
    select string_agg(format('column "%s" is the field %s', n.name, n.field), ', ' order by n.place)
            filter (where n.rank <= 20),
        count(*) - 20
    into told, others
    from (
        select u.name, u.field, u.place, row_number() over (order by u.place) as rank
        from unnest(names, tidings.field_names(names)) with ordinality u (name, field, place)
        where u.name <> u.field
    ) n;
    if told is not null then
        raise notice using
            message = told || case when others > 0 then format(', and %s more', others) else '' end,
            hint = 'GraphQL names have letters, digits and underscores only. The payload keeps the column names.';
    end if;
end
$$;

-- Enums and composite types whose GraphQL name the table takes: they get a number, and documents that name
-- them are not valid any more.
create function tidings.tell_type_names(entry tidings.attachments) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    renamed text;
begin
    select string_agg(format('type %s is not called %s any more', format_type(t.oid, null),
            tidings.pascal_case(t.typname)), ', ' order by t.typname)
    into renamed
    from tidings.reached_types() r
    join pg_type t on t.oid = r.oid
    where t.typtype in ('c', 'e') and tidings.pascal_case(t.typname)
        in (entry.type_name, entry.type_name || 'Change', entry.type_name || 'Filter');
    if renamed is not null then
        raise warning using
            message = format('in the GraphQL schema, %s, because the table is', renamed),
            hint = 'It gets a number, such as Mood_2. Choose another type_name to keep the name; subscriptions whose '
                'documents have it end.';
    end if;
end
$$;

-- Creates the row triggers. For that one statement the caller's search_path is in force, under which
-- the condition is parsed; all other names in it are qualified.
create function tidings.attach(request tidings.attachments, caller_path text, caller oid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set tidings_internal.busy = 'on'
as $$
declare
    entry tidings.attachments;
    operation text;
    trigger_name text;
    relation text;
    clause text;
    statement text;
begin
    entry := tidings.register(request, caller);
    select format('%I.%I', n.nspname, c.relname) into relation
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = entry.target;
    foreach operation in array array['INSERT', 'UPDATE', 'DELETE'] loop
        trigger_name := '!tidings_' || lower(operation);
        if operation <> all (entry.operations) then
            if exists (select from pg_trigger t where t.tgrelid = entry.target and t.tgname = trigger_name) then
                execute format('drop trigger %I on %s', trigger_name, relation);
            end if;
            continue;
        end if;
        clause := tidings.when_clause(entry, operation);
        statement := format('create or replace trigger %I after %s on %s for each row %s '
            'execute function tidings.capture(%L)',
            trigger_name, operation, relation, clause, tidings.trigger_argument(entry));
        begin
            perform pg_catalog.set_config('search_path', caller_path, true);
            execute statement;
            perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        exception when syntax_error_or_access_rule_violation or data_exception or feature_not_supported then
            if entry.condition is null or sqlstate = '42501' then
                raise;
            end if;
            raise exception using errcode = sqlstate,
                message = format('condition cannot be used for %s: %s', operation, sqlerrm),
                hint = 'Write it as in WHERE, over this table''s columns, new and old only; subqueries are '
                    'not possible, functions are.';
        end;
        execute format('alter trigger %I on %s depends on extension tidings', trigger_name, relation);
        if entry.always then
            execute format('alter table %s enable always trigger %I', relation, trigger_name);
        end if;
    end loop;
    -- Last, so that it is not said of what has failed.
    perform tidings.tell_field_names(entry);
    perform tidings.tell_type_names(entry);
    if entry.row_security then
        if not (select c.relrowsecurity from pg_class c where c.oid = entry.target) then
            raise warning using
                message = format('row security of %s is not enabled: who may select from it sees all its changes',
                    entry.target),
                hint = format('Enable it: alter table %s enable row level security;', relation);
        end if;
    elsif entry.tenant_column is null and entry.user_column is null then
        raise warning using
            message = format('every subscriber will see the changes of %s', entry.target),
            hint = 'Name tenant_column or user_column, or use row_security, unless all rows are meant for everybody.';
    end if;
end
$$;

create function tidings.when_clause(entry tidings.attachments, operation text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    problem text;
    advice text;
begin
    if entry.condition is null then
        return '';
    end if;
    -- The line break ends a comment that the condition may end with.
    return format(E'when (%s\n)', tidings.qualify_condition(entry.condition, operation, array(
        select a.attname::text from pg_attribute a
        where a.attrelid = entry.target and a.attnum > 0 and not a.attisdropped)));
exception when syntax_error or data_exception then
    if sqlstate = '22023' then
        raise;
    end if;
    raise exception using errcode = sqlstate,
        message = format('condition cannot be parsed: %s', sqlerrm),
        hint = 'Write it as in WHERE, for example: status = ''paid'' and new.total > 100.';
end
$$;

create function @extschema@.attach_trigger(
    target regclass,
    type_name text default null,
    channel text default null,
    tenant_column name default null,
    user_column name default null,
    operations text[] default '{INSERT,UPDATE,DELETE}',
    columns name[] default null,
    when_changed name[] default null,
    condition text default null,
    include_old boolean default false,
    always boolean default false,
    row_security boolean default false
) returns void
language plpgsql
as $$
begin
    -- No pinned search_path: this function is here to hand over the caller's. Every name below is
    -- qualified and every argument has the exact type of the column it goes to.
    perform tidings.attach_for_caller(
        row(target, type_name, channel, tenant_column, user_column, operations, columns, when_changed,
            condition, include_old, always, row_security, null::pg_catalog.timestamptz)::tidings.attachments,
        pg_catalog.current_setting('search_path'));
end
$$;
comment on function @extschema@.attach_trigger(
    regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean, boolean) is
    'Captures the changes of a table as events, and makes it a type of the GraphQL schema.';

-- Removes whatever triggers of ours are there, registered or not.
create function tidings.detach(target regclass, caller oid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set tidings_internal.busy = 'on'
as $$
declare
    parent regclass;
    removed boolean;
    found_trigger record;
begin
    perform tidings.require_owner(target, caller);
    select a.target into parent
    from tidings.attachments a
    where a.target in (select r.relid from pg_partition_ancestors(detach.target) r) and a.target <> detach.target
    limit 1;
    if found then
        raise exception using errcode = 'wrong_object_type',
            message = format('target %s is captured as a partition of %s', target, parent),
            hint = format('Detach the parent: select detach_trigger(%L);', parent);
    end if;
    -- First, so that the drops below are not taken for somebody's mistake.
    delete from tidings.attachments a where a.target = detach.target;
    removed := found;
    delete from tidings.attached_columns c where c.target = detach.target;
    for found_trigger in
        select t.tgname, n.nspname, c.relname
        from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace
        where t.tgfoid = 'tidings.capture()'::regprocedure
            and t.tgparentid = 0
            and (c.oid = detach.target or c.oid in (select relid from pg_partition_tree(detach.target)))
    loop
        execute format('drop trigger %I on %I.%I', found_trigger.tgname, found_trigger.nspname, found_trigger.relname);
        removed := true;
    end loop;
    if not removed then
        raise exception using errcode = 'undefined_object',
            message = format('target %s is not attached', target),
            hint = 'See which tables are: select target from tidings.attachments;';
    end if;
end
$$;

create function @extschema@.detach_trigger(target regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.detach_for_caller(target);
end
$$;
comment on function @extschema@.detach_trigger(regclass) is
    'Ends the capture of a table; events already stored stay until retention removes them.';

-- Row security: what PostgreSQL would add to a SELECT from an attached table. The daemon evaluates it
-- against the records of events, as the subscriber's role; it never reads the table.

-- The policies that concern SELECT, for everybody (null) or as far as they apply to one role. `reads` are
-- the columns that decide, whole rows counted as every column. `opaque` are policies over what a record
-- does not have: ctid, xmin and the like.
create function tidings.policies_of(target oid, role oid)
returns table (name name, permissive boolean, condition text, reads name[], opaque boolean)
language sql stable
-- Under this path PostgreSQL prints every other name qualified.
set search_path = pg_catalog, pg_temp
as $$
    select p.polname, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
        array(
            select a.attname
            from pg_attribute a
            where a.attrelid = p.polrelid and a.attnum > 0 and not a.attisdropped
                -- A whole row leaves no dependency on its columns.
                and (p.polqual::text like '%:varattno 0 %'
                    or exists (
                        select from pg_depend d
                        where d.classid = 'pg_policy'::regclass and d.objid = p.oid
                            and d.refclassid = 'pg_class'::regclass and d.refobjid = p.polrelid
                            and d.refobjsubid = a.attnum))
            order by a.attnum),
        p.polqual::text like '%:varattno -%'
    from pg_policy p
    where p.polrelid = target and p.polcmd in ('*', 'r') and p.polqual is not null
        and (policies_of.role is null or exists (
            select from unnest(p.polroles) r
            -- 0 is PUBLIC.
            where case when r = 0 then true else pg_has_role(policies_of.role, r, 'usage') end))
    order by p.polname;
$$;

-- What decides whether a role may see a record of an attached table:
-- `condition` as PostgreSQL would add it to a SELECT, null if every row is visible, 'false' if none is;
-- `reads` the columns that it looks at, without which it cannot be decided; `hidden` the columns that the
-- role may not select; `relation` and `alias` how the condition's table is written. No row: not attached
-- with row_security, or no such role.
create function tidings.select_policies(target oid, role name)
returns table (relation text, alias text, condition text, reads name[], hidden name[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    class record;
    reader record;
    permitted text;
    restricted text;
begin
    select c.oid, c.relowner, c.relrowsecurity, c.relforcerowsecurity, n.oid as schema, n.nspname, c.relname
    into class
    from tidings.attachments a
    join pg_class c on c.oid = a.target
    join pg_namespace n on n.oid = c.relnamespace
    where a.target = select_policies.target and a.row_security;
    if not found then
        return;
    end if;
    select r.oid, r.rolsuper or r.rolbypassrls as bypasses into reader
    from pg_roles r where r.rolname = select_policies.role;
    if not found then
        return;
    end if;
    relation := format('%I.%I', class.nspname, class.relname);
    alias := quote_ident(class.relname);
    reads := '{}';
    hidden := array(
        select a.attname
        from pg_attribute a
        where a.attrelid = class.oid and a.attnum > 0 and not a.attisdropped
            and not has_column_privilege(reader.oid, class.oid, a.attnum, 'select')
        order by a.attnum);
    if not has_schema_privilege(reader.oid, class.schema, 'usage')
        or not has_any_column_privilege(reader.oid, class.oid, 'select')
    then
        condition := 'false';
    elsif class.relrowsecurity and not reader.bypasses
        and (class.relforcerowsecurity or not pg_has_role(reader.oid, class.relowner, 'usage'))
    then
        select string_agg(format('(%s)', p.condition), ' or ' order by p.name) filter (where p.permissive),
            string_agg(format(' and (%s)', p.condition), '' order by p.name) filter (where not p.permissive)
        into permitted, restricted
        from tidings.policies_of(class.oid, reader.oid) p;
        condition := case when permitted is null
            or exists (select from tidings.policies_of(class.oid, reader.oid) p where p.opaque)
            then 'false' else format('(%s)%s', permitted, restricted) end;
        reads := array(
            select distinct r from tidings.policies_of(class.oid, reader.oid) p
            cross join lateral unnest(p.reads) r order by r);
    end if;
    return next;
end
$$;

-- A policy that reads what events do not have could not be decided.
create function tidings.require_readable_policies(entry tidings.attachments) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    problem record;
begin
    select p.name, p.opaque, array(
            select r from unnest(p.reads) r
            join pg_attribute a on a.attrelid = entry.target and a.attname = r
            where a.attgenerated = 'v' or (entry.columns is not null and r <> all (entry.columns))) as missing
    into problem
    from tidings.policies_of(entry.target, null) p
    where p.opaque or exists (
        select from unnest(p.reads) r
        join pg_attribute a on a.attrelid = entry.target and a.attname = r
        where a.attgenerated = 'v' or (entry.columns is not null and r <> all (entry.columns)))
    order by p.name limit 1;
    if not found then
        return;
    elsif problem.opaque then
        raise exception using errcode = 'feature_not_supported',
            message = format('row_security is not possible: policy "%s" of %s reads a system column',
                problem.name, entry.target),
            hint = 'Events do not have ctid, xmin and the like. Write the policy without them.';
    end if;
    raise exception using errcode = 'invalid_parameter_value',
        message = format('policy "%s" of %s reads column %s, which is not captured', problem.name, entry.target,
            (select string_agg(format('"%s"', m), ', ') from unnest(problem.missing) m)),
        hint = 'With row_security, columns has to contain every column that a policy for SELECT reads.';
end
$$;

-- Current rows: what the daemon reads of an attached table for a subscription that begins with what is
-- there already. It reads as the subscriber's role; here is only said how the query has to be written, so
-- that a row looks like an INSERT event of it would.

-- Types at or inside of a table's columns that PostgreSQL's to_json renders by a cast of a user. Capture
-- never calls such a cast. `within` are those that an array or a composite type contains.
create function tidings.json_casts(target oid) returns table (attnum smallint, type oid, within boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive reached (attnum, type, within) as (
        select a.attnum, a.atttypid, false
        from pg_attribute a
        -- to_json asks for casts only of types that do not come with PostgreSQL.
        where a.attrelid = json_casts.target and a.attnum > 0 and not a.attisdropped and a.atttypid >= 16384
        union
        select r.attnum, n.type, n.within or r.within
        from reached r
        join pg_type t on t.oid = r.type
        cross join lateral (
            select t.typbasetype, false where t.typtype = 'd'
            union all
            select t.typelem, true where t.typelem <> 0 and t.typsubscript = 'array_subscript_handler'::regproc
            union all
            select a.atttypid, true
            from pg_attribute a
            where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) n (type, within)
    )
    select r.attnum, r.type, r.within
    from reached r
    join pg_type t on t.oid = r.type
    join pg_cast c on c.castsource = r.type and c.casttarget = 'json'::regtype and c.castmethod = 'f'
    where r.type >= 16384 and t.typtype not in ('c', 'd')
        and (t.typelem = 0 or t.typsubscript <> 'array_subscript_handler'::regproc);
$$;

-- The type below all domains.
create function tidings.base_type(type oid) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with recursive below (type, kind, base) as (
        select t.oid, t.typtype, t.typbasetype from pg_type t where t.oid = base_type.type
        union all
        select t.oid, t.typtype, t.typbasetype from below b join pg_type t on t.oid = b.base where b.kind = 'd'
    )
    select b.type from below b where b.kind <> 'd';
$$;

-- The expression in a trigger's WHEN clause, every name in it qualified; null if there is none.
create function tidings.trigger_condition(trigger oid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
set quote_all_identifiers = off
as $$
declare
    found_trigger record;
    definition text := pg_get_triggerdef(trigger);
    head text;
    tail text;
begin
    select t.tgname, t.tgargs, t.tgtype, n.nspname, c.relname
    into found_trigger
    from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    join pg_namespace n on n.oid = c.relnamespace
    where t.oid = trigger_condition.trigger and t.tgqual is not null;
    if not found then
        return null;
    end if;
    head := format('CREATE TRIGGER %I AFTER %s ON %I.%I FOR EACH ROW WHEN (', found_trigger.tgname,
        case when found_trigger.tgtype & 4 <> 0 then 'INSERT'
            when found_trigger.tgtype & 8 <> 0 then 'DELETE' else 'UPDATE' end,
        found_trigger.nspname, found_trigger.relname);
    -- tgargs holds the one argument and a zero byte.
    tail := format(') EXECUTE FUNCTION tidings.capture(''%s'')', replace(
        convert_from(substring(found_trigger.tgargs from 1 for length(found_trigger.tgargs) - 1), 'UTF8'),
        '''', ''''''));
    if left(definition, length(head)) <> head or right(definition, length(tail)) <> tail then
        raise exception using errcode = 'internal_error',
            message = format('trigger %I on %I.%I has an unexpected definition', found_trigger.tgname,
                found_trigger.nspname, found_trigger.relname);
    end if;
    return substr(left(definition, length(definition) - length(tail)), length(head) + 1);
end
$$;

-- Raises, in words for a subscriber, if a role may not select what reading the current rows takes, the
-- columns of the condition of trigger `deciding` among it, or if a column cannot be rendered.
create function tidings.require_readable_rows(entry tidings.attachments, role name, deciding oid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    class record;
    reader oid := (select r.oid from pg_roles r where r.rolname = role);
    problem record;
begin
    select c.oid, n.oid as schema, format('%I.%I', n.nspname, c.relname) as name into class
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = entry.target;
    if not has_schema_privilege(reader, class.schema, 'usage') then
        raise exception using errcode = 'insufficient_privilege',
            message = format('role "%s" may not use the schema of %s, so it has no current rows', role, class.name),
            hint = format('grant usage on schema %s to %I;', class.schema::regnamespace, role);
    end if;
    select string_agg(format('"%s"', a.attname), ', ' order by a.attnum) as columns,
        string_agg(format('%I', a.attname), ', ' order by a.attnum) as granted
    into problem
    from pg_attribute a
    where a.attrelid = class.oid and a.attnum > 0 and not a.attisdropped
        and not has_column_privilege(reader, class.oid, a.attnum, 'select')
        and (a.attname in (entry.tenant_column, entry.user_column)
            or exists (
                select from pg_trigger t
                where t.oid = deciding
                    -- A whole row leaves no dependency on its columns.
                    and (t.tgqual::text like '%:varattno 0 %'
                        or exists (
                            select from pg_depend d
                            where d.classid = 'pg_trigger'::regclass and d.objid = t.oid
                                and d.refclassid = 'pg_class'::regclass and d.refobjid = class.oid
                                and d.refobjsubid = a.attnum))));
    if not has_any_column_privilege(reader, class.oid, 'select') then
        raise exception using errcode = 'insufficient_privilege',
            message = format('role "%s" may not select from %s', role, class.name),
            hint = format('grant select on %s to %I;', class.name, role);
    elsif problem.columns is not null then
        raise exception using errcode = 'insufficient_privilege',
            message = format('role "%s" may not select column %s of %s, which decides who sees which rows',
                role, problem.columns, class.name),
            hint = format('grant select (%s) on %s to %I;', problem.granted, class.name, role);
    end if;

    select a.attname, j.type::regtype as type into problem
    from tidings.json_casts(class.oid) j
    join pg_attribute a on a.attrelid = class.oid and a.attnum = j.attnum
    where j.within and has_column_privilege(reader, class.oid, a.attnum, 'select')
        and (entry.columns is null or a.attname = any (entry.columns) or a.attname = any (tidings.key_columns(entry.target)))
    order by a.attnum limit 1;
    if found then
        raise exception using errcode = 'feature_not_supported',
            message = format('column "%s" of %s cannot be read: it contains type %s, which has a cast to json',
                problem.attname, class.name, problem.type),
            hint = 'Events do not use the cast, a SELECT would. Leave the column out of columns in '
                'attach_trigger, or drop the cast.';
    end if;
end
$$;

-- How one role's SELECT of the current rows is written:
-- `relation` and `alias`, under which every expression below names the table;
-- `columns` that the role may select, and for each in `texts` the expression of its text, blanks included;
-- `record` and `key_record`, select lists whose rows are the JSON of a record, and of one that is too large;
-- `ordering`, the primary key, null if the role may not select it; `condition` of the attachment, or null;
-- `tenant` and `user_id`, expressions; `max_bytes`, from when on a record is too large.
-- No row: not attached, or no such role. Raises what `require_readable_rows` does.
create function tidings.rows_query(target oid, role name)
returns table (
    relation text, alias text, columns text[], texts text[], record text, key_record text, ordering text,
    condition text, tenant text, user_id text, audience text, channel text, type_name text, max_bytes bigint
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    class record;
    entry tidings.attachments;
    reader oid;
    keys name[] := tidings.key_columns(target);
    deciding oid;
    cast_columns smallint[];
begin
    select * into entry from tidings.attachments a where a.target = rows_query.target;
    if not found then
        return;
    end if;
    select c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) as name into class
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = rows_query.target;
    select r.oid into reader from pg_roles r where r.rolname = rows_query.role;
    if class.oid is null or reader is null then
        return;
    end if;

    -- The trigger that tells which rows make events when they come to be. In an UPDATE's expression varno 1
    -- is the row before it, of which nothing is known here.
    select t.oid into deciding
    from pg_trigger t
    where entry.condition is not null and t.tgrelid = class.oid
        and t.tgname = '!tidings_' || lower(entry.operations[1])
        and (t.tgname <> '!tidings_update' or t.tgqual::text not like '%:varno 1 %');
    condition := tidings.trigger_condition(deciding);
    -- What a condition calls the row.
    alias := case when entry.operations[1] = 'DELETE' then 'old' else 'new' end;
    perform tidings.require_readable_rows(entry, role, deciding);

    cast_columns := array(select j.attnum from tidings.json_casts(class.oid) j);
    relation := case when class.relkind = 'p' then class.name else 'only ' || class.name end;
    with readable as (
        select a.attnum, a.attname, a.attname = any (keys) as key,
            entry.columns is null or a.attname = any (entry.columns) or a.attname = any (keys) as captured,
            format('%s.%I', alias, a.attname) as column,
            -- The output function, without the cast.
            a.attnum = any (cast_columns) as as_text,
            case when t.typtype = 'd' then tidings.base_type(t.oid) else t.oid end as type
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = class.oid and a.attnum > 0 and not a.attisdropped
            -- Virtual generated columns (PostgreSQL 18) are not captured.
            and a.attgenerated <> 'v'
            and has_column_privilege(reader, class.oid, a.attnum, 'select')
    ), rendered as (
        select r.*, case when r.as_text
            then format('case when %s is distinct from null then format(''%%s'', %1$s) end', r.column)
            else r.column end as expression
        from readable r
    )
    select array_agg(r.attname::text order by r.attnum),
        -- char(n) loses its blanks when it becomes text.
        array_agg(case when r.type = 'bpchar'::regtype then format('format(''%%s'', %s)', r.column) else r.column end
            order by r.attnum),
        string_agg(format('%s as %I', r.expression, r.attname), ', ' order by r.attnum) filter (where r.captured),
        coalesce(string_agg(format('%s as %I', r.expression, r.attname), ', ' order by r.attnum) filter (where r.key), ''),
        case when cardinality(keys) = count(*) filter (where r.key)
            then string_agg(r.column, ', ' order by array_position(keys, r.attname)) filter (where r.key) end,
        coalesce(min(tidings.key_text(r.expression, r.type)) filter (where r.attname = entry.tenant_column), 'null'),
        coalesce(min(tidings.key_text(r.expression, r.type)) filter (where r.attname = entry.user_column), 'null')
    into columns, texts, record, key_record, ordering, tenant, user_id
    from rendered r;
    if record is null then
        raise exception using errcode = 'insufficient_privilege',
            message = format('role "%s" may not select any column of %s that its events have', role, class.name),
            hint = format('grant select on %s to %I;', class.name, role);
    end if;
    audience := case when entry.tenant_column is null and entry.user_column is null then 'open'
        when entry.user_column is null then 'tenant' when entry.tenant_column is null then 'user' else 'both' end;
    channel := entry.channel;
    type_name := entry.type_name;
    -- Asking the library for its settings makes them known to this session.
    select s.setting::bigint into max_bytes
    from tidings.settings(), pg_settings s where s.name = 'tidings.max_event_bytes';
    return next;
end
$$;

-- The text of a tenant or user, as capture takes it from a row: null, which reaches nobody, if it is empty,
-- longer than 255 bytes or no scalar.
create function tidings.key_text(expression text, type oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when type in ('json'::regtype, 'jsonb'::regtype) or t.typtype = 'c'
            or (t.typelem <> 0 and t.typsubscript = 'array_subscript_handler'::regproc)
            then 'null'
        else format('(select k.text from (select to_json(%s) #>> ''{}'' as text offset 0) k '
            'where octet_length(k.text) between 1 and 255)', expression) end
    from pg_type t where t.oid = key_text.type;
$$;

-- Attachments follow what happens to their tables: renames, added and dropped columns, new and detached
-- partitions, drops. Event triggers run for everybody's DDL, so they leave at once when nothing
-- attached is concerned, and never make that DDL fail.

-- Gives the row triggers of a table a new argument. The definition is printed by PostgreSQL, so a WHEN
-- clause keeps the meaning it had when it was parsed, whatever search_path is in force now.
create function tidings.rewrite_triggers(entry tidings.attachments) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
set tidings_internal.busy = 'on'
as $$
declare
    found_trigger record;
    relation text;
    definition text;
    old_tail text;
begin
    for found_trigger in
        select t.oid, t.tgname, t.tgargs, n.nspname, c.relname
        from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace
        where t.tgrelid = entry.target and t.tgfoid = 'tidings.capture()'::regprocedure
            and t.tgname in ('!tidings_insert', '!tidings_update', '!tidings_delete')
    loop
        relation := format('%I.%I', found_trigger.nspname, found_trigger.relname);
        definition := pg_get_triggerdef(found_trigger.oid);
        -- tgargs holds the one argument and a zero byte.
        old_tail := format(' EXECUTE FUNCTION tidings.capture(''%s'')', replace(
            convert_from(substring(found_trigger.tgargs from 1 for length(found_trigger.tgargs) - 1), 'UTF8'),
            '''', ''''''));
        if left(definition, 15) <> 'CREATE TRIGGER ' or right(definition, length(old_tail)) <> old_tail then
            raise exception using errcode = 'internal_error',
                message = format('trigger %I on %s has an unexpected definition', found_trigger.tgname, relation);
        end if;
        execute format('create or replace trigger %s execute function tidings.capture(%L)',
            substr(left(definition, length(definition) - length(old_tail)), 16), tidings.trigger_argument(entry));
        execute format('alter trigger %I on %s depends on extension tidings', found_trigger.tgname, relation);
        if entry.always then
            execute format('alter table %s enable always trigger %I', relation, found_trigger.tgname);
        end if;
    end loop;
end
$$;

-- A partition that was detached keeps its TRUNCATE trigger, which is a trigger of its own.
create function tidings.drop_orphaned_truncate_triggers() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set tidings_internal.busy = 'on'
as $$
declare
    orphan record;
begin
    for orphan in
        select n.nspname, c.relname
        from pg_trigger t
        join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace
        where t.tgname = '!tidings_truncate' and t.tgfoid = 'tidings.capture()'::regprocedure
            and not exists (
                select from tidings.attachments a
                where a.target = c.oid or a.target in (select relid from pg_partition_ancestors(c.oid)))
    loop
        execute format('drop trigger %I on %I.%I', '!tidings_truncate', orphan.nspname, orphan.relname);
    end loop;
end
$$;

-- The names after a rename, in the same order; without the columns that were dropped.
create function tidings.current_names(target oid, names name[]) returns name[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(coalesce(a.attname, n.name) order by n.place)
    from unnest(names) with ordinality n (name, place)
    left join tidings.attached_columns c on c.target = current_names.target and c.attname = n.name
    left join pg_attribute a on a.attrelid = c.target and a.attnum = c.attnum and not a.attisdropped
    where c.attnum is null or a.attnum is not null;
$$;

-- A restored attachment has its triggers created one by one, by pg_restore. Until the last is there,
-- nothing may be added, or that one would be there already.
create function tidings.has_all_triggers(entry tidings.attachments) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select not exists (
        select from unnest(entry.operations) operation
        cross join lateral (
            select entry.target::oid as relid
            union
            select t.relid from pg_partition_tree(entry.target) t where operation = 'TRUNCATE'
        ) wanted
        join pg_class c on c.oid = wanted.relid and c.relkind in ('r', 'p')
        where not exists (
            select from pg_trigger t
            where t.tgrelid = c.oid and t.tgname = '!tidings_' || lower(operation)));
$$;

-- Brings one attachment up to date with its table.
create function tidings.follow(target oid) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    entry tidings.attachments;
    before tidings.attachments;
    lost name;
begin
    select * into entry from tidings.attachments a where a.target = follow.target;
    if not found then
        return;
    end if;
    if not exists (select from tidings.attached_columns c where c.target = entry.target) then
        -- Being restored; see follow_ddl.
        perform tidings.notify_schema();
        return;
    end if;
    before := entry;
    foreach lost in array array_remove(array[entry.tenant_column, entry.user_column], null) loop
        if tidings.current_names(entry.target, array[lost]) is null then
            raise warning using
                message = format('column "%s" of %s decided who may see its events, and is gone', lost, entry.target),
                hint = 'Nobody receives them now. Attach the table again with another column.';
        end if;
    end loop;
    entry.tenant_column := coalesce((tidings.current_names(target, array[entry.tenant_column]))[1], entry.tenant_column);
    entry.user_column := coalesce((tidings.current_names(target, array[entry.user_column]))[1], entry.user_column);
    -- All listed columns gone is not the same as no list: publish none but the key then.
    if entry.columns is not null then
        entry.columns := coalesce(tidings.current_names(target, entry.columns), '{}');
    end if;
    if entry.when_changed is not null then
        entry.when_changed := tidings.current_names(target, entry.when_changed);
        if entry.when_changed is null then
            raise warning using
                message = format('the last column of when_changed of %s is gone: from now on every UPDATE is an event', target),
                hint = 'Attach the table again to watch other columns.';
        end if;
    end if;
    perform tidings.sync_columns(target::regclass);
    if entry is distinct from before then
        update tidings.attachments a
        set tenant_column = entry.tenant_column, user_column = entry.user_column,
            columns = entry.columns, when_changed = entry.when_changed
        where a.target = entry.target;
        perform tidings.rewrite_triggers(entry);
    end if;
    perform tidings.sync_truncate_triggers(entry);
    perform tidings.notify_schema();
end
$$;

-- The types that captured columns have, through domains, arrays and composites.
create function tidings.reached_types() returns table (oid oid)
language sql stable
set search_path = pg_catalog, pg_temp
-- The recursion is estimated far too high. By index it costs what the attached tables have, not the catalog.
set jit = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
as $$
    with recursive reached (oid) as (
        select c.atttypid
        from tidings.attachments a
        join pg_attribute c on c.attrelid = a.target and c.attnum > 0 and not c.attisdropped
            and c.attgenerated <> 'v'
        where a.columns is null or c.attname = any (a.columns)
        union
        select n.oid
        from reached r
        join pg_type t on t.oid = r.oid
        cross join lateral (
            select t.typbasetype where t.typtype = 'd'
            union all
            select t.typelem where t.typcategory = 'A' and t.typelem <> 0
            union all
            select c.atttypid from pg_attribute c
            where t.typtype = 'c' and c.attrelid = t.typrelid and c.attnum > 0 and not c.attisdropped
        ) n (oid)
    )
    select r.oid from reached r;
$$;

create function tidings.follow_ddl() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    touched oid[];
    target oid;
begin
    if current_setting('tidings_internal.busy', true) = 'on'
        or not exists (select from tidings.attachments)
    then
        return;
    end if;
    if tg_tag in ('ALTER TYPE', 'ALTER DOMAIN') then
        -- May be the type of an attached column; the daemon looks for itself.
        perform tidings.notify_schema();
        return;
    end if;
    if tg_tag in ('CREATE POLICY', 'ALTER POLICY', 'GRANT', 'REVOKE') then
        -- May decide who sees what.
        if exists (select from tidings.attachments a where a.row_security) then
            perform tidings.notify_schema();
        end if;
        return;
    end if;
    if tg_tag = 'CREATE TRIGGER' then
        -- The last trigger of a restored attachment: its columns may have other numbers than before.
        for target in
            select distinct a.target
            from pg_event_trigger_ddl_commands() d
            join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
            cross join lateral (
                select t.tgrelid as relid union select p.relid from pg_partition_ancestors(t.tgrelid) p) r
            join tidings.attachments a on a.target = r.relid
            where t.tgfoid = 'tidings.capture()'::regprocedure
                and not exists (select from tidings.attached_columns c where c.target = a.target)
                and tidings.has_all_triggers(a)
        loop
            perform tidings.sync_columns(target::regclass);
            perform tidings.notify_schema();
        end loop;
        return;
    end if;
    touched := array(
        select distinct a.target::oid
        from pg_event_trigger_ddl_commands() d
        cross join lateral (
            select d.objid as relid union select p.relid from pg_partition_ancestors(d.objid) p) r
        join tidings.attachments a on a.target = r.relid
        where d.classid = 'pg_class'::regclass);
    if cardinality(touched) = 0 then
        -- A comment on a type of an attached column, or a change of the table whose rows such a type is.
        if tg_tag in ('COMMENT', 'ALTER TABLE') and exists (
            select from pg_event_trigger_ddl_commands() d
            join pg_type t on (d.classid = 'pg_type'::regclass and t.oid = d.objid)
                or (d.classid = 'pg_class'::regclass and t.typrelid = d.objid)
            where t.oid in (select r.oid from tidings.reached_types() r))
        then
            perform tidings.notify_schema();
        end if;
        return;
    end if;
    begin
        foreach target in array touched loop
            perform tidings.follow(target);
        end loop;
        if tg_tag = 'ALTER TABLE' then
            perform tidings.drop_orphaned_truncate_triggers();
        end if;
    exception when others then
        raise warning using
            message = format('tidings could not follow this change of %s: %s', target::regclass, sqlerrm),
            hint = 'Attach the table again with attach_trigger().';
    end;
end
$$;

create function tidings.follow_drop() returns event_trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    dropped record;
begin
    if current_setting('tidings_internal.busy', true) = 'on'
        or not exists (select from tidings.attachments)
    then
        return;
    end if;
    if exists (select from pg_event_trigger_dropped_objects() d where d.object_type = 'policy')
        and exists (select from tidings.attachments a where a.row_security)
    then
        perform tidings.notify_schema();
    end if;
    for dropped in
        select d.objid, d.object_type, d.address_names, a.target, a.operations
        from pg_event_trigger_dropped_objects() d
        left join tidings.attachments a on a.target = case
            when d.object_type in ('table', 'table column') then d.objid
            when d.object_type = 'trigger' and d.address_names[3] like '!tidings\_%'
                then to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))
            end
        where a.target is not null
        order by d.object_type = 'table' desc
    loop
        if dropped.object_type = 'table' then
            delete from tidings.attachments a where a.target = dropped.target;
            delete from tidings.attached_columns c where c.target = dropped.objid;
        elsif not exists (select from tidings.attachments a where a.target = dropped.target) then
            continue;
        elsif dropped.object_type = 'trigger' then
            if upper(replace(dropped.address_names[3], '!tidings_', '')) = any (dropped.operations) then
                raise warning using
                    message = format('%s of %s is no longer captured',
                        upper(replace(dropped.address_names[3], '!tidings_', '')), dropped.target),
                    hint = 'Attach the table again with attach_trigger(), or end its capture with detach_trigger().';
            end if;
        else
            begin
                perform tidings.follow(dropped.objid);
            exception when others then
                raise warning using
                    message = format('tidings could not follow this change of %s: %s', dropped.target, sqlerrm),
                    hint = 'Attach the table again with attach_trigger().';
            end;
        end if;
    end loop;
end
$$;

create event trigger tidings_follow_ddl on ddl_command_end
    when tag in ('ALTER TABLE', 'CREATE TABLE', 'CREATE TRIGGER', 'COMMENT', 'ALTER TYPE', 'ALTER DOMAIN',
        'CREATE POLICY', 'ALTER POLICY', 'GRANT', 'REVOKE')
    execute function tidings.follow_ddl();
create event trigger tidings_follow_drop on sql_drop
    execute function tidings.follow_drop();

-- define_subscriptions and drop_subscriptions: GraphQL definitions of custom events.
--
-- Both run as the caller. The library checks what the text alone can tell; which functions there are is
-- asked here. Everything that is wrong is told at once, and only then is anything written.

-- What is wrong with a document that is to be defined (null: dropped), and what it defines. Pure: all that
-- counts besides the document comes in with the world.
create function tidings.check_definition(name text, sdl text, world jsonb) returns jsonb
language c stable
as 'MODULE_PATHNAME', 'check_definition_wrapper';

create function tidings.definitions_world(name text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'current', (select d.sdl from tidings.definitions d where d.name = definitions_world.name),
        'documents', (
            select coalesce(jsonb_agg(jsonb_build_object('name', d.name, 'sdl', d.sdl) order by d.name), '[]')
            from tidings.definitions d where d.name <> definitions_world.name),
        'tables', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'table', a.target::text,
                'types', tidings.type_names(a.type_name),
                'root_fields', tidings.root_fields(a.type_name),
                'channel', a.channel) order by a.type_name), '[]')
            from tidings.attachments a),
        'types', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'name', n.name,
                'postgres', format_type(t.oid, null),
                'is_enum', t.typtype = 'e',
                'filters', array[n.name || 'Filter', n.name || 'ListFilter']) order by t.typname, t.oid), '[]')
            from pg_type t
            cross join lateral (
                select tidings.legal_name(coalesce(tidings.pascal_case(t.typname), ''))) n (name)
            where t.oid in (select r.oid from tidings.reached_types() r)
                -- GraphQL has no enum without values and no object without fields.
                and (t.typtype = 'e' and exists (select from pg_enum e where e.enumtypid = t.oid)
                    or t.typtype = 'c' and exists (
                        select from pg_attribute c
                        where c.attrelid = t.typrelid and c.attnum > 0 and not c.attisdropped))),
        'reserved', tidings.reserved_types());
$$;

-- Why a function cannot be called by a directive, null if it can; and what its author should know.
create function tidings.why_not_callable(directive text, function text, out problem text, out remark text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted regtype := case directive when 'authorize' then 'boolean' else 'jsonb' end;
    parts text[];
    found_function record;
    others text;
begin
    begin
        parts := parse_ident(function);
    exception when invalid_parameter_value then
        problem := 'that is no name of a function; write "schema.function", without arguments';
        return;
    end;
    if cardinality(parts) <> 2 then
        problem := 'that is not qualified by a schema; write "schema.function"';
        return;
    end if;
    select p.oid, p.prokind, p.proretset, p.prorettype, p.prosecdef, p.provolatile into found_function
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = parts[1] and p.proname = parts[2]
        and p.proargtypes = '3802 3802'::oidvector and p.provariadic = 0;
    if not found then
        select string_agg(distinct format('(%s)', pg_get_function_identity_arguments(p.oid)), ', ') into others
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = parts[1] and p.proname = parts[2];
        problem := case
            when others is not null then
                format('it takes %s; one that takes (jsonb, jsonb) is needed', others)
            when not exists (select from pg_namespace n where n.nspname = parts[1]) then
                format('there is no schema "%s"', parts[1])
            else 'there is no such function; create it first, with the arguments (event jsonb, arguments jsonb)'
        end;
        return;
    end if;
    problem := case
        when found_function.prokind = 'p' then
            format('it is a procedure; make it a function that returns %s', wanted)
        when found_function.prokind <> 'f' then
            'it is an aggregate or window function; use one that can be called by itself'
        when found_function.proretset then
            format('it returns a set; make it return one %s, for example with jsonb_agg', wanted)
        when found_function.prorettype <> wanted then
            format('it returns %s; it must return %s', format_type(found_function.prorettype, null), wanted)
    end;
    remark := nullif(concat_ws('; ',
        case when found_function.provolatile = 'v' then
            'it is volatile, but is called in a read-only transaction: declare it stable if it writes nothing' end,
        case when found_function.prosecdef then
            'it is security definer, so row level security of its owner counts, not that of the subscriber' end),
        '');
end
$$;

-- Raises one ERROR with all that is wrong, if anything is.
create function tidings.raise_definition_problems(name text, sdl text, finding jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    lines_max constant integer := 50;
    own bigint;
    total bigint;
    broken text;
    details text;
begin
    with problems (document, line, col, message) as (
        select p.document, p.line, p."column", p.message
        from jsonb_to_recordset(finding -> 'problems') p (document text, line integer, "column" integer, message text)
        union
        select null, f.line, f."column", format('function "%s" of @%s: %s', f.function, f.directive, w.problem)
        from jsonb_to_recordset(finding -> 'functions')
            f (line integer, "column" integer, directive text, function text)
        cross join lateral tidings.why_not_callable(f.directive, f.function) w
        where w.problem is not null
    ), numbered as (
        select *, row_number() over (order by document nulls first, line, col, message) as place from problems
    )
    select count(*) filter (where document is null), count(*),
        string_agg(distinct format('"%s"', document), ', '),
        string_agg(
            case when document is not null then format('document "%s", ', document) else '' end
            || format('%s:%s: %s', line, col, message), E'\n' order by place) filter (where place <= lines_max)
    into own, total, broken, details
    from numbered;
    if total = 0 then
        return;
    end if;
    if total > lines_max then
        details := details || format(E'\nand %s more', total - lines_max);
    end if;
    if own > 0 then
        raise exception using errcode = 'invalid_object_definition',
            message = format('document "%s" has %s', name,
                case when own = 1 then 'an error' when own < 1000 then own || ' errors' else '1000 errors or more' end),
            detail = details,
            hint = 'Correct what is listed as line:column and define the document again; nothing was changed.';
    end if;
    raise exception using errcode = 'dependent_objects_still_exist',
        message = format(case when sdl is null then 'document "%s" cannot be dropped: it is needed by %s'
            else 'document "%s" cannot be stored: it would break %s' end, name, broken),
        detail = details,
        hint = case when sdl is null then 'Replace or drop those documents first.'
            else 'Leave what they use as it is, or replace or drop those documents first.' end;
end
$$;

-- One at a time, attach_trigger included: names must be unique in ways that no index can express.
create function tidings.lock_definitions(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if name is null or name = '' or octet_length(name) > 63 then
        raise exception using errcode = 'invalid_parameter_value',
            message = 'name must have 1 to 63 bytes',
            hint = 'Name the document, for example name => ''chat'', or leave the name out.';
    end if;
    -- An older snapshot would not see what others have defined or attached meanwhile.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'invalid_transaction_state',
            message = 'definitions cannot be changed at isolation level ' || current_setting('transaction_isolation'),
            hint = 'Call it in a read committed transaction, which is the default.';
    end if;
    lock table tidings.definitions in share row exclusive mode;
end
$$;

create function @extschema@.define_subscriptions(sdl text, name text default 'default') returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    document_bytes_max constant integer := 1024 * 1024;
    all_bytes_max constant integer := 4 * 1024 * 1024;
    documents_max constant integer := 100;
    others record;
    finding jsonb;
    remark record;
begin
    perform tidings.lock_definitions(name);
    if sdl is null then
        raise exception using errcode = 'null_value_not_allowed',
            message = 'sdl must not be null',
            hint = 'To remove a document call drop_subscriptions(name).';
    end if;
    select count(*) as documents, coalesce(sum(octet_length(d.sdl)), 0) as bytes into others
    from tidings.definitions d where d.name <> define_subscriptions.name;
    if octet_length(sdl) > document_bytes_max or octet_length(sdl) + others.bytes > all_bytes_max then
        raise exception using errcode = 'program_limit_exceeded',
            message = format('document "%s" is %s bytes long; one may have %s, all together %s', name,
                octet_length(sdl), document_bytes_max, all_bytes_max),
            hint = 'Leave out what no subscription uses.';
    end if;
    if others.documents >= documents_max then
        raise exception using errcode = 'program_limit_exceeded',
            message = format('there are %s documents, which is the limit', documents_max),
            hint = 'Put several into one, or drop one with drop_subscriptions(name).';
    end if;

    finding := tidings.check_definition(name, sdl, tidings.definitions_world(name));
    perform tidings.raise_definition_problems(name, sdl, finding);

    delete from tidings.defined_names n where n.document = define_subscriptions.name;
    insert into tidings.defined_names (kind, name, document)
    select k.kind, k.value, define_subscriptions.name
    from (
        select 'type', jsonb_array_elements_text(finding -> 'types')
        union select 'field', jsonb_array_elements_text(finding -> 'fields')
        union select 'channel', jsonb_array_elements_text(finding -> 'channels')
    ) k (kind, value);
    -- The same text once more wakes nobody: without a row there is nothing to read anew.
    if not exists (
        select from tidings.definitions d
        where d.name = define_subscriptions.name and d.sdl = define_subscriptions.sdl)
    then
        insert into tidings.definitions (name, sdl) values (define_subscriptions.name, define_subscriptions.sdl)
        on conflict on constraint definitions_pkey
        do update set sdl = excluded.sdl, defined_at = clock_timestamp();
    end if;
    for remark in
        select f.line, f."column", f.function, f.directive, w.remark as words
        from jsonb_to_recordset(finding -> 'functions')
            f (line integer, "column" integer, directive text, function text)
        cross join lateral tidings.why_not_callable(f.directive, f.function) w
        where w.remark is not null
        order by 1, 2
        limit 50
    loop
        raise warning '%:%: function "%" of @%: %',
            remark.line, remark."column", remark.function, remark.directive, remark.words;
    end loop;
end
$$;
comment on function @extschema@.define_subscriptions(text, text) is
    'Stores GraphQL definitions of custom events under a name, or replaces them; checks them first.';

create function @extschema@.drop_subscriptions(name text default 'default') returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.lock_definitions(name);
    if not exists (select from tidings.definitions d where d.name = drop_subscriptions.name) then
        raise exception using errcode = 'undefined_object',
            message = format('there is no document "%s"', name),
            hint = 'See which there are: select name from tidings.definitions;';
    end if;
    perform tidings.raise_definition_problems(name, null,
        tidings.check_definition(name, null, tidings.definitions_world(name)));
    delete from tidings.defined_names n where n.document = drop_subscriptions.name;
    delete from tidings.definitions d where d.name = drop_subscriptions.name;
end
$$;
comment on function @extschema@.drop_subscriptions(text) is
    'Removes the GraphQL definitions of that name, unless others need them.';

-- Retention and clean-up, and what an operator wants to know.

-- Of what is visible in this snapshot events may be gone. A cursor that lacks any of it has expired.
create table tidings.retention_floor (
    singleton boolean primary key default true check (singleton),
    -- Null until something was removed for the first time.
    snapshot pg_snapshot,
    -- The highest id that was removed. A set that does not reach it may lack an event though its snapshot sees the
    -- xid: a crash gives xids of lost transactions to new ones.
    top bigint not null default 0,
    moved_at timestamptz
);
insert into tidings.retention_floor default values;
comment on table tidings.retention_floor is 'The snapshot up to which events may have been removed.';

-- What was settled when. Only a logged snapshot can say that a transaction ended before a time:
-- created_at is the time of the insert, and the commit may come much later.
create table tidings.snapshot_log (
    taken_at timestamptz primary key,
    snapshot pg_snapshot not null
);
comment on table tidings.snapshot_log is 'Snapshots by time, written by tidings.maintain().';

-- True if every event visible now in a slot was already visible in that snapshot. Uses the index on xid.
create function tidings.slot_settled_in(slot integer, floor pg_snapshot) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    unsettled boolean;
begin
    execute format(
        'select exists (select from tidings.events_%s where xid >= pg_snapshot_xmax($1)) '
        'or exists (select from tidings.events_%s where xid = any (array(select pg_snapshot_xip($1))))',
        slot, slot)
    into unsettled using floor;
    return not unsettled;
end
$$;

-- The snapshot before which transactions from an xid on begin, and that does not see these ones from before it.
create function tidings.snapshot_of(xmax numeric, running xid8[]) returns pg_snapshot
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
    select format('%s:%s:%s', coalesce(running[1]::text::numeric, xmax), xmax, array_to_string(running, ','))::pg_snapshot;
$$;

-- What a snapshot sees up to an xid.
create function tidings.snapshot_up_to(snapshot pg_snapshot, newest xid8) returns pg_snapshot
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
    select tidings.snapshot_of(newest::text::numeric + 1, array(
        select x from pg_snapshot_xip(snapshot) x where x < newest order by x));
$$;

-- What either snapshot sees.
create function tidings.snapshot_union(one pg_snapshot, other pg_snapshot) returns pg_snapshot
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
    select case
        when pg_snapshot_xmax(one) < pg_snapshot_xmax(other) then tidings.snapshot_union(other, one)
        else tidings.snapshot_of(pg_snapshot_xmax(one)::text::numeric, array(
            select x from pg_snapshot_xip(one) x where not pg_visible_in_snapshot(x, other) order by x))
        end;
$$;

-- Empties a slot and moves the floor, in this transaction: the last thing to be done in it, because from here to the
-- commit writers of the slot and everybody who reads events wait. Null: done. Otherwise why not. Whatever is in there
-- must be visible in the snapshot; without one everything goes.
create function tidings.remove_slot(slot integer, visible_in pg_snapshot) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
-- A writer that waits behind our lock request waits no longer than this; we come back later.
set lock_timeout = '20ms'
as $$
declare
    slot_top bigint;
    newest xid8;
    removed pg_snapshot;
begin
    if visible_in is not null and not tidings.slot_settled_in(slot, visible_in) then
        return 'in use';
    end if;
    begin
        execute format('lock table tidings.events_%s in access exclusive mode', slot);
    exception when lock_not_available then
        return 'locked';
    end;
    -- Again under the lock: no writer is in there now, and every statement from here on sees all that came before.
    if visible_in is not null and not tidings.slot_settled_in(slot, visible_in) then
        return 'in use';
    end if;
    execute format('select max(id) from tidings.events_%s', slot) into slot_top;
    execute format('select xid from tidings.events_%s order by xid desc limit 1', slot) into newest;
    if newest is null then
        return null;
    end if;
    execute format('truncate tidings.events_%s', slot);
    -- No later than what was removed: a cursor that lacks only what is still there goes on.
    removed := tidings.snapshot_up_to(coalesce(visible_in, pg_current_snapshot()), newest);
    update tidings.retention_floor f
    set top = greatest(f.top, slot_top),
        snapshot = coalesce(tidings.snapshot_union(f.snapshot, removed), removed),
        moved_at = clock_timestamp();
    return null;
end
$$;

create function tidings.slot_is_empty(slot integer) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    filled boolean;
begin
    execute format('select exists (select from tidings.events_%s)', slot) into filled;
    return not filled;
end
$$;

create function tidings.events_size() returns bigint
language sql
set search_path = pg_catalog, pg_temp
as $$
    select sum(pg_total_relation_size(format('tidings.events_%s', slot)::regclass))::bigint
    from generate_series(0, 2) slot;
$$;

-- Above the cap: the slot with the oldest events goes before its time, if that is what was asked for.
create function tidings.enforce_size_cap(max_size_bytes bigint, action text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    size bigint := tidings.events_size();
    oldest integer;
begin
    if max_size_bytes = 0 or size <= max_size_bytes then
        return null;
    end if;
    if action = 'warn' then
        raise warning using
            message = format('tidings.events holds %s, more than tidings.max_size allows (%s); nothing was removed',
                pg_size_pretty(size), pg_size_pretty(max_size_bytes)),
            hint = 'Lower tidings.retention, raise tidings.max_size, or set tidings.size_cap_action to remove_oldest.';
        return 'warned';
    end if;
    select e.slot into oldest from tidings.events e order by e.id limit 1;
    if not found then
        return null;
    end if;
    return coalesce(tidings.remove_slot(oldest, null), format('removed slot %s', oldest));
end
$$;

-- Event triggers do not fire in replica sessions, and a parallel pg_restore creates triggers in sessions
-- that do not see each other; what they missed is caught up with here.
create function tidings.repair_attachments() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    delete from tidings.attachments a
    where not exists (select from pg_class c where c.oid = a.target);
    delete from tidings.attached_columns c
    where not exists (select from tidings.attachments a where a.target = c.target);
    select tidings.sync_columns(a.target)
    from tidings.attachments a
    where not exists (select from tidings.attached_columns c where c.target = a.target)
        and tidings.has_all_triggers(a);
$$;

-- Logs the snapshot of now, if it is time to; true if it did.
create function tidings.log_snapshot(retention_seconds bigint) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The clock was set back. What these saw is not known to be older than now.
    delete from tidings.snapshot_log l where l.taken_at > clock_timestamp();
    -- Taken before this transaction has an xid: then every xid below the snapshot's end is in WAL
    -- before the log entry is, and a crash cannot hand one of them out again.
    if pg_current_xact_id_if_assigned() is not null or exists (
        select from tidings.snapshot_log l
        where l.taken_at > clock_timestamp() - make_interval(secs => retention_seconds / 100.0))
    then
        return false;
    end if;
    -- The time comes after the snapshot of the statement.
    insert into tidings.snapshot_log (snapshot, taken_at) values (pg_current_snapshot(), clock_timestamp());
    return true;
end
$$;

create function tidings.maintain() returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted record;
    pause_s numeric;
    floor pg_snapshot;
    floor_at timestamptz;
    logged boolean;
    problem text;
    removed integer[] := '{}';
    postponed jsonb := '{}';
    expired bigint;
    capped text;
begin
    -- An older snapshot would not see events that a slot has received since.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'invalid_transaction_state',
            message = 'tidings.maintain() needs isolation level read committed',
            hint = 'Call it outside of a repeatable read or serializable transaction.';
    end if;
    select * into wanted from tidings.settings();
    pause_s := least(greatest(wanted.retention_seconds / 100.0, 0.1), 60);
    if not pg_try_advisory_xact_lock(hashtext('tidings'), hashtext('maintain')) then
        return jsonb_build_object('busy', true, 'call_again_s', pause_s);
    end if;
    logged := tidings.log_snapshot(wanted.retention_seconds);

    if exists (
        select from tidings.attachments a
        where not exists (select from pg_class c where c.oid = a.target)
            or not exists (select from tidings.attached_columns c where c.target = a.target))
    then
        perform tidings.repair_attachments();
    end if;
    delete from tidings.connections c where c.expires_at <= clock_timestamp();
    get diagnostics expired = row_count;
    perform tidings.forget_access();

    -- Last, and one slot at a time: until the commit nobody can read events.
    select l.snapshot, l.taken_at into floor, floor_at
    from tidings.snapshot_log l
    where l.taken_at <= clock_timestamp() - make_interval(secs => wanted.retention_seconds)
    order by l.taken_at desc limit 1;
    if found then
        delete from tidings.snapshot_log l where l.taken_at < floor_at;
        for slot in 0..2 loop
            continue when tidings.slot_is_empty(slot);
            problem := tidings.remove_slot(slot, floor);
            if problem is null then
                removed := removed || slot;
                exit;
            end if;
            postponed := postponed || jsonb_build_object(slot::text, problem);
        end loop;
    end if;
    if removed = '{}' then
        capped := tidings.enforce_size_cap(wanted.max_size_bytes, wanted.size_cap_action);
    end if;
    return jsonb_build_object(
        'busy', false, 'snapshot_logged', logged, 'removed_slots', removed, 'postponed_slots', postponed,
        'size_cap', capped, 'expired_connections', expired,
        'call_again_s', case
            when removed <> '{}' or capped like 'removed%' then 0
            when capped = 'locked' or postponed @? '$.* ? (@ == "locked")' then least(pause_s, 1)
            else pause_s
        end);
end
$$;
comment on function tidings.maintain() is
    'Retention and clean-up; call it every minute or so. Returns what it did, and when there is more to do.';

-- One row about the whole, cheap enough to be asked every few seconds.
create function tidings.stats(
    out events_estimate bigint,
    out size_bytes bigint,
    out oldest_event_at timestamptz,
    out newest_event_at timestamptz,
    out newest_event_id bigint,
    out attached_tables bigint,
    out reservations bigint,
    out unsettled_xid xid,
    out unsettled_pid integer,
    out unsettled_gid text,
    out unsettled_age interval,
    out notify_queue_usage double precision,
    out retention interval,
    out floor_snapshot pg_snapshot,
    out floor_moved_at timestamptz
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select sum(greatest(pg_stat_get_live_tuples(format('tidings.events_%s', slot)::regclass), 0))
    into events_estimate from generate_series(0, 2) slot;
    size_bytes := tidings.events_size();
    select e.created_at into oldest_event_at from tidings.events e order by e.id limit 1;
    select e.created_at, e.id into newest_event_at, newest_event_id
    from tidings.events e order by e.id desc limit 1;
    select count(*) into attached_tables from tidings.attachments;
    select count(*) into reservations from tidings.connections;
    -- The transaction that may still publish under the oldest xid: it holds back retention the longest. A prepared one
    -- has no process, but a name.
    select u.xid, u.pid, u.gid, clock_timestamp() - u.started_at
    into unsettled_xid, unsettled_pid, unsettled_gid, unsettled_age
    from (
        select a.backend_xid, a.pid, null, a.xact_start from pg_stat_activity a
        where a.backend_xid is not null and a.datname = current_database() and a.pid <> pg_backend_pid()
        union all
        select p.transaction, null, p.gid, p.prepared from pg_prepared_xacts p
        where p.database = current_database()
    ) u (xid, pid, gid, started_at)
    order by age(u.xid) desc limit 1;
    notify_queue_usage := pg_notification_queue_usage();
    select make_interval(secs => s.retention_seconds) into retention from tidings.settings() s;
    select f.snapshot, f.moved_at into floor_snapshot, floor_moved_at from tidings.retention_floor f;
end
$$;
comment on function tidings.stats() is 'The state of the queue in one row.';

create view tidings.stats as
select
    date_trunc('hour', e.created_at) as hour,
    e.channel,
    e.event_type,
    count(*) as events,
    sum(octet_length(e.payload::text) + coalesce(octet_length(e.old_payload::text), 0)) as payload_bytes
from tidings.events e
group by 1, 2, 3;
comment on view tidings.stats is 'Events by hour, channel and event type. Reads every event kept.';

-- How far the synchronous standbys have come: what they have flushed, a failover to one of them keeps.

-- How many standbys a commit waits for; null if for none. The forms of synchronous_standby_names are
-- `FIRST 2 (a, b)`, `ANY 2 (a, b)`, `2 (a, b)` and `a, b`, of which the last waits for one.
create function tidings.synchronous_standbys() returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when names !~ '\S' then null
        else coalesce((regexp_match(names, '^\s*(?:(?:first|any)\s+)?(\d+)\s*\(', 'i'))[1]::integer, 1)
    end
    from current_setting('synchronous_standby_names') names;
$$;

-- Where WAL ends now, and up to where as many standbys have flushed it as a commit waits for; null if too few are
-- connected, or none is asked for. Of those that count it is the slowest: with FIRST all that are `sync` have to have
-- it, with ANY as many of the `quorum` as are asked for.
create function tidings.standby_position(
    out wanted integer,
    out inserted pg_lsn,
    out flushed pg_lsn
)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        tidings.synchronous_standbys(),
        pg_current_wal_insert_lsn(),
        (select r.flush_lsn from pg_stat_replication r
         where r.sync_state in ('sync', 'quorum') and r.flush_lsn is not null
         order by r.flush_lsn desc
         offset greatest(tidings.synchronous_standbys(), 1) - 1 limit 1);
$$;
comment on function tidings.standby_position() is
    'Where WAL ends, and up to where the synchronous standbys have flushed it.';

-- Events for consumers that poll: pages of what they have not seen, with the cursors of the streams.

-- Everything of one call is read in the snapshot of the calling statement, so these functions are stable.
-- The event's part is null in the row that only says where to go on.
create type tidings.event_and_cursor as (
    id bigint,
    channel text,
    event_type text,
    type_name text,
    tenant_id text,
    user_id text,
    payload json,
    old_payload json,
    changed_columns text[],
    metadata json,
    created_at timestamptz,
    truncated boolean,
    -- The set of events that have been seen after this row.
    cursor text,
    -- Whether there may be more behind it already.
    more boolean
);

-- Nothing is removed from here to the end of the transaction; an ERROR on a standby.
create function tidings.hold_events() returns void
language c
as 'MODULE_PATHNAME', 'hold_events_wrapper';

-- As of this very moment: the truncation of a slot shows in any snapshot, the moving of the floor does not. Call it
-- with the events held.
create function tidings.latest_floor(out snapshot text, out top bigint) returns setof record
language c
as 'MODULE_PATHNAME', 'latest_floor_wrapper';

create function tidings.cursor_of(history bigint, snapshot text, own text, top bigint) returns text
language c immutable
as 'MODULE_PATHNAME', 'cursor_of_wrapper';

create function tidings.cursor_problem(
    cursor text, history bigint, last_id bigint, floor_snapshot text, floor_top bigint
) returns text
language c immutable
as 'MODULE_PATHNAME', 'cursor_problem_wrapper';

create function tidings.read_after(
    cursor text, channel text, max_rows integer, of_somebody boolean, tenant_id text, user_id text
) returns setof tidings.event_and_cursor
language c stable
as 'MODULE_PATHNAME', 'read_after_wrapper';

-- The set of everything that this statement sees and nobody can roll back any more.
create function tidings.current_cursor() returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    floor record;
    newest bigint;
begin
    perform tidings.hold_events();
    select * into floor from tidings.latest_floor();
    select e.id into newest
    from tidings.events e
    where pg_current_xact_id_if_assigned() is null or e.xid <> pg_current_xact_id_if_assigned()
    order by e.id desc limit 1;
    return tidings.cursor_of(tidings.history_id(), pg_current_snapshot()::text,
        pg_current_xact_id_if_assigned()::text, greatest(newest, floor.top));
end
$$;
comment on function tidings.current_cursor() is
    'The cursor of now: reading or subscribing after it begins with what is committed later.';

-- Where a page begins: after the cursor, or with the oldest event that is kept. Otherwise an ERROR that names the
-- oldest and the newest cursor.
create function tidings.require_cursor(after_cursor text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    floor record;
    oldest text;
    problem text;
begin
    perform tidings.hold_events();
    select * into floor from tidings.latest_floor();
    oldest := tidings.cursor_of(tidings.history_id(), coalesce(floor.snapshot, '1:1:'), null, floor.top);
    if after_cursor is null then
        return oldest;
    end if;
    problem := tidings.cursor_problem(after_cursor, tidings.history_id(),
        (select s.last_value from tidings.events_id_seq s), floor.snapshot, floor.top);
    if problem is null then
        return after_cursor;
    end if;
    raise exception using
        errcode = case problem
            when 'CURSOR_INVALID' then 'TD001' when 'CURSOR_EXPIRED' then 'TD002' else 'TD003' end,
        message = problem || ': ' || case problem
            when 'CURSOR_INVALID' then 'the cursor was cut off or altered, or is of another service'
            when 'CURSOR_EXPIRED' then 'retention has removed events that the cursor lacks, so there is a gap'
            else 'the cursor is of another history of this database, so nobody can say what it lacks' end,
        detail = json_build_object('oldestCursor', oldest, 'newestCursor', tidings.current_cursor())::text,
        hint = 'Go on after oldestCursor with everything that is kept, or after newestCursor with what is new.';
end
$$;

create function tidings.read_events(after_cursor text, channel text, max_rows integer)
returns setof tidings.event_and_cursor
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
-- Whatever statistics say: indexes, in their order, as far as needed. A backlog must not be sorted for its first page.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
begin
    return query select r.* from tidings.read_after(
        tidings.require_cursor(after_cursor), channel, max_rows, false, null, null) r;
end
$$;
comment on function tidings.read_events(text, text, integer) is
    'The next events after a cursor, whosever they are, each with the cursor after it.';

-- Apart from the other, so that a tenant that is null by accident shows less, and never everything.
create function tidings.read_events(
    after_cursor text, channel text, max_rows integer, tenant_id text, user_id text default null
) returns setof tidings.event_and_cursor
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set max_parallel_workers_per_gather = 0
set jit = off
as $$
begin
    return query select r.* from tidings.read_after(
        tidings.require_cursor(after_cursor), channel, max_rows, true, tenant_id, user_id) r;
end
$$;
comment on function tidings.read_events(text, text, integer, text, text) is
    'The next events after a cursor that this tenant and user may see, each with the cursor after it.';

-- Reservations: a client's place for a stream, and the operations that will run on it. Written by the
-- daemon; any node can serve them, so nothing here is tied to one.

create table tidings.connections (
    -- The hash, never the token: who reads this table cannot take over a stream.
    token_hash bytea primary key,
    -- A hash of issuer, tenant and user: whoever has the token has to be the same.
    principal text not null,
    tenant_id text,
    user_id text,
    claims json,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null,
    last_seen_at timestamptz,
    -- Grows with every operation that is stored or deleted, so that the serving node notices.
    revision bigint not null default 0,
    -- The node that serves the stream now, which of its streams that is, and until when it may think so.
    node text,
    stream bigint,
    lease_until timestamptz,
    -- Where the stream stood when it was last seen: its cursor, and those of operations that are behind.
    place text
-- Renewing leases must not grow the table: no index holds what a renewal changes, and pages have room for it.
) with (fillfactor = 60);
create index connections_principal_idx on tidings.connections (principal);
comment on table tidings.connections is 'Reserved streams, by hash of their token.';

create table tidings.documents (
    token_hash bytea not null references tidings.connections on delete cascade,
    operation_id text not null,
    -- Of this reservation, in the order in which they came. An operation that takes an id again has another.
    number bigint not null,
    query text not null,
    variables json,
    operation_name text,
    extensions json,
    -- Events after this one belong to the operation, also those from before its stream was opened.
    start_cursor text,
    -- What it takes of its reservation's room.
    bytes integer not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (token_hash, operation_id)
);
comment on table tidings.documents is 'Operations stored for a reserved stream.';

-- Who is connected, and who has to leave.

-- A daemon that runs. Unlogged, with its connections: after a crash every daemon writes them again.
create unlogged table tidings.nodes (
    node text primary key,
    seen_at timestamptz not null
);
comment on table tidings.nodes is 'Daemons that run, and when they last said so.';

create unlogged table tidings.node_connections (
    connection_id text primary key,
    node text not null references tidings.nodes on delete cascade,
    transport text not null,
    tenant_id text,
    user_id text,
    -- [{"document": "<SHA-256 of the text>"}, ...]
    subscriptions jsonb not null,
    since timestamptz not null
);
create index node_connections_node_idx on tidings.node_connections (node);
comment on table tidings.node_connections is 'Connections of the daemons; read tidings.active_connections.';

create view tidings.active_connections as
select c.connection_id, c.node, c.transport, c.tenant_id, c.user_id, c.subscriptions, c.since, n.seen_at
from tidings.node_connections c
join tidings.nodes n on n.node = c.node
-- A daemon says every 10 s that it runs.
where n.seen_at > pg_catalog.clock_timestamp() - interval '1 minute';
comment on view tidings.active_connections is
    'Who is connected to which daemon, over any transport, as of a few seconds ago.';

create table tidings.revocations (
    id bigint generated always as identity primary key,
    user_id text,
    tenant_id text,
    connection_id text,
    -- Tokens from before are refused. Null: the kick only ends what there was.
    tokens_before timestamptz,
    expires_at timestamptz not null,
    check (num_nonnulls(user_id, tenant_id, connection_id) > 0),
    check (connection_id is null or num_nonnulls(user_id, tenant_id, tokens_before) = 0)
);
comment on table tidings.revocations is 'Kicks that are in force; written by tidings.kick().';
-- A restored database must not let in who was kicked.
select pg_catalog.pg_extension_config_dump('tidings.revocations', '');
select pg_catalog.pg_extension_config_dump('tidings.revocations_id_seq', '');

create function tidings.check_kick(user_id text, tenant_id text, connection_id text, block interval)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    problem text := case
        when num_nonnulls(user_id, tenant_id, connection_id) = 0 then 'nobody is named'
        when connection_id is not null and num_nonnulls(user_id, tenant_id) > 0
            then 'a connection is named, and a user or tenant besides'
        when '' in (user_id, tenant_id) then 'the user or tenant is an empty text, which names nobody'
        when connection_id !~ '^[0-9a-f]{16}$' then 'the id of a connection has 16 hexadecimal digits'
        when block is null or block < interval '0' or block > interval '10 years'
            then 'block is null, negative or longer than ten years'
    end;
begin
    if problem is not null then
        raise exception using errcode = 'invalid_parameter_value', message = 'nobody was kicked: ' || problem,
            hint = 'Name user_id, tenant_id or both, or connection_id; see tidings.active_connections.';
    end if;
end
$$;

create function tidings.kick(
    user_id text = null,
    tenant_id text = null,
    connection_id text = null,
    block interval = '30 days'
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Every daemon keeps all of them in memory.
    revocations_max constant bigint := 100000;
    now constant timestamptz := clock_timestamp();
    added bigint;
begin
    perform tidings.check_kick(kick.user_id, kick.tenant_id, kick.connection_id, kick.block);
    if (select count(*) from tidings.revocations r where r.expires_at > now) >= revocations_max then
        raise exception using errcode = 'program_limit_exceeded',
            message = format('nobody was kicked: %s kicks are in force, which is the limit', revocations_max),
            hint = 'Kick whole tenants, choose a shorter block, or lift what is no longer needed with tidings.lift_kick().';
    end if;
    insert into tidings.revocations (user_id, tenant_id, connection_id, tokens_before, expires_at)
    values (
        kick.user_id, kick.tenant_id, kick.connection_id,
        case when kick.connection_id is null and kick.block > interval '0' then now end,
        -- Long enough for daemons that do not reach the database now to hear of it.
        now + greatest(case when kick.connection_id is null then kick.block end, interval '1 hour'))
    returning id into added;
    if kick.connection_id is null then
        delete from tidings.connections c
        where (kick.user_id is null or c.user_id = kick.user_id)
            and (kick.tenant_id is null or c.tenant_id = kick.tenant_id);
    end if;
    perform pg_notify('tidings_control', '"revoked"');
    return added;
end
$$;
comment on function tidings.kick(text, text, text, interval) is
    'Ends the connections of a user, of a tenant, of a user of a tenant, or one connection, on every daemon, voids '
    'reservations, and has tokens from before refused for the time of block. Returns the number of the kick.';

create function tidings.lift_kick(id bigint) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from tidings.revocations r where r.id = lift_kick.id;
    if found then
        perform pg_notify('tidings_control', '"revoked"');
    end if;
    return found;
end
$$;
comment on function tidings.lift_kick(bigint) is
    'Takes a kick back: tokens from before are good again. False if there is none of that number.';

-- What daemons have left behind. Called by tidings.maintain().
create function tidings.forget_access() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    delete from tidings.revocations r where r.expires_at <= clock_timestamp();
    delete from tidings.nodes n where n.seen_at <= clock_timestamp() - interval '1 minute';
$$;

-- Nobody but the owner may do anything until one of the grants is given.

create function tidings.require_role(role regrole, asking text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if role is null or not exists (select from pg_roles r where r.oid = role) then
        raise exception using errcode = 'undefined_object',
            message = 'role is null or does not exist',
            hint = format('Name a role, for example select tidings.%s(''app'');', asking);
    end if;
end
$$;

create function tidings.grant_publisher(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_publisher');
    -- A regrole prints as a quoted name.
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant execute on function '
        '@extschema@.publish_event(text, text, jsonb, text, text, jsonb), '
        '@extschema@.attach_trigger(regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean, boolean), '
        '@extschema@.detach_trigger(regclass), '
        'tidings.attach_for_caller(tidings.attachments, text), '
        'tidings.detach_for_caller(regclass), tidings.wake_up_mode() to %s', role);
end
$$;
comment on function tidings.grant_publisher(regrole) is
    'Lets a role publish events and attach its own tables.';

create function tidings.grant_daemon(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_daemon');
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant select on tidings.events, tidings.attachments, tidings.definitions, '
        'tidings.retention_floor, tidings.stats to %s', role);
    execute format('grant select on sequence tidings.events_id_seq to %s', role);
    execute format('grant select, insert, update, delete on tidings.connections, tidings.documents, '
        'tidings.nodes, tidings.node_connections to %s', role);
    execute format('grant select on tidings.revocations, tidings.active_connections to %s', role);
    execute format('grant execute on function tidings.history_id(), tidings.begin_history(bigint, bigint), '
        'tidings.maintain(), tidings.stats(), '
        'tidings.policies_of(oid, oid), tidings.select_policies(oid, name), '
        'tidings.rows_query(oid, name), tidings.require_readable_rows(tidings.attachments, name, oid), '
        'tidings.json_casts(oid), tidings.base_type(oid), '
        'tidings.trigger_condition(oid), tidings.key_text(text, oid), tidings.key_columns(regclass), '
        'tidings.settings(), tidings.wake_up_mode(), tidings.standby_position(), '
        'tidings.kick(text, text, text, interval), tidings.lift_kick(bigint) to %s', role);
end
$$;
comment on function tidings.grant_daemon(regrole) is
    'Lets a role read events and keep reservations: what the daemon logs in as.';

create function tidings.grant_reader(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_reader');
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant execute on function '
        'tidings.read_events(text, text, integer), '
        'tidings.read_events(text, text, integer, text, text), '
        'tidings.current_cursor() to %s', role);
end
$$;
comment on function tidings.grant_reader(regrole) is
    'Lets a role read all events, of every tenant, page by page.';

-- Apart from the publishers: definitions decide what everybody may subscribe to.
create function tidings.grant_definer(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_definer');
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant select, insert, update, delete on tidings.definitions, tidings.defined_names to %s', role);
    execute format('grant select (target, type_name, channel, columns) on tidings.attachments to %s', role);
    execute format('grant execute on function '
        '@extschema@.define_subscriptions(text, text), '
        '@extschema@.drop_subscriptions(text), '
        'tidings.check_definition(text, text, jsonb), '
        'tidings.definitions_world(text), '
        'tidings.lock_definitions(text), '
        'tidings.raise_definition_problems(text, text, jsonb), '
        'tidings.why_not_callable(text, text), '
        'tidings.legal_name(text), tidings.pascal_case(text), tidings.reached_types(), tidings.reserved_types(), '
        'tidings.type_names(text), tidings.root_fields(text) to %s', role);
end
$$;
comment on function tidings.grant_definer(regrole) is
    'Lets a role define and drop the GraphQL definitions of custom events.';

revoke all on all functions in schema tidings from public;
revoke all on function
    @extschema@.publish_event(text, text, jsonb, text, text, jsonb),
    @extschema@.attach_trigger(regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean, boolean),
    @extschema@.detach_trigger(regclass),
    @extschema@.define_subscriptions(text, text),
    @extschema@.drop_subscriptions(text)
    from public;
