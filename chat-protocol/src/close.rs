//! Why a socket was closed.

/// WebSocket close codes: RFC 6455 §7.4.1 below 4000, Folkmoot's own from 4000 (the range that §7.4.2
/// leaves to applications).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The purpose is fulfilled.
    Normal = 1000,
    /// A frame that is not valid WebSocket, or not JSON where that was due.
    Protocol = 1002,
    /// Binary frames are not understood.
    Unsupported = 1003,
    /// A text that is not UTF-8.
    NotUtf8 = 1007,
    /// A frame larger than [`crate::limits::MAX_FRAME_BYTES`].
    TooBig = 1009,
    /// The server is going away for a roll-out. Come back after the hint in the `reconnect` frame.
    Restart = 1012,
    /// The server is overloaded. Come back later, with backoff.
    TryLater = 1013,
    /// No `hello` within 10 seconds.
    HelloTimeout = 4001,
    /// The token is missing, malformed, expired or of a revoked session. Get a new one first.
    Unauthenticated = 4002,
    /// The session was revoked, by logout or from another device. Sign in again.
    SessionRevoked = 4003,
    /// The user has too many sockets open.
    TooManySockets = 4004,
    /// The client kept sending faster than its limit.
    RateLimited = 4005,
    /// Nothing was heard from the client for too long.
    IdleTimeout = 4006,
    /// The client reads more slowly than its channels write; resume from its cursors.
    SlowConsumer = 4008,
}

impl CloseCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 14] = [
        Self::Normal,
        Self::Protocol,
        Self::Unsupported,
        Self::NotUtf8,
        Self::TooBig,
        Self::Restart,
        Self::TryLater,
        Self::HelloTimeout,
        Self::Unauthenticated,
        Self::SessionRevoked,
        Self::TooManySockets,
        Self::RateLimited,
        Self::IdleTimeout,
        Self::SlowConsumer,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code for a number, when it is one of these.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.code() == code)
    }

    /// Whether a client should reconnect with backoff and resume, without asking anybody. The others need a
    /// new token, a person, or a fixed client.
    #[must_use]
    pub const fn resumable(self) -> bool {
        matches!(
            self,
            Self::Restart
                | Self::TryLater
                | Self::HelloTimeout
                | Self::RateLimited
                | Self::IdleTimeout
                | Self::SlowConsumer
        )
    }

    /// The reason text that goes with it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "bye",
            Self::Protocol => "protocol error",
            Self::Unsupported => "only text frames are understood",
            Self::NotUtf8 => "not UTF-8",
            Self::TooBig => "frame too large",
            Self::Restart => "server restarting",
            Self::TryLater => "server overloaded",
            Self::HelloTimeout => "no hello in time",
            Self::Unauthenticated => "token not accepted",
            Self::SessionRevoked => "session revoked",
            Self::TooManySockets => "too many sockets",
            Self::RateLimited => "rate limit exceeded",
            Self::IdleTimeout => "idle for too long",
            Self::SlowConsumer => "reading too slowly",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_reasons_fit_a_control_frame() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_code(code.code()), Some(code));
            assert!(code.reason().len() <= 123, "RFC 6455 §5.5: control frames carry at most 125 bytes");
        }
        assert_eq!(CloseCode::from_code(4999), None);
    }
}
