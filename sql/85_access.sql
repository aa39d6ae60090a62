-- Who is connected, and who has to leave.

-- A daemon that runs. Unlogged, with its connections: after a crash every daemon writes them again.
create unlogged table tidings.nodes (
    node text primary key,
    seen_at timestamptz not null
);
comment on table tidings.nodes is 'Daemons that run, and when they last said so.';

create unlogged table tidings.node_connections (
    connection_id text primary key,
    node text not null references tidings.nodes on delete cascade,
    transport text not null,
    tenant_id text,
    user_id text,
    -- [{"document": "<SHA-256 of the text>"}, ...]
    subscriptions jsonb not null,
    since timestamptz not null
);
create index node_connections_node_idx on tidings.node_connections (node);
comment on table tidings.node_connections is 'Connections of the daemons; read tidings.active_connections.';

create view tidings.active_connections as
select c.connection_id, c.node, c.transport, c.tenant_id, c.user_id, c.subscriptions, c.since, n.seen_at
from tidings.node_connections c
join tidings.nodes n on n.node = c.node
-- A daemon says every 10 s that it runs.
where n.seen_at > pg_catalog.clock_timestamp() - interval '1 minute';
comment on view tidings.active_connections is
    'Who is connected to which daemon, over any transport, as of a few seconds ago.';

create table tidings.revocations (
    id bigint generated always as identity primary key,
    user_id text,
    tenant_id text,
    connection_id text,
    -- Tokens from before are refused. Null: the kick only ends what there was.
    tokens_before timestamptz,
    expires_at timestamptz not null,
    check (num_nonnulls(user_id, tenant_id, connection_id) > 0),
    check (connection_id is null or num_nonnulls(user_id, tenant_id, tokens_before) = 0)
);
comment on table tidings.revocations is 'Kicks that are in force; written by tidings.kick().';
-- A restored database must not let in who was kicked.
select pg_catalog.pg_extension_config_dump('tidings.revocations', '');
select pg_catalog.pg_extension_config_dump('tidings.revocations_id_seq', '');

create function tidings.check_kick(user_id text, tenant_id text, connection_id text, block interval)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    problem text := case
        when num_nonnulls(user_id, tenant_id, connection_id) = 0 then 'nobody is named'
        when connection_id is not null and num_nonnulls(user_id, tenant_id) > 0
            then 'a connection is named, and a user or tenant besides'
        when '' in (user_id, tenant_id) then 'the user or tenant is an empty text, which names nobody'
        when connection_id !~ '^[0-9a-f]{16}$' then 'the id of a connection has 16 hexadecimal digits'
        when block is null or block < interval '0' or block > interval '10 years'
            then 'block is null, negative or longer than ten years'
    end;
begin
    if problem is not null then
        raise exception using errcode = 'invalid_parameter_value', message = 'nobody was kicked: ' || problem,
            hint = 'Name user_id, tenant_id or both, or connection_id; see tidings.active_connections.';
    end if;
end
$$;

create function tidings.kick(
    user_id text = null,
    tenant_id text = null,
    connection_id text = null,
    block interval = '30 days'
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Every daemon keeps all of them in memory.
    revocations_max constant bigint := 100000;
    now constant timestamptz := clock_timestamp();
    added bigint;
begin
    perform tidings.check_kick(kick.user_id, kick.tenant_id, kick.connection_id, kick.block);
    if (select count(*) from tidings.revocations r where r.expires_at > now) >= revocations_max then
        raise exception using errcode = 'program_limit_exceeded',
            message = format('nobody was kicked: %s kicks are in force, which is the limit', revocations_max),
            hint = 'Kick whole tenants, choose a shorter block, or lift what is no longer needed with tidings.lift_kick().';
    end if;
    insert into tidings.revocations (user_id, tenant_id, connection_id, tokens_before, expires_at)
    values (
        kick.user_id, kick.tenant_id, kick.connection_id,
        case when kick.connection_id is null and kick.block > interval '0' then now end,
        -- Long enough for daemons that do not reach the database now to hear of it.
        now + greatest(case when kick.connection_id is null then kick.block end, interval '1 hour'))
    returning id into added;
    if kick.connection_id is null then
        delete from tidings.connections c
        where (kick.user_id is null or c.user_id = kick.user_id)
            and (kick.tenant_id is null or c.tenant_id = kick.tenant_id);
    end if;
    perform pg_notify('tidings_control', '"revoked"');
    return added;
end
$$;
comment on function tidings.kick(text, text, text, interval) is
    'Ends the connections of a user, of a tenant, of a user of a tenant, or one connection, on every daemon, voids '
    'reservations, and has tokens from before refused for the time of block. Returns the number of the kick.';

create function tidings.lift_kick(id bigint) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from tidings.revocations r where r.id = lift_kick.id;
    if found then
        perform pg_notify('tidings_control', '"revoked"');
    end if;
    return found;
end
$$;
comment on function tidings.lift_kick(bigint) is
    'Takes a kick back: tokens from before are good again. False if there is none of that number.';

-- What daemons have left behind. Called by tidings.maintain().
create function tidings.forget_access() returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    delete from tidings.revocations r where r.expires_at <= clock_timestamp();
    delete from tidings.nodes n where n.seen_at <= clock_timestamp() - interval '1 minute';
$$;
