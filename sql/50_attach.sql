-- attach_trigger and detach_trigger.
--
-- Three functions with three kinds of rights: the entry in the user's schema only hands over the
-- caller's search_path; tidings.attach runs as the caller with a pinned path and creates the row
-- triggers; tidings.register runs as the extension's owner, checks everything, and writes.

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

-- Whoever attaches or detaches must own the table. The outer role counts: in a security definer
-- function the current one would be that function's owner.
create function tidings.require_owner(target regclass) returns void
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
    if found and not pg_has_role(tidings.outer_role(), owner, 'usage') then
        raise exception using errcode = 'insufficient_privilege',
            message = format('target %s belongs to %s, not to you', target, pg_get_userbyid(owner)),
            hint = 'Have its owner attach or detach it.';
    end if;
end
$$;

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
create function tidings.register(request tidings.attachments) returns tidings.attachments
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    entry tidings.attachments := request;
    refusal record;
    keys name[];
begin
    perform tidings.require_owner(entry.target);
    select * into refusal from tidings.why_not_attachable(entry.target);
    if refusal.problem is not null then
        raise exception using errcode = 'wrong_object_type',
            message = format('target %s', refusal.problem), hint = refusal.advice;
    end if;
    -- One at a time: names must be unique in ways that no index can express.
    lock table tidings.attachments in share row exclusive mode;

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

    if entry.tenant_column is null and entry.user_column is null then
        raise warning using
            message = format('every subscriber will see the changes of %s', entry.target),
            hint = 'Name tenant_column or user_column unless all rows are meant for everybody.';
    end if;

    delete from tidings.attachments a where a.target = entry.target;
    insert into tidings.attachments select entry.*;
    perform tidings.sync_columns(entry.target);
    perform tidings.sync_truncate_triggers(entry);
    return entry;
end
$$;

-- Creates the row triggers as the caller: a condition is parsed with the caller's rights, and for
-- that one statement under the caller's search_path, which is why all of its names are qualified.
create function tidings.attach(request tidings.attachments, caller_path text) returns void
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
    entry := tidings.register(request);
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
    perform tidings.attach(
        row(target, type_name, channel, tenant_column, user_column, operations, columns, when_changed,
            condition, include_old, always, null::pg_catalog.timestamptz)::tidings.attachments,
        pg_catalog.current_setting('search_path'));
end
$$;
comment on function @extschema@.attach_trigger(
    regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean) is
    'Captures the changes of a table as events, and makes it a type of the GraphQL schema.';

-- Removes whatever triggers of ours are there, registered or not.
create function tidings.detach(target regclass) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set tidings_internal.busy = 'on'
as $$
declare
    removed boolean;
    found_trigger record;
begin
    perform tidings.require_owner(target);
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
    perform tidings.detach(target);
end
$$;
comment on function @extschema@.detach_trigger(regclass) is
    'Ends the capture of a table; events already stored stay until retention removes them.';
