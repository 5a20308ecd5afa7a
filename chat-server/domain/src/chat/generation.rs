//! The generation of the store that this process works on, as it was when it last looked.
//!
//! It changes when somebody has restored a backup under the running processes. Then nothing that is remembered of logs
//! holds: what this crate's modules remember is forgotten before anybody else hears of the change.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chat_protocol::{Generation, Millis};
use tokio::sync::watch;

use super::{Chat, ChatError};
use crate::store::GenerationRow;

/// How often the store is asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Logs that this process wrote to lately, and whose ends it sends to others anew.
const LATELY: (usize, Duration) = (1_024, Duration::from_secs(60));

impl Chat {
    /// Reads the generation, and from then on looks for another one every few seconds, for as long as this chat lives.
    /// To be called before anybody is served, until it succeeds.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn follow_generation(self: &Arc<Self>) -> Result<(), ChatError> {
        if self.generation().is_some() {
            return Ok(());
        }
        self.look_at_generation().await?;
        tokio::spawn(look_again(Arc::downgrade(self)));
        Ok(())
    }

    /// The generation; `None` before it was read.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation.borrow().map(|row| row.id)
    }

    /// The generation, and each change of it.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<Option<GenerationRow>> {
        self.generation.subscribe()
    }

    /// Asks the store once.
    ///
    /// # Errors
    /// The store could not be asked.
    pub async fn look_at_generation(&self) -> Result<(), ChatError> {
        let found = self.store.generation().await?;
        let known = *self.generation.borrow();
        if known == Some(found) {
            return Ok(());
        }
        if known.is_none() {
            self.generation.send_replace(Some(found));
            return Ok(());
        }
        tracing::warn!(
            generation = %found.id,
            "the store was restored: everything remembered of it is forgotten, and clients begin anew"
        );
        let written: Vec<_> =
            self.heads.newest(LATELY.0, LATELY.1).into_iter().map(|(channel, _)| channel).collect();
        self.forget();
        self.generation.send_replace(Some(found));
        // What was read while it changed may be of before.
        self.forget();
        // What this process wrote to the new generation before it looked, others took for a stranger's. They read it when
        // they hear how far these logs go.
        match self.store.heads(&written).await {
            Ok(heads) => heads.into_iter().for_each(|(channel, head)| self.heads.note(channel, head)),
            Err(error) => tracing::warn!(%error, "ends of logs not read after the store was restored"),
        }
        Ok(())
    }

    fn forget(&self) {
        self.store.forget();
        self.directory.forget_all();
        self.heads.forget();
        // Versions may be lower than they were; tokens of before are not believed anyway.
        self.auth_versions.forget_before(Millis::MAX);
    }
}

/// Whether two processes or messages are of different lives of the store. One that does not say (a process of 0.1.0) counts
/// as of the same.
#[must_use]
pub fn are_strangers(one: Option<Generation>, other: Option<Generation>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

async fn look_again(chat: Weak<Chat>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(chat) = chat.upgrade() else { return };
        if let Err(error) = chat.look_at_generation().await {
            tracing::debug!(%error, "generation of the store not read, trying again in 5 s");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_say_is_no_stranger() {
        let (a, b) = (Some(Generation::new()), Some(Generation::new()));
        for (one, other, expected) in
            [(a, b, true), (a, a, false), (a, None, false), (None, b, false), (None, None, false)]
        {
            assert_eq!(are_strangers(one, other), expected);
        }
    }
}
