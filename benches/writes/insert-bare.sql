insert into bare (tenant_id, status, total) values ('acme', 'new', 1);
