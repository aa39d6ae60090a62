-- How far the synchronous standbys have come: what they have flushed, a failover to one of them keeps.

-- How many standbys a commit waits for; null if for none. The forms of synchronous_standby_names are
-- `FIRST 2 (a, b)`, `ANY 2 (a, b)`, `2 (a, b)` and `a, b`, of which the last waits for one.
create function tidings.synchronous_standbys() returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when names !~ '\S' then null
        else coalesce((regexp_match(names, '^\s*(?:(?:first|any)\s+)?(\d+)\s*\(', 'i'))[1]::integer, 1)
    end
    from current_setting('synchronous_standby_names') names;
$$;

-- Where WAL ends now, and up to where as many standbys have flushed it as a commit waits for; null if too few are
-- connected, or none is asked for. Of those that count it is the slowest: with FIRST all that are `sync` have to have
-- it, with ANY as many of the `quorum` as are asked for.
create function tidings.standby_position(
    out wanted integer,
    out inserted pg_lsn,
    out flushed pg_lsn
)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        tidings.synchronous_standbys(),
        pg_current_wal_insert_lsn(),
        (select r.flush_lsn from pg_stat_replication r
         where r.sync_state in ('sync', 'quorum') and r.flush_lsn is not null
         order by r.flush_lsn desc
         offset greatest(tidings.synchronous_standbys(), 1) - 1 limit 1);
$$;
comment on function tidings.standby_position() is
    'Where WAL ends, and up to where the synchronous standbys have flushed it.';
