//! One setting's value: reading it from what was given, checking it, showing it.

use std::{fmt, net::SocketAddr};

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// Any text, or none.
    OptionalText,
    /// An IP address with a port.
    Address,
    /// Path of a file or folder.
    Path,
    /// A path, or none.
    OptionalPath,
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// A whole number from the first to the second, or 0 for none.
    IntegerOrZero(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts; in a variable or flag, separated by commas.
    List,
    /// Directives for the level of logs, such as `info,chat_gateway=debug`.
    Level,
}

/// What was given, before it is known what the setting takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// By a variable or flag: anything may be meant.
    Untyped(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Something that no setting takes; with the name of its TOML type.
    Other(&'static str),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) | Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Other(name) => write!(f, "a value of type {name}"),
        }
    }
}

/// A value that its setting takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::Text`], [`Kind::Path`] and their optional forms, [`Kind::Choice`] and [`Kind::Level`].
    Text(String),
    /// Value of a [`Kind::Address`].
    Address(SocketAddr),
    /// For [`Kind::Integer`] and [`Kind::IntegerOrZero`].
    Integer(u64),
    /// Value of a [`Kind::List`].
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// Writes the value as TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => toml::Value::from(text.as_str()).fmt(f),
            Self::Address(address) => write!(f, "\"{address}\""),
            Self::Integer(number) => number.fmt(f),
            Self::List(items) => toml::Value::from(items.clone()).fmt(f),
        }
    }
}

impl Kind {
    /// Reads what was given.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn read(self, raw: &Raw) -> Result<Value, String> {
        let text = || match raw {
            Raw::Untyped(text) | Raw::Text(text) => Some(text.as_str()),
            _ => None,
        };
        let value = match self {
            Self::Text | Self::Path => text().filter(|t| !t.is_empty()).map(|t| Value::Text(t.into())),
            Self::OptionalText | Self::OptionalPath => text().map(|t| Value::Text(t.into())),
            Self::Level => text()
                .filter(|t| tracing_subscriber::EnvFilter::builder().parse(t).is_ok())
                .map(|t| Value::Text(t.into())),
            Self::Choice(words) => text().filter(|t| words.contains(t)).map(|t| Value::Text(t.into())),
            Self::Address => text().and_then(|t| t.parse().ok()).map(Value::Address),
            Self::Integer(min, max) => {
                number(raw).filter(|number| (min..=max).contains(number)).map(Value::Integer)
            }
            Self::IntegerOrZero(min, max) => {
                number(raw).filter(|number| *number == 0 || (min..=max).contains(number)).map(Value::Integer)
            }
            Self::List => match raw {
                Raw::List(items) => Some(Value::List(items.clone())),
                Raw::Untyped(text) => {
                    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                    Some(Value::List(items.map(Into::into).collect()))
                }
                _ => None,
            },
        };
        value.ok_or_else(|| self.expected())
    }

    /// What it takes, for a person.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Text => "a text that is not empty".into(),
            Self::OptionalText => "a text; empty for none".into(),
            Self::Path => "a path".into(),
            Self::OptionalPath => "a path; empty for none".into(),
            Self::Address => "an IP address with a port, such as 127.0.0.1:8080".into(),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::IntegerOrZero(min, max) => format!("0, or a whole number from {min} to {max}"),
            Self::Choice(words) => {
                words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
            }
            Self::List => "an array of strings".into(),
            Self::Level => {
                "error, warn, info, debug, trace, or directives such as info,chat_gateway=debug".into()
            }
        }
    }
}

fn number(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Untyped(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}
