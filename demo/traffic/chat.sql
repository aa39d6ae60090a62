-- No table at all: an event that the application publishes itself.
\set tenant random(1, 2)
\set line random(1, 4)
select publish_event(
    'chat', 'posted',
    jsonb_build_object(
        'room', '7',
        'body', (array['hi', 'is the anvil in stock?', 'my rocket skates arrived!', 'coffee?'])[:line]
    ),
    tenant_id => (array['acme', 'globex'])[:tenant]
);
