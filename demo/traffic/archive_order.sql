-- The oldest finished order goes, so that the shop stays small; its lines go with it.
delete from shop.orders
where id = (
    select id from shop.orders
    where status in ('delivered', 'cancelled')
    order by id
    limit 1
    for update skip locked
)
and (select count(*) from shop.orders) > 30;
