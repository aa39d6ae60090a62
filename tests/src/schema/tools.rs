//! `tidings schema`, and what other tools make of it.

use std::process::Command;

use serde_json::Value;

use crate::support::database::Database;

const EVERYTHING: &str = "
    create type order_state as enum ('new', 'in progress', 'done');
    create type spot as (x int, y float8);
    create domain rating as int check (value between 1 and 5);
    create table orders (
        id bigint primary key, state order_state not null, total numeric, spot spot, tags text[] not null, rated rating,
        states order_state[], extra jsonb, placed timestamptz, \"2fa Code\" uuid, due date, at time, weight real, paid boolean);
    comment on table orders is 'What \"customers\" bought, with a \\ and \"\"\" in the comment';
    comment on column orders.total is 'In euros';
    select attach_trigger('orders', type_name => 'Order', include_old => true);
    create table lines (order_id bigint, no int, primary key (order_id, no));
    select attach_trigger('lines', type_name => 'Line');
    select define_subscriptions($$
        enum Mood { GLAD SAD }
        scalar Sound
        interface Post { id: ID! }
        type Text implements Post { id: ID! body: String! mood: Mood ip: String @visibleTo(roles: [\"ops\"]) order: Order }
        type Picture implements Post { id: ID! url: String! }
        union Thing = Text | Picture
        extend type Subscription {
          posted(room: ID!): Post! @event(channel: \"chat\", type: \"posted\")
          things: [Thing!] @event(channel: \"things\")
        }
    $$);
";

async fn schema_of(database: &Database) -> String {
    database.connect().await.batch_execute(EVERYTHING).await.unwrap();
    let output = Command::new(std::env::var("TIDINGS_BIN").unwrap())
        .arg("schema")
        .env("TIDINGS_DATABASE_URL", database.conninfo())
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing is left out");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_printed_schema_is_valid_and_clients_can_generate_types_from_it() {
    let database = Database::new().await;
    let sdl = schema_of(&database).await;
    let file = std::env::temp_dir().join(format!("tidings-schema-{}.graphql", std::process::id()));
    std::fs::write(&file, &sdl).unwrap();
    let output = Command::new("node")
        .args(["codegen.mjs", file.to_str().unwrap()])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{}\n{sdl}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    for list in ["invalid", "diagnostics"] {
        assert_eq!(made[list], serde_json::json!([]), "{list}\n{sdl}");
    }
    for name in [
        "Order",
        "OrderState",
        "Spot",
        "OrderFilter",
        "ChangedSubscription",
        "PostedSubscriptionVariables",
        "Thing",
    ] {
        let types = made["types"].as_array().unwrap();
        assert!(types.iter().any(|it| it == name), "{name} is not among {types:?}");
    }
}
