insert into messages_source (tenant_id, status, total) values ('acme', 'new', 1);
