//! By what others have opened: operation ids of another connection.

use serde_json::json;

use super::{Arena, SECRET};
use crate::support::websocket::Socket;

const QUERY: &str = "subscription { orderInserted { note } }";

#[tokio::test]
async fn an_operation_id_of_another_connection_ends_and_shows_nothing() {
    let arena = Arena::new().await;
    for protocol in ["graphql-transport-ws", "graphql-ws"] {
        let mut ann = Socket::open(&arena.daemon, &arena.ann()).await;
        ann.subscribe("victim", QUERY).await;
        let mut mallory = Socket::connect(&arena.daemon, protocol).await;
        mallory.send(json!({"type": "connection_init", "payload": {"token": arena.mallory()}})).await;
        assert_eq!(mallory.receive().await["type"], "connection_ack");
        let (begin, end, result) = if protocol == "graphql-ws" {
            assert_eq!(mallory.receive().await["type"], "ka");
            ("start", "stop", "data")
        } else {
            ("subscribe", "complete", "next")
        };
        // Ends it, takes its place, and ends it again.
        mallory.send(json!({"type": end, "id": "victim"})).await;
        mallory.send(json!({"type": begin, "id": "victim", "payload": {"query": QUERY}})).await;
        mallory.send(json!({"type": begin, "id": "live", "payload": {"query": "{ __typename }"}})).await;
        assert_eq!(mallory.receive().await["id"], "live");
        assert_eq!(mallory.receive().await["type"], "complete");
        arena.both_write().await;
        let own = mallory.receive().await;
        assert_eq!((&own["id"], &own["type"]), (&json!("victim"), &json!(result)), "one's own id works");
        assert_eq!(own["payload"]["data"]["orderInserted"]["note"], "of globex");
        mallory.send(json!({"type": end, "id": "victim"})).await;
        assert_eq!(ann.next().await["data"]["orderInserted"]["note"], SECRET);
        arena.both_write().await;
        assert_eq!(ann.next().await["data"]["orderInserted"]["note"], SECRET, "ann's operation goes on");
    }
}
