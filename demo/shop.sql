-- A small shop that two tenants share. Run by a superuser in an empty database, after roles.sql.

begin;

create extension tidings;
select tidings.grant_daemon('tidings_daemon');

create schema shop;

create type shop.order_status as enum ('placed', 'paid', 'shipped', 'delivered', 'cancelled');

create table shop.tenants (
    id text primary key,
    name text not null
);

create table shop.customers (
    id bigint generated always as identity primary key,
    tenant_id text not null references shop.tenants,
    name text not null,
    email text not null
);

create table shop.orders (
    id bigint generated always as identity primary key,
    tenant_id text not null references shop.tenants,
    customer_id bigint not null references shop.customers,
    status shop.order_status not null default 'placed',
    total numeric(10, 2) not null,
    note text,
    placed_at timestamptz not null default now()
);

create table shop.order_lines (
    order_id bigint not null references shop.orders on delete cascade,
    line int not null,
    tenant_id text not null references shop.tenants,
    product text not null,
    quantity int not null check (quantity > 0),
    price numeric(10, 2) not null,
    primary key (order_id, line)
);

-- Comments become descriptions in the GraphQL schema.
comment on table shop.orders is 'What a customer ordered.';
comment on column shop.orders.id is 'Number of the order, unique in the whole shop.';
comment on column shop.orders.tenant_id is 'The merchant that received the order.';
comment on column shop.orders.status is 'How far the order has come.';
comment on column shop.orders.total is 'Sum over the lines, in euros.';
comment on column shop.orders.note is 'What the customer asked for, in free text.';
comment on column shop.orders.placed_at is 'When the customer pressed the button.';
comment on table shop.order_lines is 'One product within an order.';
comment on column shop.order_lines.line is 'Position within the order, from 1.';
comment on column shop.order_lines.price is 'Price of one piece, in euros.';

insert into shop.tenants values ('acme', 'Acme Rockets'), ('globex', 'Globex Coffee');

insert into shop.customers (tenant_id, name, email)
select tenant, name, lower(name) || '@' || tenant || '.example'
from
    unnest(array['acme', 'globex']) tenant,
    unnest(array['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald']) name;

-- Orders from before the tables are attached: subscribers hear of what happens to them, not of these.
with placed as (
    insert into shop.orders (tenant_id, customer_id, total)
    select tenant_id, id, 120.00 * number
    from shop.customers, generate_series(1, 2) number
    returning id, tenant_id, total
)
insert into shop.order_lines (order_id, line, tenant_id, product, quantity, price)
select id, 1, tenant_id, 'anvil', total / 120.00, 120.00 from placed;

-- From here on every committed change is an event, and each tenant sees its own and no other.
-- Orders bring their old record along, so that a subscriber sees from where to where.
select attach_trigger('shop.orders', type_name => 'Order', tenant_column => 'tenant_id', include_old => true);
select attach_trigger('shop.order_lines', type_name => 'OrderLine', tenant_column => 'tenant_id');

-- The chat has no table. Its events get a type, and an argument that picks one room.
select define_subscriptions($$
    "What somebody said."
    type ChatMessage { room: ID! body: String }
    extend type Subscription {
        "Messages in a room."
        messagePosted(room: ID!): ChatMessage! @event(channel: "chat", type: "posted")
    }
$$, name => 'chat');

-- The application needs nothing of tidings to change its tables. It may publish, for the chat.
grant usage on schema shop to shop_app, shop_reader;
grant select on all tables in schema shop to shop_reader;
grant select, insert, update, delete on all tables in schema shop to shop_app;
select tidings.grant_publisher('shop_app');

commit;
