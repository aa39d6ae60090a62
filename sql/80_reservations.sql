-- Reservations: a client's place for a stream, and the operations that will run on it. Written by the
-- daemon; any node can serve them, so nothing here is tied to one.

create table tidings.connections (
    -- The hash, never the token: who reads this table cannot take over a stream.
    token_hash bytea primary key,
    principal text not null,
    tenant_id text,
    user_id text,
    claims jsonb,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    expires_at timestamptz not null,
    last_seen_at timestamptz,
    -- The node that serves the stream now, and until when it may think so.
    node text,
    lease_until timestamptz
);
create index connections_principal_idx on tidings.connections (principal);
create index connections_expires_idx on tidings.connections (expires_at);
comment on table tidings.connections is 'Reserved streams, by hash of their token.';

create table tidings.documents (
    token_hash bytea not null references tidings.connections on delete cascade,
    operation_id text not null,
    query text not null,
    variables jsonb,
    operation_name text,
    -- Events after this one belong to the operation, also those from before its stream was opened.
    start_cursor text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (token_hash, operation_id)
);
comment on table tidings.documents is 'Operations stored for a reserved stream.';
