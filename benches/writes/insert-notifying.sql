insert into notifying (tenant_id, status, total) values ('acme', 'new', 1);
