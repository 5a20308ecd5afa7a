//! Limits that clients can rely on. A server may allow less (its configuration says so), never more.

/// Longest message text, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Largest frame a client may send, in bytes. A larger one closes the socket with 1009 (RFC 6455 §7.4.1).
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Largest file, in bytes: 25 MiB. One byte more is refused with 413.
pub const MAX_FILE_BYTES: u64 = 25 * 1024 * 1024;
/// Most files attached to one message.
pub const MAX_FILES_PER_MESSAGE: usize = 10;
/// Longest channel name, in characters.
pub const MAX_CHANNEL_NAME_CHARS: usize = 80;
/// Longest channel topic, in characters.
pub const MAX_TOPIC_CHARS: usize = 250;
/// Longest handle, in characters.
pub const MAX_HANDLE_CHARS: usize = 32;
/// Longest display name, in characters.
pub const MAX_DISPLAY_NAME_CHARS: usize = 64;
/// Shortest password, in characters (ASVS 5.0 §6.2.1).
pub const MIN_PASSWORD_CHARS: usize = 8;
/// Longest password, in bytes; long enough for any passphrase (ASVS 5.0 §6.2.9), short enough to hash.
pub const MAX_PASSWORD_BYTES: usize = 256;
/// Longest file name, in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// Most members of a group direct channel, its creator included.
pub const MAX_GROUP_MEMBERS: usize = 16;
/// Most users that one request adds to a channel.
pub const MAX_ADD_MEMBERS: usize = 100;
/// Most users on one socket's presence watch list.
pub const MAX_WATCHED_USERS: usize = 500;
/// Most items on one page of any REST listing.
pub const MAX_PAGE: usize = 200;
/// Items on a page when the request does not say.
pub const DEFAULT_PAGE: usize = 50;
/// Most events that one `sync` recovers; a client further behind reads `/v1/channels/{id}/events`.
pub const MAX_SYNC_EVENTS: u64 = 1_000;
/// For how long resending a client id returns the first sequence number, in milliseconds: 24 hours.
pub const IDEMPOTENCY_WINDOW_MS: u64 = 24 * 60 * 60 * 1000;
