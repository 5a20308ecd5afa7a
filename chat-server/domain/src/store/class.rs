//! What calls are for, in the order in which they win when there is not room for all.

/// A kind of calls with a budget of its own. Earlier ones win: those who are connected and write come first, those who
/// are only about to come in come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Appends to logs.
    Append,
    /// Single rows that a command is decided by, and read markers.
    Lookup,
    /// The newest messages of a channel, events after a position, and heads: what resuming clients and gap repair read.
    Recent,
    /// People, channels and members, listed and changed.
    Directory,
    /// Pages of messages further back.
    OldHistory,
    /// Descriptions of uploaded files.
    Upload,
    /// Passwords, sessions, keys.
    Auth,
    /// What a `welcome` needs: a user's channels.
    Connect,
}

impl Class {
    /// All of them, the most important first.
    pub const ALL: [Self; 8] = [
        Self::Append,
        Self::Lookup,
        Self::Recent,
        Self::Directory,
        Self::OldHistory,
        Self::Upload,
        Self::Auth,
        Self::Connect,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Lookup => "lookup",
            Self::Recent => "recent",
            Self::Directory => "directory",
            Self::OldHistory => "old_history",
            Self::Upload => "upload",
            Self::Auth => "auth",
            Self::Connect => "connect",
        }
    }
}
