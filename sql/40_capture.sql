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

-- The role outside of all security definer functions.
create function tidings.outer_role() returns oid
language c stable
as 'MODULE_PATHNAME', 'outer_role_wrapper';

-- The two things that a publisher may have done with the owner's rights. The library takes down who
-- calls, refuses where PostgreSQL runs other people's code (index expressions in an ANALYZE, say), and
-- then calls tidings.attach and tidings.detach as the owner. Nobody else may call those, or make a trigger of
-- tidings.capture: it would forge another table's events.
create function tidings.attach_for_caller(request tidings.attachments, caller_path text) returns void
language c volatile
as 'MODULE_PATHNAME', 'attach_for_caller_wrapper';

create function tidings.detach_for_caller(target regclass) returns void
language c volatile
as 'MODULE_PATHNAME', 'detach_for_caller_wrapper';
