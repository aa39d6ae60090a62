insert into :table (tenant_id, status, total) select 'acme', 'new', n from generate_series(1, 100000) n;
