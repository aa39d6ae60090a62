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
