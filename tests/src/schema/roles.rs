//! A role that may not see a field does not learn that there is one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::daemon::{Daemon, token_of};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::within;

const DEFINITIONS: &str = r#"insert into tidings.definitions (name, sdl) values ('default', $$
    type Person { name: String  salary: Pay @visibleTo(roles: ["boss"]) }
    type Pay { amount: Int }
    extend type Subscription { hired: Person @event(channel: "people") }
$$)"#;

async fn ask(daemon: &Daemon, role: &str, query: &str) -> Value {
    let token = token_of(json!({"sub": "ann", "role": role}), Duration::from_secs(600));
    Sse::open(daemon, &token, query).await.next().await
}

#[tokio::test]
async fn introspection_errors_and_the_printed_schema_depend_on_the_role() {
    let database = Database::new().await;
    database.connect().await.run(DEFINITIONS).await;
    let url = database.conninfo();
    let daemon = Daemon::builder(&url).env("TIDINGS_DOCUMENT_INTROSPECTION_BY_ROLE", "true").start().await;
    let introspection = r#"{ __type(name: "Person") { fields { name } } }"#;
    let fields = |result: Value| result["data"]["__type"]["fields"].as_array().unwrap().len();
    assert_eq!(fields(ask(&daemon, "boss", introspection).await), 2);
    assert_eq!(fields(ask(&daemon, "guest", introspection).await), 1);
    let told = async |field: &str| {
        let result = ask(&daemon, "guest", &format!("subscription {{ hired {{ {field} }} }}")).await;
        result["errors"].to_string().replace(field, "NAME")
    };
    assert_eq!(told("salary").await, told("qwerty").await);

    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    for (role, knows) in [("boss", true), ("guest", false)] {
        let arguments = ["schema", "--role", role, "--auth", "none"];
        let printed =
            Command::new(&binary).args(arguments).env_clear().env("TIDINGS_DATABASE_URL", &url).output();
        let printed = String::from_utf8(within("the schema", printed).await.unwrap().stdout).unwrap();
        assert!(printed.contains("type Person"), "{printed}");
        assert_eq!(printed.contains("salary") || printed.contains("Pay"), knows, "{role}: {printed}");
    }
}
