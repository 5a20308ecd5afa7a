//! What an operator can set about sockets.

use std::time::Duration;

/// Limits and times of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Names this process; unique among those that share a bus. Empty: one is made up when the server starts.
    pub name: String,
    /// A socket without a `hello` for this long is closed.
    pub hello_timeout: Duration,
    /// A socket not heard from for this long gets a WebSocket ping.
    pub ping_after: Duration,
    /// A socket not heard from for this long is closed.
    pub idle_timeout: Duration,
    /// Sockets held at once; more are refused with 503.
    pub max_sockets: usize,
    /// Sockets of one user held at once.
    pub max_sockets_per_user: usize,
    /// Commands a second that a socket may sustain.
    pub commands_per_second: u32,
    /// Commands that a socket may send in one burst.
    pub command_burst: u32,
    /// Commands of one socket whose acks are awaited at once; reading pauses beyond that.
    pub max_in_flight: usize,
    /// Bytes queued to one socket before it counts as a slow consumer.
    pub max_queued_bytes: usize,
    /// Origins that browsers may connect from, besides the server's own; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Over how long sockets are asked to leave when the server drains.
    pub drain_window: Duration,
    /// Sockets older than this, ±20 % by chance, are asked to reconnect; `None`: never.
    pub max_connection_age: Option<Duration>,
    /// Events kept in memory per channel, for those who resume.
    pub recent_events: usize,
    /// Memory for all recent events together, in bytes.
    pub recent_bytes: usize,
    /// Whether recent events are kept of all active channels, not only of those that sockets are in: for a process that
    /// serves history over REST, also while the store is away.
    pub recent_of_all: bool,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            hello_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            max_sockets: 19_000,
            max_sockets_per_user: 25,
            commands_per_second: 50,
            command_burst: 100,
            max_in_flight: 32,
            max_queued_bytes: 1024 * 1024,
            allowed_origins: Vec::new(),
            drain_window: Duration::from_secs(10),
            max_connection_age: Some(Duration::from_secs(86_400)),
            recent_events: 1_000,
            recent_bytes: 64 * 1024 * 1024,
            recent_of_all: false,
        }
    }
}
