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
