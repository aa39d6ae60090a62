//! Where reservations are kept, and what is said where they cannot be.

use tokio::process::Command;

use crate::support::daemon::SECRET;
use crate::support::database::Database;
use crate::support::within;

/// What `tidings check` says with these variables, and whether it is content.
async fn check(variables: &[(&str, &str)]) -> (bool, String) {
    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    let mut command = Command::new(binary);
    command.arg("check").current_dir(std::env::temp_dir()).env_clear().env("TIDINGS_JWT_SECRET", SECRET);
    let output = command.envs(variables.iter().copied()).output();
    let output = within("the check", output).await.unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), told)
}

#[tokio::test]
async fn the_store_is_where_the_source_is_unless_told_otherwise() {
    let memory = ("TIDINGS_SOURCE", "memory");
    let (content, told) = check(&[memory]).await;
    assert!(content && told.contains("reservations:  in memory"), "{told}");
    let (content, told) = check(&[memory, ("TIDINGS_STORE", "postgres")]).await;
    assert!(!content && told.contains("TIDINGS_DATABASE_URL, or store = memory"), "{told}");
    let (content, told) = check(&[memory, ("TIDINGS_STORE", "redis")]).await;
    assert!(!content && told.contains("redis comes later"), "{told}");
    let (content, told) = check(&[memory, ("TIDINGS_RESERVATIONS_IDLE_S", "299")]).await;
    assert!(!content && told.contains("`reservations.unfulfilled_s` is larger"), "{told}");
}

#[tokio::test]
async fn the_check_names_privileges_that_reservations_lack() {
    let database = Database::new().await;
    let role = database.role().await;
    let sql = database.connect().await;
    sql.run(&format!("select tidings.grant_daemon('{role}')")).await;
    let url = database.conninfo().replace("user='postgres'", &format!("user='{role}'"));
    let url = if url.contains(&role) { url } else { format!("{url} user='{role}'") };
    let (content, told) = check(&[("TIDINGS_DATABASE_URL", &url)]).await;
    assert!(content && told.contains("reservations:  ok"), "{told}");
    sql.run(&format!("revoke update, insert on tidings.connections from {role}")).await;
    let (content, told) = check(&[("TIDINGS_DATABASE_URL", &url)]).await;
    assert!(content && told.contains("tidings.connections (insert, update)"), "{told}");
    assert!(told.contains("tidings.grant_daemon") && !told.contains("reservations:  ok"), "{told}");
}
