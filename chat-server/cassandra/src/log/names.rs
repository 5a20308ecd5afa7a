//! Names of public channels are unique: all that a name claims is reserved before the event that gives it is appended.
//!
//! Between the two a process may die. So a reservation whose channel turns out not to have the name, and which is older
//! than an append can take, is taken over by whoever wants the name. So is, at once, that of a private channel: servers of
//! 0.1.0 make such ones.

use chat_domain::{
    clock::now_ms,
    store::{StoreError, name_claims},
};
use chat_log::claims_name;
use chat_protocol::{ChannelId, Millis};

use super::{
    Log,
    codec::{big, channel_value, kind, missing, number, uuid},
    error::LogError,
    statements as cql,
};
use crate::cql::{Row, Value};

/// Rounds against others who want the same name at the same time.
const ROUNDS: usize = 8;

/// A claim that a channel holds, as it stood at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    key: String,
    reserved_at: Millis,
}

/// What a channel makes of a reservation.
enum Claim {
    /// It has the name.
    Holds,
    /// It does not have it, but may be about to.
    MayCome,
    /// It has no name to itself.
    Never,
}

/// What became of a reservation.
enum Reserved {
    /// The channel did not have it before.
    Anew(Held),
    /// The channel had it already.
    Again,
    /// Another channel has it, or is about to.
    Taken,
}

impl Log {
    /// Reserves everything that a name claims. False when another channel has some of it, or is about to: then nothing is
    /// reserved that was not before.
    pub(super) async fn reserve_all(&self, channel: ChannelId, claims: &[String]) -> Result<bool, LogError> {
        let mut anew = Vec::new();
        for key in claims {
            match self.reserve(channel, key).await? {
                Reserved::Anew(held) => anew.push(held),
                Reserved::Again => {}
                Reserved::Taken => {
                    for held in anew {
                        self.release(channel, held).await;
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn reserve(&self, channel: ChannelId, key: &str) -> Result<Reserved, LogError> {
        let anew = |reserved_at| Reserved::Anew(Held { key: key.to_owned(), reserved_at });
        for _ in 0..ROUNDS {
            let now = now_ms();
            let name = Value::Text(key.to_owned());
            let answer = self
                .cql
                .execute(cql::RESERVE_NAME, vec![name.clone(), channel_value(channel), big(now)])
                .await?;
            let Some(row) = answer.first().filter(|row| !row.applied()) else { return Ok(anew(now)) };
            let (holder, reserved_at) = holder(row)?;
            if holder != channel {
                let grace = Millis::try_from(self.options.name_grace.as_millis()).unwrap_or(Millis::MAX);
                match self.claim(holder, key).await? {
                    Claim::Holds => return Ok(Reserved::Taken),
                    Claim::MayCome if reserved_at.saturating_add(grace) > now => return Ok(Reserved::Taken),
                    Claim::MayCome | Claim::Never => {}
                }
            }
            // Its own reservation is renewed too: so that whoever is about to release it on account of what it was
            // before leaves it alone.
            let renewed_at = now.max(reserved_at.saturating_add(1));
            let values =
                vec![channel_value(channel), big(renewed_at), name, channel_value(holder), big(reserved_at)];
            if self.cql.execute(cql::TAKE_NAME, values).await?.iter().any(Row::applied) {
                return Ok(if holder == channel { Reserved::Again } else { anew(renewed_at) });
            }
        }
        Err(LogError::Late)
    }

    /// Reserves a claim of the name that the channel has already. False when another channel has it, or is about to.
    pub(crate) async fn reserve_own(&self, channel: ChannelId, key: &str) -> Result<bool, StoreError> {
        Ok(!matches!(self.reserve(channel, key).await?, Reserved::Taken))
    }

    /// The reservation of a claim as it is now, if it is this channel's.
    pub(super) async fn held(&self, channel: ChannelId, key: &str) -> Result<Option<Held>, LogError> {
        let rows = self.cql.execute(cql::NAME_HOLDER, vec![Value::Text(key.to_owned())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (holder, reserved_at) = holder(row)?;
        Ok((holder == channel).then(|| Held { key: key.to_owned(), reserved_at }))
    }

    /// Gives a claim up, unless its reservation was renewed. When that fails, it stays taken for its grace.
    pub(super) async fn release(&self, channel: ChannelId, held: Held) {
        let values = vec![Value::Text(held.key), channel_value(channel), big(held.reserved_at)];
        if let Err(error) = self.cql.execute(cql::RELEASE_NAME, values).await {
            tracing::warn!(%channel, %error, "name that a channel does not have was not released");
        }
    }

    async fn claim(&self, channel: ChannelId, key: &str) -> Result<Claim, LogError> {
        let mut tail = self.read_tail(channel, &self.tails.entry(channel)).await?;
        if tail.end.head == 0 {
            return Ok(Claim::MayCome);
        }
        self.ensure_applied(channel, &mut tail).await?;
        let rows = self.cql.execute(cql::CHANNEL, vec![channel_value(channel)]).await?;
        let Some(row) = rows.first() else { return Ok(Claim::MayCome) };
        if !claims_name(kind(row.tinyint("kind").ok_or_else(|| missing("kind"))?)?) {
            return Ok(Claim::Never);
        }
        let has = row.text("name").is_some_and(|name| name_claims(name).iter().any(|claim| claim == key));
        Ok(if has { Claim::Holds } else { Claim::MayCome })
    }
}

fn holder(row: &Row) -> Result<(ChannelId, Millis), LogError> {
    Ok((ChannelId(uuid(row, "channel")?), number(row, "reserved_at")?))
}
