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

create index events_id_idx on tidings.events (id);
create index events_xid_idx on tidings.events (xid);

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
    if type_name in ('Query', 'Mutation', 'Subscription', 'Event', 'ServerInfo', 'Operation', 'ChangeOperation',
        'Int', 'Float', 'String', 'Boolean', 'ID', 'BigInt', 'BigFloat', 'UUID', 'Datetime', 'Date', 'Time',
        'JSON', 'Cursor', 'Opaque', 'FilterIs')
        or type_name ~ '^(Int|Float|String|Boolean|ID|BigInt|BigFloat|UUID|Datetime|Date|Time|JSON)(List)?Filter$'
    then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('type_name %L is the name of a built-in GraphQL type', type_name),
            hint = format('Choose another one, for example type_name => %L.', type_name || 'Record');
    end if;
    -- Order also makes OrderChange, OrderFilter and the fields orderInserted and so on.
    select a.target, a.type_name into other
    from tidings.attachments a
    where a.target <> check_type_name.target
        and (lower(left(a.type_name, 1)) || substr(a.type_name, 2)
                = lower(left(check_type_name.type_name, 1)) || substr(check_type_name.type_name, 2)
            or a.type_name in (check_type_name.type_name || 'Change', check_type_name.type_name || 'Filter')
            or check_type_name.type_name in (a.type_name || 'Change', a.type_name || 'Filter'))
    limit 1;
    if found then
        raise exception using errcode = 'unique_violation',
            message = format('type_name %L clashes with %L of attached table %s',
                type_name, other.type_name, other.target),
            hint = 'Choose another one with type_name => ''...''.';
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
    lock table tidings.attachments in share row exclusive mode;
    perform tidings.require_free_names(entry.target);

    if entry.type_name is null then
        select tidings.pascal_case(c.relname) into entry.type_name from pg_class c where c.oid = entry.target;
    end if;
    perform tidings.check_type_name(entry.target, entry.type_name);
    if entry.channel is null then
        select format('%s.%s', n.nspname, c.relname) into entry.channel
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = entry.target;
    end if;
    if entry.channel = '' or octet_length(entry.channel) > 63 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('channel %L is %s bytes long, allowed are 1 to 63',
                entry.channel, octet_length(entry.channel)),
            hint = 'Name one with channel => ''...''; the default is schema.table.';
    end if;
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
    entry.attached_at := clock_timestamp();

    delete from tidings.attachments a where a.target = entry.target;
    insert into tidings.attachments select entry.*;
    perform tidings.sync_columns(entry.target);
    perform tidings.sync_truncate_triggers(entry);
    return entry;
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
    if entry.tenant_column is null and entry.user_column is null then
        raise warning using
            message = format('every subscriber will see the changes of %s', entry.target),
            hint = 'Name tenant_column or user_column unless all rows are meant for everybody.';
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
    always boolean default false
) returns void
language plpgsql
as $$
begin
    -- No pinned search_path: this function is here to hand over the caller's. Every name below is
    -- qualified and every argument has the exact type of the column it goes to.
    perform tidings.attach_for_caller(
        row(target, type_name, channel, tenant_column, user_column, operations, columns, when_changed,
            condition, include_old, always, null::pg_catalog.timestamptz)::tidings.attachments,
        pg_catalog.current_setting('search_path'));
end
$$;
comment on function @extschema@.attach_trigger(
    regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean) is
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

-- The types that columns of attached tables have, through domains, arrays and composites.
create function tidings.reached_types() returns table (oid oid)
language sql stable
set search_path = pg_catalog, pg_temp
-- The recursion is estimated far too high, and compiling it takes longer than running it.
set jit = off
as $$
    with recursive reached (oid) as (
        select c.atttypid
        from tidings.attachments a
        join pg_attribute c on c.attrelid = a.target and c.attnum > 0 and not c.attisdropped
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
    when tag in ('ALTER TABLE', 'CREATE TABLE', 'CREATE TRIGGER', 'COMMENT', 'ALTER TYPE', 'ALTER DOMAIN')
    execute function tidings.follow_ddl();
create event trigger tidings_follow_drop on sql_drop
    execute function tidings.follow_drop();

-- Retention and clean-up, and what an operator wants to know.

-- Everything visible in this snapshot may be gone. A cursor that lacks any of it has expired.
create table tidings.retention_floor (
    singleton boolean primary key default true check (singleton),
    -- Null until something was removed for the first time.
    snapshot pg_snapshot,
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

-- Empties a slot and moves the floor, in this transaction. Null: done. Otherwise why not.
create function tidings.remove_slot(slot integer, floor pg_snapshot) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
-- A writer that waits behind our lock request waits no longer than this; we come back later.
set lock_timeout = '20ms'
as $$
begin
    if not tidings.slot_settled_in(slot, floor) then
        return 'in use';
    end if;
    begin
        execute format('lock table tidings.events_%s in access exclusive mode', slot);
    exception when lock_not_available then
        return 'locked';
    end;
    -- Again under the lock: no writer is in there now, and this statement sees all that came before.
    if not tidings.slot_settled_in(slot, floor) then
        return 'in use';
    end if;
    execute format('truncate tidings.events_%s', slot);
    -- Snapshots of one server follow one another, so the later of the two covers both.
    update tidings.retention_floor f
    set snapshot = remove_slot.floor, moved_at = clock_timestamp()
    where f.snapshot is null
        or pg_snapshot_xmax(f.snapshot) < pg_snapshot_xmax(remove_slot.floor)
        or (pg_snapshot_xmax(f.snapshot) = pg_snapshot_xmax(remove_slot.floor)
            and pg_snapshot_xmin(f.snapshot) <= pg_snapshot_xmin(remove_slot.floor));
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
    floor pg_snapshot;
    problem text;
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
    select l.snapshot into floor
    from tidings.snapshot_log l
    where tidings.slot_settled_in(oldest, l.snapshot)
    order by l.taken_at limit 1;
    problem := tidings.remove_slot(oldest, coalesce(floor, pg_current_snapshot()));
    return coalesce(problem, format('removed slot %s', oldest));
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

create function tidings.maintain() returns jsonb
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted record;
    floor pg_snapshot;
    floor_at timestamptz;
    cut_off timestamptz;
    logged boolean := false;
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
    if not pg_try_advisory_xact_lock(hashtext('tidings'), hashtext('maintain')) then
        return jsonb_build_object('busy', true);
    end if;
    select * into wanted from tidings.settings();
    cut_off := clock_timestamp() - make_interval(secs => wanted.retention_seconds);

    -- Taken before this transaction has an xid: then every xid below the snapshot's end is in WAL
    -- before the log entry is, and a crash cannot hand one of them out again.
    if pg_current_xact_id_if_assigned() is null and not exists (
        select from tidings.snapshot_log l
        where l.taken_at > clock_timestamp() - make_interval(secs => wanted.retention_seconds / 100.0))
    then
        insert into tidings.snapshot_log (snapshot, taken_at)
        values (pg_current_snapshot(), clock_timestamp());
        logged := true;
    end if;

    select l.snapshot, l.taken_at into floor, floor_at
    from tidings.snapshot_log l where l.taken_at <= cut_off order by l.taken_at desc limit 1;
    if found then
        delete from tidings.snapshot_log l where l.taken_at < floor_at;
        for slot in 0..2 loop
            continue when tidings.slot_is_empty(slot);
            problem := tidings.remove_slot(slot, floor);
            if problem is null then
                removed := removed || slot;
            else
                postponed := postponed || jsonb_build_object(slot::text, problem);
            end if;
        end loop;
    end if;
    capped := tidings.enforce_size_cap(wanted.max_size_bytes, wanted.size_cap_action);

    if exists (
        select from tidings.attachments a
        where not exists (select from pg_class c where c.oid = a.target)
            or not exists (select from tidings.attached_columns c where c.target = a.target))
    then
        perform tidings.repair_attachments();
    end if;

    delete from tidings.connections c where c.expires_at <= clock_timestamp();
    get diagnostics expired = row_count;
    return jsonb_build_object(
        'busy', false, 'snapshot_logged', logged, 'removed_slots', removed, 'postponed_slots', postponed,
        'size_cap', capped, 'expired_connections', expired);
end
$$;
comment on function tidings.maintain() is
    'Retention and clean-up; call it every minute or so. Returns what it did.';

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
    -- The transaction that holds back retention, and row versions, the longest.
    select u.xid, u.pid, clock_timestamp() - u.started_at
    into unsettled_xid, unsettled_pid, unsettled_age
    from (
        select a.backend_xid, a.pid, a.xact_start from pg_stat_activity a
        where a.backend_xid is not null and a.datname = current_database() and a.pid <> pg_backend_pid()
        union all
        select p.transaction, null, p.prepared from pg_prepared_xacts p where p.database = current_database()
    ) u (xid, pid, started_at)
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

-- Reservations: a client's place for a stream, and the operations that will run on it. Written by the
-- daemon; any node can serve them, so nothing here is tied to one.

create table tidings.connections (
    -- The hash, never the token: who reads this table cannot take over a stream.
    token_hash bytea primary key,
    principal text not null,
    tenant_id text,
    user_id text,
    claims jsonb,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null,
    last_seen_at timestamptz,
    -- The node that serves the stream now, and until when it may think so.
    node text,
    lease_until timestamptz
);
create index connections_principal_idx on tidings.connections (principal);
create index connections_expires_idx on tidings.connections (expires_at);
comment on table tidings.connections is 'Reserved streams, by hash of their token.';

create table tidings.documents (
    token_hash bytea not null references tidings.connections on delete cascade,
    operation_id text not null,
    query text not null,
    variables jsonb,
    operation_name text,
    -- Events after this one belong to the operation, also those from before its stream was opened.
    start_cursor text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (token_hash, operation_id)
);
comment on table tidings.documents is 'Operations stored for a reserved stream.';

-- Nobody but the owner may do anything until one of the two grants is given.

create function tidings.grant_publisher(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if role is null or not exists (select from pg_roles r where r.oid = role) then
        raise exception using errcode = 'undefined_object',
            message = 'role is null or does not exist',
            hint = 'Name a role, for example select tidings.grant_publisher(''app'');';
    end if;
    -- A regrole prints as a quoted name.
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant execute on function '
        '@extschema@.publish_event(text, text, jsonb, text, text, jsonb), '
        '@extschema@.attach_trigger(regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean), '
        '@extschema@.detach_trigger(regclass), '
        'tidings.attach_for_caller(tidings.attachments, text), '
        'tidings.detach_for_caller(regclass) to %s', role);
end
$$;
comment on function tidings.grant_publisher(regrole) is
    'Lets a role publish events and attach its own tables.';

create function tidings.grant_daemon(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if role is null or not exists (select from pg_roles r where r.oid = role) then
        raise exception using errcode = 'undefined_object',
            message = 'role is null or does not exist',
            hint = 'Name a role, for example select tidings.grant_daemon(''tidings_daemon'');';
    end if;
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant select on tidings.events, tidings.attachments, tidings.definitions, '
        'tidings.retention_floor, tidings.stats to %s', role);
    execute format('grant select, insert, update, delete on tidings.connections, tidings.documents to %s', role);
    execute format('grant execute on function tidings.history_id(), tidings.maintain(), tidings.stats() to %s', role);
end
$$;
comment on function tidings.grant_daemon(regrole) is
    'Lets a role read events and keep reservations: what the daemon logs in as.';

revoke all on all functions in schema tidings from public;
revoke all on function
    @extschema@.publish_event(text, text, jsonb, text, text, jsonb),
    @extschema@.attach_trigger(regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean),
    @extschema@.detach_trigger(regclass)
    from public;
