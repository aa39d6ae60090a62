-- The trigger function, and what attach_trigger needs from the library.

-- Everything it needs travels in its one argument. It runs as the writing role; only the insert into
-- tidings.events is done as the owner of that table.
create function tidings.capture() returns trigger
language c volatile parallel unsafe
as 'MODULE_PATHNAME', 'capture';
comment on function tidings.capture() is 'Stores one event for each row changed in an attached table.';

-- Puts "new." or "old." before the bare column names of a condition and checks that it is one
-- expression which makes sense for the operation.
create function tidings.qualify_condition(condition text, operation text, columns text[]) returns text
language c stable strict
as 'MODULE_PATHNAME', 'qualify_condition_wrapper';

-- The role outside of all security definer functions: the one whose rights count.
create function tidings.outer_role() returns oid
language c stable
as 'MODULE_PATHNAME', 'outer_role_wrapper';

-- Settings exist only once the library is loaded; asking it for them loads it.
create function tidings.settings() returns table (
    retention_seconds bigint, max_size_bytes bigint, size_cap_action text
)
language c stable
as 'MODULE_PATHNAME', 'settings_wrapper';
