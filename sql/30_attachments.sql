-- Attached tables: what the daemon reads to build its GraphQL schema. The triggers carry their own
-- configuration, so that a writer never has to look here.

create table tidings.attachments (
    target regclass primary key,
    type_name text not null unique,
    channel text not null,
    tenant_column name,
    user_column name,
    operations text[] not null,
    -- Null: all columns, later ones included.
    columns name[],
    when_changed name[],
    condition text,
    include_old boolean not null default false,
    always boolean not null default false,
    attached_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('tidings.attachments', '');
comment on table tidings.attachments is
    'Tables whose changes are captured; maintained by attach_trigger and detach_trigger.';

-- Column numbers beside names, so that a rename can be told from a drop. Not dumped: a restore
-- numbers columns anew, and the numbers are taken again when the triggers are created.
create table tidings.attached_columns (
    target oid not null,
    attnum smallint not null,
    attname name not null,
    primary key (target, attnum)
);
comment on table tidings.attached_columns is 'Last seen names of the columns of attached tables.';

-- Custom GraphQL definitions; kept by pg_dump like the attachments.
create table tidings.definitions (
    name text primary key,
    sdl text not null,
    defined_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('tidings.definitions', '');
comment on table tidings.definitions is 'GraphQL definitions for custom events.';

-- What the definitions take, so that attach_trigger need not read GraphQL. Dumped as well, and without a
-- reference to the definitions: a restore may bring the two in any order.
create table tidings.defined_names (
    kind text not null check (kind in ('type', 'field', 'channel')),
    name text not null,
    document text not null,
    primary key (kind, name, document)
);
select pg_catalog.pg_extension_config_dump('tidings.defined_names', '');
comment on table tidings.defined_names is
    'Types, fields of Subscription and channels of the definitions; maintained by define_subscriptions.';

-- Settings exist only once the library is loaded; asking it for them loads it.
create function tidings.settings() returns table (
    notify boolean, retention_seconds bigint, max_size_bytes bigint, size_cap_action text
)
language c stable
as 'MODULE_PATHNAME', 'settings_wrapper';

-- The wake-up for readers of the two tables above.
create function tidings.notify_schema() returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Sessions that must PREPARE TRANSACTION switch it off; PostgreSQL refuses that after a NOTIFY.
    if (select s.notify from tidings.settings() s) then
        perform pg_notify('tidings_schema', '');
    end if;
end
$$;

create function tidings.wake_schema() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.notify_schema();
    return null;
end
$$;

create trigger wake_schema after insert or update or delete or truncate on tidings.attachments
    for each statement execute function tidings.wake_schema();
create trigger wake_schema after insert or update or delete or truncate on tidings.definitions
    for each statement execute function tidings.wake_schema();
