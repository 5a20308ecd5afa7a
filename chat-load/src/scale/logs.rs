//! The logs of the channels, from where they ended when the run began.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chat_protocol::{ChannelId, Event, EventBody};
use tokio::{sync::Semaphore, task::JoinSet};

use super::ScaleError;
use crate::{
    client_id::RunTag,
    history::{ChannelLog, LogEntry},
    logs::entry,
    message::message_text,
    options::Target,
    rest::{Rest, RestError},
};

/// Channels read at once.
const AT_ONCE: usize = 8;

/// Who reads which channel: a token of one of its members.
pub(super) type Readers = BTreeMap<ChannelId, String>;

/// What the logs hold.
pub(super) struct Logs {
    pub(super) logs: HashMap<ChannelId, ChannelLog>,
    /// Messages with another text than was sent.
    pub(super) altered: u64,
}

/// Where the logs end.
pub(super) fn heads(api: &str, readers: &Readers) -> Result<HashMap<ChannelId, u64>, ScaleError> {
    let rest = Rest::new(&Target::of(api)?.host)?;
    let read = each(readers, move |channel, token| {
        let rest = rest.clone();
        async move { rest.head(channel, &token).await }
    })?;
    Ok(read.into_iter().collect())
}

/// Reads what stands behind these ends. Before them stand nameless entries, so that positions are right.
pub(super) fn read(
    api: &str,
    readers: &Readers,
    began: &HashMap<ChannelId, u64>,
    tag: RunTag,
) -> Result<Logs, ScaleError> {
    let nameless = |head: u64| (1..=head).map(|seq| LogEntry { seq, fingerprint: 0, id: None }).collect();
    let logs =
        began.iter().map(|(channel, head)| (*channel, ChannelLog { entries: nameless(*head) })).collect();
    let mut logs = Logs { logs, altered: 0 };
    logs.read_on(api, readers, tag)?;
    Ok(logs)
}

impl Logs {
    /// Reads what was written since.
    pub(super) fn read_on(&mut self, api: &str, readers: &Readers, tag: RunTag) -> Result<(), ScaleError> {
        let rest = Rest::new(&Target::of(api)?.host)?;
        let ends: HashMap<ChannelId, u64> = crate::logs::heads(&self.logs);
        let read = each(readers, move |channel, token| {
            let (rest, after) = (rest.clone(), ends.get(&channel).copied().unwrap_or_default());
            async move { rest.events(channel, &token, after).await }
        })?;
        for (channel, events) in read {
            self.altered += events.iter().filter(|event| is_altered(event, tag)).count() as u64;
            self.logs.entry(channel).or_default().entries.extend(events.iter().map(entry));
        }
        Ok(())
    }
}

fn is_altered(event: &Event, tag: RunTag) -> bool {
    let Some(id) = event.id.and_then(|id| tag.decode(id.0)) else { return false };
    !matches!(&event.body, EventBody::Message { text, .. } if *text == message_text(id.index, super::field::SIZE))
}

/// Asks for each channel, several at once.
fn each<T, F>(
    readers: &Readers,
    ask: impl Fn(ChannelId, String) -> F,
) -> Result<Vec<(ChannelId, T)>, ScaleError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, RestError>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut asked = JoinSet::new();
        for (channel, token) in readers {
            let (channel, answer, places) = (*channel, ask(*channel, token.clone()), Arc::clone(&places));
            asked.spawn(async move {
                let _place = places.acquire_owned().await;
                (channel, answer.await)
            });
        }
        let mut read = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let (channel, answer) = answer.map_err(std::io::Error::other)?;
            read.push((channel, answer?));
        }
        Ok(read)
    })
}
