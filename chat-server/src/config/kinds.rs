//! How a setting of each kind is written down: what it takes, and how it is read from a configuration and set there.

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

/// A setting that is a path, or none.
macro_rules! path {
    ($key:literal, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: Kind::OptionalPath,
            help: $help,
            get: |c| Value::Text(c.$($path).+.display().to_string()),
            set: |c, v| {
                if let Value::Text(path) = v {
                    c.$($path).+ = path.into();
                }
            },
        }
    };
}

/// A setting that is a duration, given as a number of milliseconds.
macro_rules! milliseconds {
    ($key:literal, $min:expr, $max:expr, $($path:ident).+, $help:expr) => {
        Setting {
            key: $key,
            kind: Kind::Integer($min, $max),
            help: $help,
            get: |c| Value::Integer(u64::try_from(c.$($path).+.as_millis()).unwrap_or(u64::MAX)),
            set: |c, v| {
                if let Value::Integer(n) = v {
                    c.$($path).+ = Duration::from_millis(n);
                }
            },
        }
    };
}

/// A setting that is one of a few words, each for a value.
macro_rules! choice {
    ($key:literal, |$c:ident| $place:expr, $help:expr, $($word:literal => $value:path),+) => {
        Setting {
            key: $key,
            kind: Kind::Choice(&[$($word),+]),
            help: $help,
            get: |$c| Value::Text(match $place { $($value => $word),+ }.into()),
            set: |$c, v| match v {
                $(Value::Text(word) if word == $word => $place = $value,)+
                _ => {}
            },
        }
    };
}
