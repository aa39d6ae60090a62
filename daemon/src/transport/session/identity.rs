//! Who a session is for: at its start, and when a new token comes.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use serde_json::{Map, Value};

use super::writing::SocketOutlet;
use super::{Client, End, Session, close};
use crate::access::claims::agree;
use crate::access::token;
use crate::error::ClientError;
use crate::transport::gate::Gate;
use crate::transport::websocket::Socket;

impl Session {
    pub(super) async fn authenticate(
        &mut self,
        socket: &mut Socket,
        payload: &Map<String, Value>,
    ) -> Result<(), End> {
        let payload = token::from_payload(payload);
        let token = self.presented.take().map_or(Ok(None), |presented| presented.choose(payload));
        let identity = match self.endpoint.identify_token(token).await {
            Ok(identity) => identity,
            Err(error) => return Err(self.reject(socket, &error).await),
        };
        self.endpoint.ready().await.map_err(|error| {
            self.endpoint.count_refusal(&error);
            close(1013, &error.to_string())
        })?;
        if let Err(error) = self.admission.enter(&identity, &self.address) {
            return Err(self.reject(socket, &error).await);
        }
        // Taken before any subscription exists, so nothing after it can be missing.
        let cursor = self.endpoint.service().cursor();
        let connection = self.admission.connect(identity.clone());
        if let Some(tap) = self.tap.take() {
            let running = self.machine.operations().running().clone();
            let written = self.admission.written().clone();
            connection.set_outlet(Arc::new(SocketOutlet { running, tap, written }));
        }
        self.client = Some(Client {
            connection,
            authorizing: FuturesUnordered::new(),
            abandon: HashMap::new(),
            over: Gate::new(self.admission.over(identity)),
        });
        let first = self.machine.acknowledge(&cursor);
        self.send(socket, first).await
    }

    /// A new token for a client that is there. If it is somebody else's, or not good, the client has to leave;
    /// as long as that cannot be told the old one holds.
    pub(super) async fn refresh(
        &mut self,
        socket: &mut Socket,
        payload: &Map<String, Value>,
    ) -> Result<(), End> {
        let identified = match self.admission.operation() {
            Ok(()) => self.endpoint.identify_token(Ok(token::from_payload(payload))).await,
            Err(error) => Err(error),
        };
        let Some(client) = &mut self.client else { return Err(close(4401, "Unauthorized")) };
        let refused = match identified {
            Ok(identity) if agree(client.connection.identity(), &identity) => {
                client.over = Gate::new(self.admission.over(identity));
                let told = self.machine.refreshed(true);
                return self.send(socket, told).await;
            }
            Ok(_) => ClientError::RefreshRefused,
            Err(error) => error,
        };
        self.endpoint.count_refusal(&refused);
        if refused.retry_after_s().is_some() {
            let told = self.machine.refreshed(false);
            return self.send(socket, told).await;
        }
        Err(close(4403, "Forbidden")) // W13
    }

    /// W2, L1: nobody comes in without a good token.
    async fn reject(&mut self, socket: &mut Socket, error: &ClientError) -> End {
        self.endpoint.count_refusal(error);
        // Who may come in later is not to take it for a no.
        if error.retry_after_s().is_some() {
            return close(1013, &error.to_string());
        }
        let (said, close) = self.machine.reject(error);
        match self.send(socket, said).await {
            Ok(()) => End::Close(close),
            Err(end) => end,
        }
    }
}
