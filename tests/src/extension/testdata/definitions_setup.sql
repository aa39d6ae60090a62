-- What the documents of definitions_refused.txt meet.
create schema app;
create type app.mood as enum ('sad', 'ok');
create type app.geo_point as (x int, y int);
create type app.internal as enum ('x');
create table app.orders (id int primary key, mood app.mood, place app.geo_point, internal app.internal);
select attach_trigger('app.orders', type_name => 'Order', channel => 'orders', columns => '{id,mood,place}');
create function app.resolve(jsonb, jsonb) returns jsonb language sql stable as 'select $1';
create function app."Resolve"(jsonb, jsonb) returns jsonb language sql stable as 'select $1';
create function app.allow(jsonb, jsonb) returns boolean language sql stable as 'select true';
create function app.several(jsonb, jsonb) returns setof jsonb language sql stable as 'select $1';
create function app.one(jsonb) returns jsonb language sql stable as 'select $1';
create function app.defaults(jsonb, jsonb, int default 1) returns jsonb language sql stable as 'select $1';
create procedure app.act(jsonb, jsonb) language sql as 'select 1';
create aggregate app.fold(jsonb, jsonb) (sfunc = jsonb_object_agg_transfn, stype = internal, finalfunc = jsonb_object_agg_finalfn);
select define_subscriptions('type Shared { a: Int } interface Named { name: String! } enum Level { LOW HIGH }
    extend type Subscription { sharedChanged: Shared @event(channel: "shared") }', 'shared');
