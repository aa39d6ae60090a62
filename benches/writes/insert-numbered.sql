\set tenant random(1, 1000)
insert into numbered_source (tenant_id, status, total) values ('tenant' || :tenant, 'new', 1);
