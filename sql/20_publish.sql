-- publish_event stores one event inside the caller's transaction and returns its id.

create function @extschema@.publish_event(
    channel text,
    event_type text,
    data jsonb,
    tenant_id text default null,
    user_id text default null,
    metadata jsonb default null
) returns bigint
language c volatile parallel unsafe
as 'MODULE_PATHNAME', 'publish_event';

-- How a transaction of this session wakes the daemon: `coalesced`, `direct` or `off`.
create function tidings.wake_up_mode() returns text
language c stable
as 'MODULE_PATHNAME', 'wake_up_mode_wrapper';

comment on function @extschema@.publish_event(text, text, jsonb, text, text, jsonb) is
    'Stores one event in this transaction; it is delivered when the transaction commits.';
