-- Three roles, none of them privileged: the daemon only tails, the application only uses its shop, and as the
-- reader the daemon selects the rows that a subscription begins with.
-- Run as superuser with the psql variables daemon_password and app_password.

select format('create role %I login', name)
from (values ('tidings_daemon'), ('shop_app')) wanted (name)
where not exists (select from pg_catalog.pg_roles where rolname = name)
\gexec

select 'create role shop_reader nologin'
where not exists (select from pg_catalog.pg_roles where rolname = 'shop_reader')
\gexec

grant shop_reader to tidings_daemon;
alter role tidings_daemon password :'daemon_password';
alter role shop_app password :'app_password';
