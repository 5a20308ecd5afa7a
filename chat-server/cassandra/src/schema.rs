//! Tables. `migrate` brings a keyspace to this version: each step's statements are additive (expand), what an older
//! version needs is removed one release later (contract).
//!
//! Two kinds of tables, never mixed. Conditional ones (`events`, `channel_names`, `handles`, `users`, `owners`, `passwords`, `sessions`, `invitations`,
//! `signing_keys`, `cursors`, `checkpoints`) are written with `IF` only (but for `users` and `passwords` by servers of 0.1.0, see `standing`).
//! Projections of the logs (`channels`, `public_channels`, `members`, `user_channels`) are
//! plain writes whose timestamp is the position of the event that they follow from (`USING TIMESTAMP seq`; a read
//! marker's is the marker itself), so that repeating or reordering them changes nothing. What is known of files is plain
//! writes too, but for whether one is gone: each cell is written with one value only, or the row goes for good.

/// From one version of the tables to the next.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What is done, in order. Each statement may be repeated.
    pub statements: &'static [&'static [&'static str]],
    /// The oldest version whose servers still run on the result: those of one release back, while they are replaced.
    pub works_with: i32,
}

/// The step to version 1, to version 2, and so on. Steps are never changed once released, only added.
pub const STEPS: &[Step] = &[
    Step { statements: &[LOGS, PEOPLE, FILES], works_with: 1 },
    // Version 0.2.0. It only adds, so servers of 0.1.0 serve beside it.
    Step {
        statements: &[COUNTS, ROLES, SESSIONS, GENERATIONS, CONSUMERS, REACTIONS, FILES_THAT_GO],
        works_with: 1,
    },
];

/// The partition of `public_channels`. Some ten thousand names fit well; more partitions can be added beside it.
pub const PUBLIC_SHARD: i8 = 0;

/// Ids are `uuid`, times are milliseconds since the Unix epoch in a `bigint`, enums are numbers in a `tinyint`.
const LOGS: &[&str] = &[
    // A channel's log in buckets of `BUCKET` events: bucket = (seq - 1) / BUCKET. kind 0: an event, key = seq as 8 bytes
    // big-endian. kind 1: a client id, key = author || id, seq and at of the first event with it; they expire.
    // Of the log's end, in the bucket that it is in: `head` is the last position, `changed` that of the last event whose
    // projections must be applied before the next such event is decided, `message` that of the last message; `prior_*`
    // are the two as they were when the bucket was opened. `edited*`, `edits` and `deleted` are what became of an event.
    "CREATE TABLE IF NOT EXISTS events (
        channel uuid, bucket int, kind tinyint, key blob,
        head bigint static, changed bigint static, message bigint static,
        prior_changed bigint static, prior_message bigint static,
        seq bigint, at bigint, author uuid, id uuid, body text,
        edited bigint, edited_at bigint, edited_text text, edits set<bigint>, deleted boolean,
        PRIMARY KEY ((channel, bucket), kind, key))",
    // `bucket` is a hint: the log ends there or later. `applied` is the last event whose projections are complete.
    "CREATE TABLE IF NOT EXISTS channels (
        id uuid PRIMARY KEY, kind tinyint, name text, topic text, archived boolean, created_by uuid, created_at bigint,
        bucket int, applied bigint)",
    "CREATE TABLE IF NOT EXISTS channel_names (name_key text PRIMARY KEY, channel uuid, reserved_at bigint)",
    "CREATE TABLE IF NOT EXISTS public_channels (shard tinyint, name_key text, id uuid, PRIMARY KEY ((shard), name_key, id))",
    "CREATE TABLE IF NOT EXISTS members (channel uuid, user uuid, since bigint, PRIMARY KEY ((channel), user))",
    "CREATE TABLE IF NOT EXISTS user_channels (
        user uuid, channel uuid, since bigint, read bigint, PRIMARY KEY ((user), channel))",
];

/// Users, credentials, sessions, signing keys.
const PEOPLE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS users (
        id uuid PRIMARY KEY, handle text, display_name text, role tinyint, created_at bigint, deactivated boolean)",
    // Whose a handle is, or what it looks like. It is taken once its user exists; until then it is only claimed.
    "CREATE TABLE IF NOT EXISTS handles (handle text PRIMARY KEY, user uuid, claimed_at bigint)",
    // All users in order of handle: a partition for each first character, and which these are.
    "CREATE TABLE IF NOT EXISTS users_by_handle (initial text, handle text, user uuid, PRIMARY KEY ((initial), handle))",
    "CREATE TABLE IF NOT EXISTS initials (ring tinyint, initial text, PRIMARY KEY ((ring), initial))",
    // Users by beginnings of their display name, folded and from each word on, of some lengths, each in order of handle.
    "CREATE TABLE IF NOT EXISTS users_by_name (
        prefix text, handle text, user uuid, name_key text, PRIMARY KEY ((prefix), handle))",
    "CREATE TABLE IF NOT EXISTS passwords (user uuid PRIMARY KEY, phc text)",
    // Sessions, and the rows that lead to them, expire by themselves.
    "CREATE TABLE IF NOT EXISTS sessions (
        id uuid PRIMARY KEY, user uuid, created_at bigint, used_at bigint, expires_at bigint, device text,
        refresh_hash blob, revoked_at bigint)",
    "CREATE TABLE IF NOT EXISTS user_sessions (user uuid, session uuid, PRIMARY KEY ((user), session))",
    "CREATE TABLE IF NOT EXISTS revocations (
        bucket bigint, revoked_at bigint, session uuid, PRIMARY KEY ((bucket), revoked_at, session))",
    // One partition; `version` counts its changes, so that each is made on what was read.
    "CREATE TABLE IF NOT EXISTS signing_keys (
        ring tinyint, kid text, version bigint static, seed blob, created_at bigint, verify_until bigint,
        PRIMARY KEY ((ring), kid))",
];

/// Tables of uploaded files.
const FILES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS files (
        id uuid PRIMARY KEY, channel uuid, owner uuid, name text, media_type text, size bigint, sha256 blob,
        created_at bigint)",
    "CREATE TABLE IF NOT EXISTS blobs (file uuid PRIMARY KEY, size bigint)",
    "CREATE TABLE IF NOT EXISTS blob_chunks (file uuid, part int, n int, bytes blob, PRIMARY KEY ((file, part), n))",
    // Uploads that are going on, by the hour in which they began.
    "CREATE TABLE IF NOT EXISTS staged_blobs (hour int, file uuid, PRIMARY KEY ((hour), file))",
];

/// Files that go with their messages, see `files`.
const FILES_THAT_GO: &[&str] = &[
    // A file that is gone is no more served; its row goes behind its bytes.
    // `held`: the last message that was to have it, whatever became of that. Both are written conditionally, and are the only
    // such columns of the table.
    "ALTER TABLE files ADD IF NOT EXISTS (gone boolean, held uuid)",
    // What a person has stored. `attached`: a message had it once. Files of 0.1.0 are not in it.
    "CREATE TABLE IF NOT EXISTS files_of (
        owner uuid, file uuid, bytes bigint, attached boolean, PRIMARY KEY ((owner), file))",
    // Which messages have a file, and, by the id and a time in the place of channel and position, which ones are on their way
    // and hold it. `released`: the message was deleted; nothing sets that back.
    "CREATE TABLE IF NOT EXISTS file_uses (
        file uuid, channel uuid, seq bigint, released boolean, PRIMARY KEY ((file), channel, seq))",
    // What is to be looked at later, see `FileWork`, by the hour in which it is due.
    "CREATE TABLE IF NOT EXISTS file_work (
        hour bigint, due bigint, file uuid, task blob, PRIMARY KEY ((hour), due, file, task))",
];

/// Columns that count messages up to a position.
const COUNTS: &[&str] = &[
    // Of the log's end, seven numbers in one column, each eight bytes, big-endian: how many counted messages stand up to
    // there, how many of them were deleted, how many mention the whole channel, where counting began, the position that these
    // four belong to, the last event that changed who may do what, the last one that has something beside messages. Where the
    // fifth is not `head`, a server of 0.1.0 has written since, and counting begins anew.
    "ALTER TABLE events ADD IF NOT EXISTS (counted blob static)",
    // The first three up to each event; null in events of 0.1.0.
    "ALTER TABLE events ADD IF NOT EXISTS (counts blob)",
    // The same three up to the read marker, and the position that they belong to. `own` is the user's last counted message.
    "ALTER TABLE user_channels ADD IF NOT EXISTS (
        read_at bigint, read_n bigint, read_d bigint, read_m bigint, own bigint)",
];

/// Roles that change.
const ROLES: &[&str] = &[
    // Rises with each change of the role and each closing and reopening of the account; tokens carry it. Null is 0.
    "ALTER TABLE users ADD IF NOT EXISTS (auth_version bigint)",
    // Owners whose account is not closed, in one partition; `version` counts its changes, so that each is made on what was
    // read, and is null until the partition was filled with those who are owners already.
    "CREATE TABLE IF NOT EXISTS owners (ring tinyint, user uuid, version bigint static, PRIMARY KEY ((ring), user))",
    // Versions that rose, by tens of minutes. Without a version: it may have risen, the user's row says to what.
    "CREATE TABLE IF NOT EXISTS auth_changes (
        bucket bigint, changed_at bigint, user uuid, version bigint, PRIMARY KEY ((bucket), changed_at, user))",
];

/// What refresh tokens follow from, and where they are used, which is null in sessions of 0.1.0; and invitations.
const SESSIONS: &[&str] = &[
    "ALTER TABLE sessions ADD IF NOT EXISTS (chain blob, network bigint)",
    // Both expire. `account` and `created_by` are the nil UUID for none; `change` names the last change of `uses_left`.
    "CREATE TABLE IF NOT EXISTS invitations (
        id uuid PRIMARY KEY, code_hash blob, account uuid, role tinyint, uses_left int, change uuid, created_by uuid,
        created_at bigint, expires_at bigint, note text)",
    // All of them in one partition.
    "CREATE TABLE IF NOT EXISTS invitation_list (ring tinyint, id uuid, PRIMARY KEY ((ring), id))",
];

/// Lives of the store.
const GENERATIONS: &[&str] = &[
    // One row: a restore begins another generation, `since` a time; the first one is `since` 0.
    "CREATE TABLE IF NOT EXISTS generations (ring tinyint PRIMARY KEY, id uuid, since bigint)",
];

/// Durable consumers of the logs; `follow` says how they fit together.
const CONSUMERS: &[&str] = &[
    // Every channel, written before its first batch; and those that were written to in an hour, kept for a week.
    "CREATE TABLE IF NOT EXISTS all_channels (shard int, channel uuid, PRIMARY KEY ((shard), channel))",
    "CREATE TABLE IF NOT EXISTS channel_hours (hour bigint, shard int, channel uuid, PRIMARY KEY ((hour, shard), channel))
     WITH default_time_to_live = 604800",
    // How far a consumer has come in each log.
    "CREATE TABLE IF NOT EXISTS cursors (consumer text, channel uuid, seq bigint, PRIMARY KEY ((consumer, channel)))",
    // The last hour whose lists a consumer has worked off, and `done` of the list of all channels that it has walked.
    "CREATE TABLE IF NOT EXISTS checkpoints (
        consumer text, shard int, hour bigint, whole bigint, PRIMARY KEY ((consumer, shard)))",
    // Channels that a consumer could not have although its checkpoint is past them. `until` is the position that it must
    // come to, and the write's timestamp.
    "CREATE TABLE IF NOT EXISTS consumers_behind (
        consumer text, shard int, channel uuid, until bigint, PRIMARY KEY ((consumer, shard), channel))",
    // `all_channels` is filled once from `channels`: when the walk began, how far it is, and the walk that was completed.
    // `older`: when a server of 0.1.0 was last heard of.
    "CREATE TABLE IF NOT EXISTS following (
        what text PRIMARY KEY, began bigint, came_to bigint, filled bigint, done bigint, older bigint)",
];

/// Reactions to messages.
const REACTIONS: &[&str] = &[
    // In the bucket of the message, so that a page of messages costs one more read. `seq` is the event's position, and the
    // write's timestamp.
    "CREATE TABLE IF NOT EXISTS reactions (
        channel uuid, bucket int, target bigint, emoji text, user uuid, seq bigint,
        PRIMARY KEY ((channel, bucket), target, emoji, user))",
    // Up to which event everything beside messages is written; null: there never was such an event.
    "ALTER TABLE channels ADD IF NOT EXISTS (aside bigint)",
];
