select publish_event('chat', 'posted', '{"room": 7, "body": "hello"}', 'acme');
