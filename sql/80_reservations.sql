-- Reservations: a client's place for a stream, and the operations that will run on it. Written by the
-- daemon; any node can serve them, so nothing here is tied to one.

create table tidings.connections (
    -- The hash, never the token: who reads this table cannot take over a stream.
    token_hash bytea primary key,
    -- A hash of issuer, tenant and user: whoever has the token has to be the same.
    principal text not null,
    tenant_id text,
    user_id text,
    claims json,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null,
    last_seen_at timestamptz,
    -- Grows with every operation that is stored or deleted, so that the serving node notices.
    revision bigint not null default 0,
    -- The node that serves the stream now, which of its streams that is, and until when it may think so.
    node text,
    stream bigint,
    lease_until timestamptz,
    -- Where the stream stood when it was last seen: its cursor, and those of operations that are behind.
    place text
-- Renewing leases must not grow the table: no index holds what a renewal changes, and pages have room for it.
) with (fillfactor = 60);
create index connections_principal_idx on tidings.connections (principal);
comment on table tidings.connections is 'Reserved streams, by hash of their token.';

create table tidings.documents (
    token_hash bytea not null references tidings.connections on delete cascade,
    operation_id text not null,
    -- Of this reservation, in the order in which they came. An operation that takes an id again has another.
    number bigint not null,
    query text not null,
    variables json,
    operation_name text,
    extensions json,
    -- Events after this one belong to the operation, also those from before its stream was opened.
    start_cursor text,
    -- What it takes of its reservation's room.
    bytes integer not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (token_hash, operation_id)
);
comment on table tidings.documents is 'Operations stored for a reserved stream.';
