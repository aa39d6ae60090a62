-- Nobody but the owner may do anything until one of the grants is given.

create function tidings.require_role(role regrole, asking text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if role is null or not exists (select from pg_roles r where r.oid = role) then
        raise exception using errcode = 'undefined_object',
            message = 'role is null or does not exist',
            hint = format('Name a role, for example select tidings.%s(''app'');', asking);
    end if;
end
$$;

create function tidings.grant_publisher(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_publisher');
    -- A regrole prints as a quoted name.
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant execute on function '
        '@extschema@.publish_event(text, text, jsonb, text, text, jsonb), '
        '@extschema@.attach_trigger(regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean, boolean), '
        '@extschema@.detach_trigger(regclass), '
        'tidings.attach_for_caller(tidings.attachments, text), '
        'tidings.detach_for_caller(regclass), tidings.wake_up_mode() to %s', role);
end
$$;
comment on function tidings.grant_publisher(regrole) is
    'Lets a role publish events and attach its own tables.';

create function tidings.grant_daemon(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_daemon');
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant select on tidings.events, tidings.attachments, tidings.definitions, '
        'tidings.retention_floor, tidings.stats to %s', role);
    execute format('grant select on sequence tidings.events_id_seq to %s', role);
    execute format('grant select, insert, update, delete on tidings.connections, tidings.documents, '
        'tidings.nodes, tidings.node_connections to %s', role);
    execute format('grant select on tidings.revocations, tidings.active_connections to %s', role);
    execute format('grant execute on function tidings.history_id(), tidings.begin_history(bigint, bigint), '
        'tidings.maintain(), tidings.stats(), '
        'tidings.policies_of(oid, oid), tidings.select_policies(oid, name), '
        'tidings.rows_query(oid, name), tidings.require_readable_rows(tidings.attachments, name, oid), '
        'tidings.json_casts(oid), tidings.base_type(oid), '
        'tidings.trigger_condition(oid), tidings.key_text(text, oid), tidings.key_columns(regclass), '
        'tidings.settings(), tidings.wake_up_mode(), tidings.standby_position(), '
        'tidings.kick(text, text, text, interval), tidings.lift_kick(bigint) to %s', role);
end
$$;
comment on function tidings.grant_daemon(regrole) is
    'Lets a role read events and keep reservations: what the daemon logs in as.';

create function tidings.grant_reader(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_reader');
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant execute on function '
        'tidings.read_events(text, text, integer), '
        'tidings.read_events(text, text, integer, text, text), '
        'tidings.current_cursor() to %s', role);
end
$$;
comment on function tidings.grant_reader(regrole) is
    'Lets a role read all events, of every tenant, page by page.';

-- Apart from the publishers: definitions decide what everybody may subscribe to.
create function tidings.grant_definer(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform tidings.require_role(role, 'grant_definer');
    execute format('grant usage on schema tidings to %s', role);
    execute format('grant select, insert, update, delete on tidings.definitions, tidings.defined_names to %s', role);
    execute format('grant select (target, type_name, channel, columns) on tidings.attachments to %s', role);
    execute format('grant execute on function '
        '@extschema@.define_subscriptions(text, text), '
        '@extschema@.drop_subscriptions(text), '
        'tidings.check_definition(text, text, jsonb), '
        'tidings.definitions_world(text), '
        'tidings.lock_definitions(text), '
        'tidings.raise_definition_problems(text, text, jsonb), '
        'tidings.why_not_callable(text, text), '
        'tidings.legal_name(text), tidings.pascal_case(text), tidings.reached_types(), tidings.reserved_types(), '
        'tidings.type_names(text), tidings.root_fields(text) to %s', role);
end
$$;
comment on function tidings.grant_definer(regrole) is
    'Lets a role define and drop the GraphQL definitions of custom events.';

revoke all on all functions in schema tidings from public;
revoke all on function
    @extschema@.publish_event(text, text, jsonb, text, text, jsonb),
    @extschema@.attach_trigger(regclass, text, text, name, name, text[], name[], name[], text, boolean, boolean, boolean),
    @extschema@.detach_trigger(regclass),
    @extschema@.define_subscriptions(text, text),
    @extschema@.drop_subscriptions(text)
    from public;
