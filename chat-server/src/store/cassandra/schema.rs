//! Tables. `migrate` brings a keyspace to this version: each step's statements are additive (expand), what an older
//! version needs is removed one release later (contract).
//!
//! Two kinds of tables, never mixed. Conditional ones (`events`, `channel_names`, `handles`, `sessions`, `signing_keys`)
//! are written with `IF` only. Projections of the logs (`channels`, `public_channels`, `members`, `user_channels`) are
//! plain writes whose timestamp is the position of the event that they follow from (`USING TIMESTAMP seq`; a read
//! marker's is the marker itself), so that repeating or reordering them changes nothing.

/// One step per version, in order. Steps are never changed once released, only added.
pub const MIGRATIONS: &[&[&[&str]]] = &[&[LOGS, PEOPLE, FILES]];

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
const PEOPLE: &[&str] = &[];

/// Uploaded files.
const FILES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS blobs (file uuid PRIMARY KEY, size bigint)",
    "CREATE TABLE IF NOT EXISTS blob_chunks (file uuid, part int, n int, bytes blob, PRIMARY KEY ((file, part), n))",
    // Uploads that are going on, by the hour in which they began.
    "CREATE TABLE IF NOT EXISTS staged_blobs (hour int, file uuid, PRIMARY KEY ((hour), file))",
];
