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
