-- Tables of the same shape; what happens to their rows differs.
create extension tidings;
create table bare (id bigint generated always as identity primary key, tenant_id text not null, status text not null, total int not null);
create table attached (like bare including all);
create table notifying (like bare including all);
create table messages_source (like bare including all);
create table numbered_source (like bare including all);

select attach_trigger('attached', tenant_column => 'tenant_id');

-- As systems do it that send the row in a NOTIFY.
create function notify_row() returns trigger language plpgsql as $$
begin
    perform pg_notify('rows', json_build_object('op', tg_op, 'row', row_to_json(new))::text);
    return null;
end
$$;
create trigger notify_row after insert or update on notifying for each row execute function notify_row();

-- As systems do it that keep messages in a table with a replication slot behind it.
create table messages (
    id uuid not null default gen_random_uuid(),
    topic text not null,
    event text,
    payload jsonb,
    private boolean default false,
    inserted_at timestamp not null default now(),
    updated_at timestamp not null default now(),
    primary key (id, inserted_at)
) partition by range (inserted_at);
create table messages_now partition of messages for values from (minvalue) to (maxvalue);
create function send_message() returns trigger language plpgsql as $$
begin
    insert into messages (topic, event, payload, private)
    values ('topic:' || new.tenant_id, tg_op,
        jsonb_build_object('operation', tg_op, 'schema', tg_table_schema, 'table', tg_table_name, 'record', to_jsonb(new),
            'old_record', case when tg_op = 'UPDATE' then to_jsonb(old) end), true);
    return null;
end
$$;
create trigger send_message after insert or update on messages_source for each row execute function send_message();

-- As systems do it that number the messages of a shard one by one: whoever publishes locks the shard's row until its commit.
create table shards (shard int primary key, position bigint not null default 0);
insert into shards (shard) select generate_series(0, 15);
create table numbered (shard int, position bigint, channel text not null, data jsonb not null, created_at timestamptz not null default now(),
    primary key (shard, position));
create function number_message() returns trigger language plpgsql as $$
declare
    of_shard int := abs(hashtext(new.tenant_id)) % 16;
    place bigint;
begin
    update shards set position = position + 1 where shard = of_shard returning position into place;
    insert into numbered (shard, position, channel, data) values (of_shard, place, new.tenant_id, to_jsonb(new));
    perform pg_notify('shard_' || of_shard, place::text);
    return null;
end
$$;
create trigger number_message after insert or update on numbered_source for each row execute function number_message();

-- The row that publish_event stores, without the function; with the same indexes and constraints.
create table event_rows (like tidings.events including all);
create sequence event_rows_id;
