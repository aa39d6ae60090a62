insert into attached (tenant_id, status, total) values ('acme', 'new', 1);
