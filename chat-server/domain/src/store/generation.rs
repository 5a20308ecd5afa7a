//! The lives of a store.
//!
//! What processes and clients remember of positions in logs holds for one generation. A restore from a backup begins
//! another one: then positions mean other events, and whoever remembers some of the generation before is a stranger.

use async_trait::async_trait;
use chat_protocol::{Generation, Millis};

use super::{SigningKeyRow, StoreError};

/// A life of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationRow {
    /// Id of the generation.
    pub id: Generation,
    /// When a restore began it, on a full second; 0 for the first one. Access tokens from before are not accepted.
    pub since: Millis,
}

/// Which life a store is in.
#[async_trait]
pub trait GenerationStore: Send + Sync + 'static {
    /// The generation that the store is in. The first one is made when it is first asked for, the same for all
    /// processes.
    async fn generation(&self) -> Result<GenerationRow, StoreError>;

    /// Begins `next`, after the store's content was replaced: ends all sessions, and removes all signing keys in favour
    /// of `key`, if there is one. Answers how many sessions there were. After an error some of it may be done, and doing
    /// it again does the rest.
    async fn begin_generation(
        &self,
        next: GenerationRow,
        key: Option<SigningKeyRow>,
    ) -> Result<u64, StoreError>;

    /// Forgets what it remembers of the logs, since another generation has begun.
    fn forget(&self) {}
}
