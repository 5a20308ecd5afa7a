//! The table of all settings. Everything else (reading, checking, documentation) follows from it.

use std::time::Duration;

use chat_auth::Registration;
use chat_cassandra::config::CassandraDriver;
use chat_protocol::limits::MAX_FILE_BYTES;

use super::{BusEngine, Config, FileEngine, Kind, LogFormat, StoreEngine, Value};

/// Description of one setting.
pub struct Setting {
    /// Its key, `section.key`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it means, for the documentation; a sentence or two.
    pub help: &'static str,
    /// Its value in a configuration.
    pub get: fn(&Config) -> Value,
    /// Sets it. The value must be one that `kind` read.
    pub set: fn(&mut Config, Value),
}

const DAY: u64 = 86_400;
const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;
const GIB: u64 = 1_024 * MIB;

/// All settings, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    address!(
        "server.listen",
        server.listen,
        "Where REST, sockets and the web client are served. Port 0 takes a free one; `[::]` is all addresses, of IPv4 too."
    ),
    address!(
        "server.admin_listen",
        server.admin_listen,
        "Where `/healthz`, `/readyz`, `/readyz/process`, `/metrics` and `/drain` are served. Keep it private."
    ),
    path!(
        "server.admin_token_file",
        server.admin_token_file,
        "File with the token, alone on its first line, by which `POST /drain` on the admin address is allowed; read at each \
         request. Empty: there is no such path."
    ),
    list!(
        "server.allowed_origins",
        gateway.allowed_origins,
        "Origins that browsers may open sockets from, besides the server's own, such as `https://chat.example.org`; `*` \
         allows all."
    ),
    list!(
        "server.trusted_proxies",
        server.trusted_proxies,
        "Addresses, or blocks such as `10.0.0.0/8`, of the proxies and load balancers in front. A request from one of them \
         counts as coming from the rightmost address in `X-Forwarded-For` that is none of them. Empty: nobody's word is \
         taken."
    ),
    number!(
        "server.max_strangers_per_address",
        1,
        100_000,
        server.max_strangers_per_address,
        "Connections and sockets of one IPv4 address or IPv6 /64 that have shown no valid token yet; a newcomer takes the place of \
         the oldest. At most half of those in all, of which there are more the more files may be open: docs/overload.md. Behind a proxy set \
         `server.trusted_proxies`, or all users share its address."
    ),
    number!(
        "server.requests_per_second",
        1,
        1_000_000,
        server.requests_per_second,
        "REST requests a second that one person may sustain, of whatever kind. Like all limits of a person it holds in each process: \
         with three `api` processes, up to three times as many."
    ),
    number!(
        "server.request_burst",
        1,
        1_000_000,
        server.request_burst,
        "REST requests that one person may make at once after a pause."
    ),
    number!(
        "server.channels_per_hour",
        1,
        1_000_000,
        server.channels_per_hour,
        "Channels that one person may make in an hour, direct ones too."
    ),
    number!(
        "server.invitations_per_hour",
        1,
        1_000_000,
        server.invitations_per_hour,
        "Invitations and codes for passwords that one person may make in an hour."
    ),
    text!(
        "server.api_url",
        Kind::OptionalText,
        server.api_url,
        "`http://host:port` of processes with the role `api`. A process without it hands REST requests, files and the web client \
         there. Name this process's address in their `server.trusted_proxies`. Empty: something in front routes by path."
    ),
    text!(
        "server.auth_url",
        Kind::OptionalText,
        server.auth_url,
        "The same for the role `auth`: `/v1/auth/…` and `/.well-known/jwks.json`."
    ),
    Setting {
        key: "data.dir",
        kind: Kind::Path,
        help: "Folder of the embedded store and of uploaded files. It is made if it is not there; one process at a \
               time uses it.",
        get: |c| Value::Text(c.data.dir.display().to_string()),
        set: |c, v| {
            if let Value::Text(path) = v {
                c.data.dir = path.into();
            }
        },
    },
    choice!(
        "store.engine",
        |c| c.store,
        "The system of record. `sqlite`: a file in the data folder, for one process. `cassandra`: Apache Cassandra, for any \
         number of processes; `chat-server migrate` makes its tables.",
        "sqlite" => StoreEngine::Sqlite,
        "cassandra" => StoreEngine::Cassandra
    ),
    list!(
        "cassandra.contact_points",
        cassandra.contact_points,
        "`host:port` of some nodes; the others are found through them."
    ),
    text!("cassandra.keyspace", Kind::Text, cassandra.keyspace, "The keyspace of this chat."),
    text!(
        "cassandra.local_datacenter",
        Kind::Text,
        cassandra.local_datacenter,
        "The datacenter whose nodes are asked; quorums are formed in it."
    ),
    list!(
        "cassandra.replication",
        cassandra.replication,
        "For `chat-server migrate`: how many copies which datacenter keeps, such as `dc1:3`. Empty: three in the local one. \
         An existing keyspace is left as it is."
    ),
    text!(
        "cassandra.user",
        Kind::OptionalText,
        cassandra.user,
        "Name to log in with; empty for no authentication."
    ),
    path!(
        "cassandra.password_file",
        cassandra.password_file,
        "File with the password, alone on its first line."
    ),
    path!(
        "cassandra.ca_file",
        cassandra.ca_file,
        "PEM file with the authorities that vouch for the nodes; turns TLS on."
    ),
    milliseconds!(
        "cassandra.request_timeout_ms",
        100,
        60_000,
        cassandra.request_timeout,
        "How long one request to Cassandra may take."
    ),
    number!(
        "cassandra.appends_at_once",
        1,
        10_000,
        cassandra.appends_at_once,
        "Appends that this process has under way in Cassandra at once. Messages that come while all are taken join the next \
         write of their channel, which costs less than a write of their own."
    ),
    choice!(
        "cassandra.driver",
        |c| c.cassandra.driver,
        "What speaks to the nodes. `scylla`: the pure-Rust driver. `cassandra-cpp`: the Apache C++ driver, in a server that was \
         built with the feature of that name.",
        "scylla" => CassandraDriver::Scylla,
        "cassandra-cpp" => CassandraDriver::CassandraCpp
    ),
    choice!(
        "bus.engine",
        |c| c.bus,
        "What carries events between processes. `local`: memory, for one process. `pulsar`: Apache Pulsar; `chat-server \
         migrate` makes its topics.",
        "local" => BusEngine::Local,
        "pulsar" => BusEngine::Pulsar
    ),
    text!("pulsar.url", Kind::Text, pulsar.url, "`pulsar://host:port`, or `pulsar+ssl://host:port` for TLS."),
    text!(
        "pulsar.admin_url",
        Kind::Text,
        pulsar.admin_url,
        "`http://` or `https://` of the admin interface; only `chat-server migrate` uses it."
    ),
    text!("pulsar.tenant", Kind::Text, pulsar.tenant, "The tenant of this chat in Pulsar."),
    text!("pulsar.namespace", Kind::Text, pulsar.namespace, "The namespace in the tenant."),
    number!(
        "pulsar.partitions",
        1,
        1_024,
        pulsar.partitions,
        "For `chat-server migrate`: partitions of the topic of events. They only grow."
    ),
    path!(
        "pulsar.token_file",
        pulsar.token_file,
        "File with the token to log in with; read again when it changes."
    ),
    path!(
        "pulsar.ca_file",
        pulsar.ca_file,
        "PEM file with the authorities that vouch for the brokers; without it the system's do."
    ),
    text!(
        "cluster.name",
        Kind::OptionalText,
        gateway.name,
        "Names this process; unique among those that share a bus. Empty: the host's name and a random part."
    ),
    address!(
        "cluster.listen",
        cluster.listen,
        "Where a gateway takes sends of the channels it owns from other processes. `0.0.0.0:0`: nowhere, each process then \
         writes its sends itself."
    ),
    text!(
        "cluster.advertise",
        Kind::OptionalText,
        cluster.advertise,
        "`host:port` by which other processes reach `cluster.listen`; an IPv6 address may go without its brackets. Empty: that \
         address itself."
    ),
    path!(
        "cluster.ca_file",
        cluster.ca_file,
        "PEM file with the authority of the certificates by which processes know each other. Without certificates only \
         loopback addresses are served."
    ),
    path!(
        "cluster.cert_file",
        cluster.cert_file,
        "PEM file with this process's certificate, signed by that authority, for servers and clients, with the DNS name \
         `processes.folkmoot.internal`. Read again when it changes."
    ),
    path!("cluster.key_file", cluster.key_file, "PEM file with the certificate's key."),
    milliseconds!(
        "cluster.owner_timeout_ms",
        50,
        10_000,
        cluster.owner_timeout,
        "How long a channel's owner may take before a send is written without it."
    ),
    choice!(
        "auth.registration",
        |c| c.auth.registration,
        "`open`: whoever reaches the server may make an account. `closed`: who is invited by an admin, and the \
         first account, which becomes the owner.",
        "open" => Registration::Open,
        "closed" => Registration::Closed
    ),
    seconds!(
        "auth.access_token_seconds",
        1,
        10,
        DAY,
        auth.access_token,
        "Life of an access token. A changed role counts within seconds all the same. Processes without the role `auth` believe \
         no token for longer, so it is the same in all."
    ),
    seconds!(
        "auth.refresh_token_days",
        DAY,
        1,
        365,
        auth.refresh_token,
        "A session that is not used for this long ends."
    ),
    seconds!(
        "auth.session_days",
        DAY,
        1,
        3_650,
        auth.session,
        "A session ends after this long, however much it is used: people sign in again."
    ),
    seconds!(
        "auth.key_rotation_days",
        DAY,
        1,
        3_650,
        auth.key_rotation,
        "Age at which the key that signs access tokens is replaced. The old one verifies for another day. Ignored with \
         `auth.signing_keys_file`."
    ),
    path!(
        "auth.signing_keys_file",
        auth.signing_keys_file,
        "JSON file with the keys that sign access tokens, see `docs/cluster.md`. Whoever writes it replaces keys; it is read \
         again when it changes. Empty: the keys are in the store, and made there."
    ),
    number!(
        "auth.login_per_minute_account",
        1,
        100_000,
        auth.login_per_minute_account,
        "Wrong passwords a minute to one account from one IPv4 address or IPv6 /64; ten times as many from all those together from which \
         nobody has signed in to it."
    ),
    number!(
        "auth.login_per_minute_address",
        1,
        1_000_000,
        auth.login_per_minute_address,
        "Wrong passwords a minute from one IPv4 address or IPv6 /64. Behind a proxy set `server.trusted_proxies`, or all users share its address."
    ),
    number!(
        "auth.register_per_hour_address",
        1,
        1_000_000,
        auth.register_per_hour_address,
        "New accounts an hour from one IPv4 address or IPv6 /64."
    ),
    list!(
        "auth.default_channels",
        auth.default_channels,
        "Names of public channels that a new account joins. Those that do not exist are skipped."
    ),
    seconds!(
        "gateway.hello_timeout_seconds",
        1,
        1,
        600,
        gateway.hello_timeout,
        "A socket that has not said `hello` after this long is closed."
    ),
    seconds!(
        "gateway.ping_after_seconds",
        1,
        1,
        3_600,
        gateway.ping_after,
        "A socket not heard from for this long gets a ping."
    ),
    seconds!(
        "gateway.idle_timeout_seconds",
        1,
        11,
        7_200,
        gateway.idle_timeout,
        "A socket not heard from for this long is closed. At least 10 more than `gateway.ping_after_seconds`."
    ),
    number!(
        "gateway.max_sockets",
        1,
        1_000_000,
        gateway.max_sockets,
        "Sockets held at once of people who have said `hello`; more are refused with 503. Fewer where few files may be open: \
         docs/overload.md."
    ),
    number!(
        "gateway.max_sockets_per_user",
        1,
        100_000,
        gateway.max_sockets_per_user,
        "Sockets of one user held at once."
    ),
    number!(
        "gateway.commands_per_second",
        1,
        1_000_000,
        gateway.commands_per_second,
        "Commands a second that a socket may sustain; and messages, edits, deletions and reactions a second that a person may sustain \
         over all their sockets and REST."
    ),
    number!(
        "gateway.command_burst",
        1,
        1_000_000,
        gateway.command_burst,
        "Commands that a socket, or a person over all doors, may send at once after a pause."
    ),
    number!(
        "gateway.max_in_flight",
        1,
        10_000,
        gateway.max_in_flight,
        "Commands of one socket whose acks are awaited at once; the server reads no further until one arrives."
    ),
    number!(
        "gateway.max_queued_bytes",
        128 * KIB,
        GIB,
        gateway.max_queued_bytes,
        "Bytes that wait to be written to one socket before it is closed as too slow. It can resume without loss."
    ),
    seconds!(
        "gateway.drain_window_seconds",
        1,
        0,
        3_600,
        gateway.drain_window,
        "Over how long sockets are asked to leave when the server stops, so that they do not all come back at once."
    ),
    Setting {
        key: "gateway.max_connection_age_seconds",
        kind: Kind::IntegerOrZero(60, 604_800),
        help: "Sockets older than this, give or take a fifth by chance, are asked to reconnect, so that gateways which were \
               added get their share, and a session that is over by time keeps no socket for longer. 0: never.",
        get: |c| Value::Integer(c.gateway.max_connection_age.map_or(0, |age| age.as_secs())),
        set: |c, v| {
            if let Value::Integer(n) = v {
                c.gateway.max_connection_age = (n > 0).then(|| Duration::from_secs(n));
            }
        },
    },
    number!(
        "gateway.recent_events",
        1,
        100_000,
        gateway.recent_events,
        "Events of a channel kept in memory for those who resume."
    ),
    number!(
        "gateway.recent_bytes",
        MIB,
        64 * GIB,
        gateway.recent_bytes,
        "Memory for the recent events of all channels together, in bytes."
    ),
    number!(
        "files.max_bytes",
        1,
        MAX_FILE_BYTES,
        files.max_bytes,
        "Largest file that can be uploaded, in bytes."
    ),
    number!(
        "files.uploads_at_once",
        1,
        1_000,
        files.uploads_at_once,
        "Uploads of one person that may go on at one time, of the 32 that a process takes in all."
    ),
    number!(
        "files.uploads_per_hour",
        1,
        1_000_000,
        files.uploads_per_hour,
        "Uploads that one person may begin in an hour."
    ),
    Setting {
        key: "files.max_bytes_per_person",
        kind: Kind::IntegerOrZero(MIB, 1_024 * GIB),
        help: "Bytes that the files of one person may have together, each counted as 64 KiB at least; beyond it an upload is \
               answered 507. Files of deleted messages do not count. 0: no limit.",
        get: |c| Value::Integer(c.files.max_bytes_per_person),
        set: |c, v| {
            if let Value::Integer(n) = v {
                c.files.max_bytes_per_person = n;
            }
        },
    },
    number!(
        "files.max_unattached_per_person",
        1,
        100_000,
        files.max_unattached_per_person,
        "Files of one person that are in no message yet; beyond it an upload is answered 507."
    ),
    seconds!(
        "files.unattached_hours",
        3_600,
        1,
        720,
        files.unattached,
        "An upload that is in no message after this long cannot be sent any more, and is removed an hour later."
    ),
    number!(
        "files.keep_free_bytes",
        0,
        1_024 * GIB,
        files.keep_free_bytes,
        "Bytes of the disk that uploads leave free, so that messages can still be written: below it an upload is answered 507. Only \
         where files lie on the disk of the embedded store."
    ),
    choice!(
        "files.store",
        |c| c.files.store,
        "Where uploaded files lie. `disk`: in the data folder. `cassandra`: in Cassandra, in chunks. `s3`: in an object store, \
         see `[s3]`. `auto`: on disk with SQLite, else in Cassandra.",
        "auto" => FileEngine::Auto,
        "disk" => FileEngine::Disk,
        "cassandra" => FileEngine::Cassandra,
        "s3" => FileEngine::S3
    ),
    text!(
        "s3.endpoint",
        Kind::OptionalText,
        s3.endpoint,
        "URL of the service. Empty: AWS's own for the region."
    ),
    text!("s3.bucket", Kind::OptionalText, s3.bucket, "The bucket. It must exist."),
    text!("s3.region", Kind::Text, s3.region, "The region of the bucket."),
    text!("s3.prefix", Kind::OptionalText, s3.prefix, "What the keys of our objects begin with."),
    path!(
        "s3.credentials_file",
        s3.credentials_file,
        "File with two lines, the access key id and the secret access key."
    ),
    choice!(
        "log.format",
        |c| c.log.format,
        "`text` for people, `json` for programs: one object a line. The log goes to standard error.",
        "text" => LogFormat::Text,
        "json" => LogFormat::Json
    ),
    text!(
        "log.level",
        Kind::Level,
        log.level,
        "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,chat_gateway=debug`."
    ),
];

impl Setting {
    /// `section` of `section.key`.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(section, _)| section)
    }

    /// `key` of `section.key`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The setting of this key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}
