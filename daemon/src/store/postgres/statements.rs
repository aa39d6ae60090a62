//! What is asked of the database. All times are the database's own, so that nodes agree about them.

/// One reservation of a principal after the other.
pub(super) const LOCK_PRINCIPAL: &str =
    "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('tidings reservations ' || $1, 0))";

/// Removes what has expired of a principal, and counts the rest.
pub(super) const COUNT_OF_PRINCIPAL: &str = "\
    with expired as ( \
        delete from tidings.connections c where c.principal = $1 and c.expires_at <= clock_timestamp() \
    ) \
    select count(*) from tidings.connections c where c.principal = $1 and c.expires_at > clock_timestamp()";

/// Removes so many reservations of a principal that nobody serves, those first that were idle for longest.
pub(super) const EVICT: &str = "\
    delete from tidings.connections c where c.token_hash in ( \
        select i.token_hash from tidings.connections i \
        where i.principal = $1 and (i.lease_until is null or i.lease_until <= clock_timestamp()) \
        order by coalesce(i.last_seen_at, i.created_at), i.token_hash limit $2)";

/// Counts all reservations, to a limit.
pub(super) const COUNT: &str = "select count(*) from (select from tidings.connections c limit $1) counted";

pub(super) const RESERVE: &str = "\
    insert into tidings.connections (token_hash, principal, tenant_id, user_id, claims, expires_at) \
    values ($1, $2, $3, $4, $5::text::json, clock_timestamp() + make_interval(secs => $6))";

pub(super) const FIND: &str = "\
    select from tidings.connections c \
    where c.token_hash = $1 and c.principal = $2 and c.expires_at > clock_timestamp()";

/// A new revision of a reservation, which is locked by it: its operations change one after the other.
pub(super) const REVISE: &str = "\
    update tidings.connections c set revision = c.revision + 1 \
    where c.token_hash = $1 and c.principal = $2 and c.expires_at > clock_timestamp() \
    returning c.revision, c.node, c.stream, coalesce(c.lease_until > clock_timestamp(), false)";

/// What a reservation's operations take, and whether one of them has this id.
pub(super) const HELD: &str = "\
    select count(*), coalesce(sum(d.bytes), 0)::bigint, coalesce(bool_or(d.operation_id = $2), false) \
    from tidings.documents d where d.token_hash = $1";

pub(super) const STORE: &str = "\
    insert into tidings.documents \
        (token_hash, operation_id, number, query, variables, operation_name, extensions, start_cursor, bytes) \
    values ($1, $2, $3, $4, $5::text::json, $6, $7::text::json, $8, $9)";

pub(super) const DELETE: &str =
    "delete from tidings.documents d where d.token_hash = $1 and d.operation_id = $2";

/// Who serves a reservation, which is locked.
pub(super) const LOCK: &str = "\
    select c.place, c.node, c.stream, coalesce(c.lease_until > clock_timestamp(), false) \
    from tidings.connections c \
    where c.token_hash = $1 and c.principal = $2 and c.expires_at > clock_timestamp() for update";

pub(super) const FULFIL: &str = "\
    update tidings.connections c set node = $2, stream = $3, last_seen_at = clock_timestamp(), \
        lease_until = clock_timestamp() + make_interval(secs => $4), \
        expires_at = clock_timestamp() + make_interval(secs => $4 + $5) \
    where c.token_hash = $1";

/// One row at least if there is the reservation, of nulls if it has no operations.
pub(super) const DOCUMENTS: &str = "\
    select c.revision, d.number, d.operation_id, d.query, d.variables::text, d.operation_name, \
        d.extensions::text, d.start_cursor \
    from tidings.connections c left join tidings.documents d on d.token_hash = c.token_hash \
    where c.token_hash = $1 order by d.number";

/// A renewal that a crash forgets costs nothing, so it need not wait for the disk.
pub(super) const RENEW: &str = "\
    update tidings.connections c set last_seen_at = clock_timestamp(), \
        lease_until = clock_timestamp() + make_interval(secs => $4), \
        expires_at = clock_timestamp() + make_interval(secs => $4 + $5), \
        place = coalesce(r.place, c.place) \
    from unnest($1::bytea[], $2::bigint[], $3::text[]) r (token_hash, stream, place), \
        set_config('synchronous_commit', 'off', true) \
    where c.token_hash = r.token_hash and c.stream = r.stream \
    returning c.stream, c.revision";

pub(super) const FINISH: &str =
    "delete from tidings.documents d where d.token_hash = $1 and d.number = any ($2)";

pub(super) const RELEASE: &str = "\
    update tidings.connections c set node = null, stream = null, lease_until = null, \
        last_seen_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $4), \
        place = coalesce($3, c.place) \
    where c.token_hash = $1 and c.stream = $2";

pub(super) const VOID: &str = "delete from tidings.connections c where c.token_hash = $1";

pub(super) const REVOKE: &str = "\
    delete from tidings.connections c \
    where ($1::text is null or c.user_id = $1) and ($2::text is null or c.tenant_id = $2) \
    returning c.node, c.stream, coalesce(c.lease_until > clock_timestamp(), false)";
