//! What the log says to Cassandra.

use super::super::cql::Statement;

/// Opens a bucket: its static columns, when it has none yet.
pub(super) const OPEN: Statement = Statement::conditional(
    "UPDATE events SET head = ?, changed = ?, message = ?, counted = ?, prior_changed = ?, prior_message = ?
     WHERE channel = ? AND bucket = ? IF head = null",
);
/// Moves the head on.
pub(super) const ADVANCE: Statement = Statement::conditional(
    "UPDATE events SET head = ?, changed = ?, message = ?, counted = ?
     WHERE channel = ? AND bucket = ? IF head = ?",
);
/// An event without a client id. Part of a conditional batch only.
pub(super) const EVENT: Statement = Statement::conditional(
    "INSERT INTO events (channel, bucket, kind, key, seq, at, author, body, counts)
     VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)",
);
/// An event with a client id. Part of a conditional batch only.
pub(super) const EVENT_WITH_ID: Statement = Statement::conditional(
    "INSERT INTO events (channel, bucket, kind, key, seq, at, author, body, counts, id)
     VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
);
/// That a client id is used. Seconds to live come last.
pub(super) const USED: Statement = Statement::conditional(
    "INSERT INTO events (channel, bucket, kind, key, seq, at) VALUES (?, ?, 1, ?, ?, ?) IF NOT EXISTS USING TTL ?",
);

/// A bucket's static columns; no row when it is not open.
pub(super) const STATICS: Statement = Statement::read(
    "SELECT DISTINCT channel, bucket, head, changed, message, counted, prior_changed
     FROM events WHERE channel = ? AND bucket = ?",
);
/// The same, after finishing what is under way in the bucket.
pub(super) const STATICS_SETTLED: Statement = Statement::serial_read(
    "SELECT DISTINCT head, changed, message, counted, prior_changed, channel, bucket
     FROM events WHERE channel = ? AND bucket = ?",
);

/// Where these client ids were used in a bucket.
pub(super) const USES: Statement = Statement::read(
    "SELECT key, seq, at FROM events WHERE channel = ? AND bucket = ? AND kind = 1 AND key IN ?",
);
/// All client ids of a bucket.
pub(super) const ALL_USES: Statement =
    Statement::read("SELECT key FROM events WHERE channel = ? AND bucket = ? AND kind = 1");

/// Events of a bucket after a position.
pub(super) const EVENTS_AFTER: Statement = Statement::read(
    "SELECT seq, at, author, id, body, counts FROM events
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key > ? LIMIT ?",
);
/// Reads one event.
pub(super) const EVENT_AT: Statement = Statement::read(
    "SELECT seq, at, author, id, body, counts FROM events WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ?",
);
/// Events of a bucket before a position, newest first, as they read now.
pub(super) const EVENTS_BEFORE: Statement = Statement::read(
    "SELECT seq, at, author, id, body, edited_at, edited_text, deleted, prior_message FROM events
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key < ? ORDER BY kind DESC, key DESC LIMIT ?",
);
/// What has become of an event.
pub(super) const FATE: Statement = Statement::read(
    "SELECT seq, author, body, edited, edits, deleted FROM events
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ?",
);

/// A message's first edit.
pub(super) const FIRST_EDIT: Statement = Statement::conditional(
    "UPDATE events SET edited = ?, edited_at = ?, edited_text = ?, edits = edits + ?
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ? IF seq = ? AND edited = null AND deleted = null",
);
/// A newer edit than the newest.
pub(super) const NEXT_EDIT: Statement = Statement::conditional(
    "UPDATE events SET edited = ?, edited_at = ?, edited_text = ?, edits = edits + ?
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ? IF seq = ? AND edited = ? AND deleted = null",
);
/// An edit that is not the newest any more.
pub(super) const OLD_EDIT: Statement = Statement::conditional(
    "UPDATE events SET edits = edits + ?
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ? IF seq = ? AND deleted = null",
);
/// Takes the text out of an event that has no newer one.
pub(super) const SCRUB: Statement = Statement::conditional(
    "UPDATE events SET body = ?, deleted = true
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ? IF seq = ? AND edited = null AND deleted = null",
);
/// Takes the texts out of an event that was edited.
pub(super) const SCRUB_EDITED: Statement = Statement::conditional(
    "UPDATE events SET body = ?, edited_text = '', deleted = true
     WHERE channel = ? AND bucket = ? AND kind = 0 AND key = ? IF seq = ? AND edited = ? AND deleted = null",
);

/// What is remembered of a log's end and of its projections.
pub(super) const HINTS: Statement =
    Statement::read("SELECT bucket, applied, aside FROM channels WHERE id = ?");
/// Moves the hint on, never back: its timestamp is the bucket.
pub(super) const SET_BUCKET: Statement =
    Statement::write("UPDATE channels USING TIMESTAMP ? SET bucket = ? WHERE id = ?");
/// Moves the mark on, never back: its timestamp is the position.
pub(super) const SET_APPLIED: Statement =
    Statement::write("UPDATE channels USING TIMESTAMP ? SET applied = ? WHERE id = ?");
/// The same of what is beside messages.
pub(super) const SET_ASIDE: Statement =
    Statement::write("UPDATE channels USING TIMESTAMP ? SET aside = ? WHERE id = ?");

/// What decisions need of a channel.
pub(super) const CHANNEL: Statement =
    Statement::read("SELECT kind, name, topic, archived, created_by FROM channels WHERE id = ?");
/// Which of these users are members.
pub(crate) const MEMBERS_AMONG: Statement =
    Statement::read("SELECT user, since FROM members WHERE channel = ? AND user IN ?");
/// Since when the newest of all members is one; null when there is none.
pub(super) const NEWEST_MEMBER: Statement =
    Statement::read("SELECT max(since) AS since FROM members WHERE channel = ?");

/// A channel's row.
pub(super) const CREATE_CHANNEL: Statement = Statement::write(
    "INSERT INTO channels (id, kind, topic, archived, created_by, created_at) VALUES (?, ?, ?, false, ?, ?)
     USING TIMESTAMP ?",
);
/// Sets the channel's name.
pub(super) const SET_NAME: Statement =
    Statement::write("UPDATE channels USING TIMESTAMP ? SET name = ? WHERE id = ?");
/// Sets the channel's topic.
pub(super) const SET_TOPIC: Statement =
    Statement::write("UPDATE channels USING TIMESTAMP ? SET topic = ? WHERE id = ?");
/// Whether it is archived.
pub(super) const SET_ARCHIVED: Statement =
    Statement::write("UPDATE channels USING TIMESTAMP ? SET archived = ? WHERE id = ?");
/// Into the list of public channels.
pub(super) const LIST_CHANNEL: Statement =
    Statement::write("INSERT INTO public_channels (shard, name_key, id) VALUES (?, ?, ?) USING TIMESTAMP ?");
/// Out of the list of public channels.
pub(super) const UNLIST_CHANNEL: Statement = Statement::write(
    "DELETE FROM public_channels USING TIMESTAMP ? WHERE shard = ? AND name_key = ? AND id = ?",
);
/// A member comes.
pub(super) const ADD_MEMBER: Statement =
    Statement::write("INSERT INTO members (channel, user, since) VALUES (?, ?, ?) USING TIMESTAMP ?");
/// A member goes.
pub(super) const REMOVE_MEMBER: Statement =
    Statement::write("DELETE FROM members USING TIMESTAMP ? WHERE channel = ? AND user = ?");
/// The same from the user's side.
pub(super) const ADD_CHANNEL: Statement = Statement::write(
    "INSERT INTO user_channels (user, channel, since, read) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
);
/// The same, with what was counted up to the event.
pub(super) const ADD_COUNTED_CHANNEL: Statement = Statement::write(
    "INSERT INTO user_channels (user, channel, since, read, read_at, read_n, read_d, read_m)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
);
/// The same from the user's side.
pub(super) const REMOVE_CHANNEL: Statement =
    Statement::write("DELETE FROM user_channels USING TIMESTAMP ? WHERE user = ? AND channel = ?");
/// Moves a read marker on, never back: its timestamp is the marker.
pub(crate) const MARK_READ: Statement = Statement::write(
    "UPDATE user_channels USING TIMESTAMP ? SET read = ?, read_at = ?, read_n = ?, read_d = ?, read_m = ?
     WHERE user = ? AND channel = ?",
);
/// The same where nothing is known of what was counted up to there.
pub(crate) const MARK_READ_UNCOUNTED: Statement =
    Statement::write("UPDATE user_channels USING TIMESTAMP ? SET read = ? WHERE user = ? AND channel = ?");
/// A user's own last message; its timestamp is the position.
pub(super) const MARK_OWN: Statement =
    Statement::write("UPDATE user_channels USING TIMESTAMP ? SET own = ? WHERE user = ? AND channel = ?");

/// Both at once, of a message that its author wrote on top of all they had read.
pub(super) const MARK_OWN_AND_READ: Statement = Statement::write(
    "UPDATE user_channels USING TIMESTAMP ? SET own = ?, read = ?, read_at = ?, read_n = ?, read_d = ?, read_m = ?
     WHERE user = ? AND channel = ?",
);

/// Takes a name that nobody has.
pub(super) const RESERVE_NAME: Statement = Statement::conditional(
    "INSERT INTO channel_names (name_key, channel, reserved_at) VALUES (?, ?, ?) IF NOT EXISTS",
);
/// Takes a name over, from its holder or from oneself.
pub(super) const TAKE_NAME: Statement = Statement::conditional(
    "UPDATE channel_names SET channel = ?, reserved_at = ? WHERE name_key = ? IF channel = ? AND reserved_at = ?",
);
/// Gives a name up.
pub(super) const RELEASE_NAME: Statement =
    Statement::conditional("DELETE FROM channel_names WHERE name_key = ? IF channel = ? AND reserved_at = ?");
/// Who has a name.
pub(super) const NAME_HOLDER: Statement =
    Statement::serial_read("SELECT channel, reserved_at FROM channel_names WHERE name_key = ?");
