-- One transaction, two tables: an order and its line.
\set tenant random(1, 2)
\set quantity random(1, 5)
\set product random(1, 4)
with chosen as (
    select
        (array['acme', 'globex'])[:tenant] as tenant_id,
        (array['rocket skates', 'anvil', 'espresso', 'giant magnet'])[:product] as product,
        (array[89.90, 120.00, 14.50, 349.00])[:product] as price
), placed as (
    insert into shop.orders (tenant_id, customer_id, total)
    select tenant_id, customer.id, :quantity * price
    from chosen
    cross join lateral (
        select id from shop.customers where customers.tenant_id = chosen.tenant_id order by random() limit 1
    ) customer
    returning id, tenant_id
)
insert into shop.order_lines (order_id, line, tenant_id, product, quantity, price)
select placed.id, 1, placed.tenant_id, product, :quantity, price from placed, chosen;
