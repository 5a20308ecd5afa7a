//! From `hello` to `welcome`: who it is, and the channels that the socket gets from then on.

use std::{collections::HashMap, sync::Arc, time::Instant};

use chat_auth::outdated;
use chat_domain::{
    chat::{Actor, ChatError, now_ms},
    store::{End, Membership},
};
use chat_protocol::{ChannelState, CloseCode, ErrorCode, ServerFrame};

use super::{
    Gateway, Place,
    conn::Conn,
    session::Unwelcome,
    upgrade::{Stranger, full},
    wire,
};
use crate::metrics::{GatewayMetrics, Refused};

/// A hello that is not answered yet.
struct Waiting<'a>(&'a GatewayMetrics);

impl<'a> Waiting<'a> {
    fn new(metrics: &'a GatewayMetrics) -> Self {
        metrics.hellos_waiting.inc();
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.hellos_waiting.dec();
    }
}

impl Gateway {
    /// Accepts a token and subscribes the socket to its user's channels, so that together with the heads of the
    /// welcome nothing can be missed: whatever is handed out after the subscription reaches the socket,
    /// whatever was before is covered by a head.
    ///
    /// Whose token is good is no `stranger` any more, and has a place for as long as the socket lives.
    pub(super) async fn welcome(
        &self,
        conn: &Arc<Conn>,
        token: &str,
        stranger: &mut Option<Stranger>,
    ) -> Result<(Actor, Place), Unwelcome> {
        let began = Instant::now();
        let _waiting = Waiting::new(&self.metrics);
        let refuse = |error: ChatError, code| {
            self.hub().unsubscribe_all(conn);
            conn.refuse(&wire::error_frame(error, None), code);
            Err(Unwelcome::from(Some(code)))
        };
        let actor = match self.verifier.verify(token).await {
            Ok(actor) => actor,
            Err(error) if error.code == ErrorCode::Unauthenticated => {
                return refuse(error, CloseCode::Unauthenticated);
            }
            Err(error) => return refuse(error, CloseCode::TryLater),
        };
        let Some(mut place) = self.place() else {
            let refused = refuse(full(), CloseCode::TryLater);
            return refused.map_err(|end| Unwelcome { why: Refused::Capacity, ..end });
        };
        place.seat = stranger.take().and_then(Stranger::seat);
        conn.identify(actor);
        self.register(conn, actor.user);
        // A revocation or another role that came between the token check and the registration found no socket to close.
        if self.verifier.revoked().contains(actor.session) {
            let error = ChatError::new(ErrorCode::Unauthenticated, "the session was revoked");
            return refuse(error, CloseCode::SessionRevoked);
        }
        if self.verifier.is_outdated(&actor) {
            return refuse(outdated(), CloseCode::Unauthenticated);
        }
        let generation = self.hub().generation();
        let channels = match self.subscribe(conn, &actor).await {
            Ok(channels) => channels,
            Err(error) => return refuse(error, CloseCode::TryLater),
        };
        if self.hub().generation() != generation {
            // Some of the positions are of before, some of after.
            return refuse(ChatError::overloaded(500), CloseCode::TryLater);
        }
        self.metrics.welcomes.inc();
        self.metrics.hello_seconds.observe(began.elapsed().as_secs_f64());
        self.draw_lifetime(conn);
        conn.welcome(&ServerFrame::Welcome {
            user: actor.user,
            session: actor.session,
            gateway: self.options.name.clone(),
            now: now_ms(),
            heartbeat_ms: u64::try_from(self.options.ping_after.as_millis()).unwrap_or(u64::MAX),
            generation,
            channels,
        });
        Ok((actor, place))
    }

    async fn subscribe(&self, conn: &Arc<Conn>, actor: &Actor) -> Result<Vec<ChannelState>, ChatError> {
        loop {
            let departures = self.hub().departures();
            let memberships = self.reads.memberships(&self.chat, actor.user).await?;
            let mut ends = HashMap::with_capacity(memberships.len());
            let mut unknown = Vec::new();
            for Membership { channel, .. } in &memberships {
                match self.hub().subscribe(*channel, conn) {
                    Some(end) => drop(ends.insert(*channel, end)),
                    None => unknown.push(*channel),
                }
            }
            if !unknown.is_empty() {
                for (channel, end) in self.reads.ends(&self.chat, &unknown).await? {
                    ends.insert(channel, self.hub().learn_end(channel, end));
                }
            }
            let places: Vec<(Membership, End)> = memberships
                .iter()
                .map(|place| (*place, ends.get(&place.channel).copied().unwrap_or_default()))
                .collect();
            let unread = self.chat.unread_soon(actor.user, &places).await;
            if self.hub().departures() == departures {
                let state = |((place, end), unread): ((Membership, End), Option<u64>)| ChannelState {
                    channel: place.channel,
                    head: end.head,
                    read: place.read,
                    unread,
                };
                return Ok(places.into_iter().zip(unread).map(state).collect());
            }
            // Somebody left some channel meanwhile. Should it be this user, what was read is outdated.
            self.hub().unsubscribe_all(conn);
        }
    }
}
