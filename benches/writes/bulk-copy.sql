copy :table (tenant_id, status, total) from program 'seq -f "acme,new,%.0f" 100000' with (format csv);
