//! The table of all settings. Everything else (reading, checking, documentation) follows from it.

use std::time::Duration;

use chat_protocol::limits::MAX_FILE_BYTES;

use super::{Config, Kind, LogFormat, Value};
use crate::auth::Registration;

/// One setting.
pub struct Setting {
    /// `section.key`.
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

/// A setting that is a number of some unit.
macro_rules! number {
    ($key:literal, $min:expr, $max:expr, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: Kind::Integer($min, $max),
            help: $help,
            get: |c| Value::Integer(u64::try_from(c.$($path).+).unwrap_or(u64::MAX)),
            set: |c, v| {
                if let Value::Integer(n) = v {
                    c.$($path).+ = n.try_into().unwrap_or(c.$($path).+);
                }
            },
        }
    };
}

/// A setting that is a duration, given as a number of `$unit` seconds.
macro_rules! seconds {
    ($key:literal, $unit:expr, $min:expr, $max:expr, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: Kind::Integer($min, $max),
            help: $help,
            get: |c| Value::Integer(c.$($path).+.as_secs() / $unit),
            set: |c, v| {
                if let Value::Integer(n) = v {
                    c.$($path).+ = Duration::from_secs(n * $unit);
                }
            },
        }
    };
}

/// A setting that is a list of texts.
macro_rules! list {
    ($key:literal, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: Kind::List,
            help: $help,
            get: |c| Value::List(c.$($path).+.clone()),
            set: |c, v| {
                if let Value::List(items) = v {
                    c.$($path).+ = items;
                }
            },
        }
    };
}

/// A setting that is a text.
macro_rules! text {
    ($key:literal, $kind:expr, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: $kind,
            help: $help,
            get: |c| Value::Text(c.$($path).+.clone()),
            set: |c, v| {
                if let Value::Text(text) = v {
                    c.$($path).+ = text;
                }
            },
        }
    };
}

/// A setting that is an address.
macro_rules! address {
    ($key:literal, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: Kind::Address,
            help: $help,
            get: |c| Value::Address(c.$($path).+),
            set: |c, v| {
                if let Value::Address(address) = v {
                    c.$($path).+ = address;
                }
            },
        }
    };
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
        "Where REST, sockets and the web client are served. Port 0 takes a free one."
    ),
    address!(
        "server.admin_listen",
        server.admin_listen,
        "Where `/healthz`, `/readyz` and `/metrics` are served. Keep it private."
    ),
    list!(
        "server.allowed_origins",
        gateway.allowed_origins,
        "Origins that browsers may open sockets from, besides the server's own, such as `https://chat.example.org`; `*` \
         allows all."
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
    Setting {
        key: "auth.registration",
        kind: Kind::Choice(&["open", "closed"]),
        help: "`open`: whoever reaches the server may make an account. `closed`: only the first account, which becomes \
               the owner, can be made.",
        get: |c| {
            Value::Text(match c.auth.registration {
                Registration::Open => "open".into(),
                Registration::Closed => "closed".into(),
            })
        },
        set: |c, v| {
            c.auth.registration =
                if v == Value::Text("open".into()) { Registration::Open } else { Registration::Closed };
        },
    },
    seconds!(
        "auth.access_token_seconds",
        1,
        10,
        DAY,
        auth.access_token,
        "Life of an access token. A changed role shows after at most this long."
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
        "auth.key_rotation_days",
        DAY,
        1,
        3_650,
        auth.key_rotation,
        "Age at which the key that signs access tokens is replaced. The old one verifies for another day."
    ),
    number!(
        "auth.login_per_minute_account",
        1,
        100_000,
        auth.login_per_minute_account,
        "Logins a minute to one account, from wherever they come."
    ),
    number!(
        "auth.login_per_minute_address",
        1,
        1_000_000,
        auth.login_per_minute_address,
        "Logins a minute from one IPv4 address or IPv6 /64. Behind a proxy all users share its address."
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
    text!(
        "gateway.name",
        Kind::Text,
        gateway.name,
        "Names this gateway; unique among those that share a bus."
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
        2,
        7_200,
        gateway.idle_timeout,
        "A socket not heard from for this long is closed. More than `gateway.ping_after_seconds`."
    ),
    number!(
        "gateway.max_sockets",
        1,
        1_000_000,
        gateway.max_sockets,
        "Sockets held at once; more are refused with 503. Stay below the process's limit of open files."
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
        "Commands a second that a socket may sustain."
    ),
    number!(
        "gateway.command_burst",
        1,
        1_000_000,
        gateway.command_burst,
        "Commands that a socket may send at once after a pause."
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
        "Over how long sockets are told to leave when the server stops, so that they do not all come back at once."
    ),
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
    Setting {
        key: "log.format",
        kind: Kind::Choice(&["text", "json"]),
        help: "`text` for people, `json` for programs: one object a line. The log goes to standard error.",
        get: |c| {
            Value::Text(match c.log.format {
                LogFormat::Text => "text".into(),
                LogFormat::Json => "json".into(),
            })
        },
        set: |c, v| {
            c.log.format = if v == Value::Text("json".into()) { LogFormat::Json } else { LogFormat::Text };
        },
    },
    text!(
        "log.level",
        Kind::Level,
        log.level,
        "What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,chat_server=debug`."
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
