truncate bare, attached, notifying, messages_source, messages, event_rows, tidings.events;
checkpoint;
