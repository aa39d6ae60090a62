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
