truncate bare, attached, notifying, messages_source, messages, numbered_source, numbered, event_rows, tidings.events;
checkpoint;
