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
