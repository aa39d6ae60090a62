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
