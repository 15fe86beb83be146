//! The server as a whole: one method per command.

use galgo_wire::command::system::{
    Client as ClientInfo, ClientDetails, ClusterMetadata, GetClient, GetClients,
    GetClusterMetadata, GetMe, GetSnapshot, GetStats, Ping, SnapshotCompression, SnapshotKind,
    SnapshotKinds, Stats,
};
use galgo_wire::id::ClientId;

use crate::{CallError, Client, InvalidRequest};

impl Client {
    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn ping(&self) -> Result<(), CallError> {
        self.call(&Ping, "ping", String::new).await
    }

    /// Returns the server's counters.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stats(&self) -> Result<Stats, CallError> {
        self.call(&GetStats, "get statistics", String::new).await
    }

    /// Returns what the server knows about this connection.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn me(&self) -> Result<ClientDetails, CallError> {
        self.call(&GetMe, "get own client", String::new).await
    }

    /// Lists all connections of the server.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn clients(&self) -> Result<Vec<ClientInfo>, CallError> {
        self.call(&GetClients, "list clients", String::new).await
    }

    /// Returns one connection of the server, or `None` when there is no such client.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn client_info(&self, client_id: u32) -> Result<Option<ClientDetails>, CallError> {
        let command = GetClient { client_id: ClientId::new(client_id) };
        self.call(&command, "get client", || client_id.to_string()).await
    }

    /// Returns the nodes of the cluster.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn cluster(&self) -> Result<ClusterMetadata, CallError> {
        self.call(&GetClusterMetadata, "get cluster metadata", String::new).await
    }

    /// Returns a zip archive of diagnostics: `kinds` of them, compressed by `compression`.
    ///
    /// # Errors
    /// [`CallError`]; [`InvalidRequest::SnapshotKinds`] when `kinds` names "all" and others.
    pub async fn snapshot(
        &self,
        compression: SnapshotCompression,
        kinds: &[SnapshotKind],
    ) -> Result<Vec<u8>, CallError> {
        let kinds = SnapshotKinds::new(kinds.to_vec()).ok_or(InvalidRequest::SnapshotKinds)?;
        let command = GetSnapshot { compression, kinds };
        Ok(self.call(&command, "get snapshot", String::new).await?.0)
    }
}
