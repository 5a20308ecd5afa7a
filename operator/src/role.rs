//! The roles in which chat-server runs on Kubernetes.

/// A role of chat-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Checks passwords, issues tokens.
    Auth,
    /// REST, files, the web client.
    Api,
    /// Holds the sockets of clients.
    Gateway,
}

impl Role {
    /// All, in the order in which they are replaced.
    pub const ALL: [Self; 3] = [Self::Auth, Self::Api, Self::Gateway];

    /// Name of the role in `chat-server --roles` and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Api => "api",
            Self::Gateway => "gateway",
        }
    }
}
