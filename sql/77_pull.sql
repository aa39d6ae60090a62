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
