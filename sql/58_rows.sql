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
