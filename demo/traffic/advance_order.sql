-- Some order comes one step further; now and then one is cancelled.
update shop.orders
set status = case
    when status = 'placed' and random() < 0.1 then 'cancelled'
    when status = 'placed' then 'paid'
    when status = 'paid' then 'shipped'
    else 'delivered'
end::shop.order_status
where id = (
    select id from shop.orders
    where status in ('placed', 'paid', 'shipped')
    order by random()
    limit 1
    for update skip locked
);
