//! What was given, and where: TOML file, environment, flags.

use std::{fmt, path::Path};

use toml::de::{DeTable, DeValue};

use super::{Problem, Raw, SETTINGS};

/// What all our environment variables begin with.
const PREFIX: &str = "FOLKMOOT_";
/// What separates section and key in a variable's name.
const SEPARATOR: &str = "__";
/// A variable of ours without a separator is taken for a mistyped one when it is this close to a known one. The
/// command line client has variables without a separator, which are none of our business.
const MISTYPED: usize = 2;

/// Where something was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, from 1.
    File {
        /// The file, as it was named.
        path: String,
        /// Number of the line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Something that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// For which key, known or not.
    pub key: String,
    /// The value as it was given.
    pub raw: Raw,
    /// Where it was given.
    pub origin: Origin,
}

/// What a TOML file gives; what cannot be read is added to `problems`.
pub fn from_file(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let shown = path.display().to_string();
    let at = |offset: usize| Origin::File { path: shown.clone(), line: line_of(text, offset) };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let origin = at(error.span().map_or(0, |span| span.start));
        problems.push(Problem::new(Some(origin), error.message().to_owned()));
    }
    let mut given = Vec::new();
    for (section, value) in table.get_ref() {
        let section_name = section.get_ref();
        let DeValue::Table(keys) = value.get_ref() else {
            // A key outside of any section; no setting is called so.
            let (raw, origin) = (raw(value.get_ref()), at(section.span().start));
            given.push(Assignment { key: section_name.to_string(), raw, origin });
            continue;
        };
        if keys.is_empty() && !SETTINGS.iter().any(|setting| setting.section() == section_name.as_ref()) {
            let known = SETTINGS.iter().map(super::Setting::section);
            let nearest = super::resolve::nearest(section_name, known).unwrap_or_default();
            let text = format!("unknown section [{section_name}], did you mean [{nearest}]?");
            problems.push(Problem::new(Some(at(section.span().start)), text));
        }
        for (key, value) in keys {
            given.push(Assignment {
                key: format!("{section_name}.{}", key.get_ref()),
                raw: raw(value.get_ref()),
                origin: at(key.span().start),
            });
        }
    }
    given
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Other("integer"), Raw::Integer)
        }
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(Raw::Other("array"), Raw::List),
        other => Raw::Other(other.type_str()),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// What the environment gives.
pub fn from_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Vec<Assignment> {
    let mut given = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if let Some((section, key)) = rest.split_once(SEPARATOR) {
            let key = format!("{}.{}", section.to_lowercase(), key.to_lowercase());
            given.push(Assignment { key, raw: Raw::Untyped(value), origin: Origin::Variable(name) });
        } else if let Some(meant) = mistyped(&name) {
            let text = format!("unknown variable, did you mean {meant}?");
            problems.push(Problem::new(Some(Origin::Variable(name)), text));
        }
    }
    given
}

fn mistyped(name: &str) -> Option<String> {
    SETTINGS
        .iter()
        .map(|setting| variable_name(setting.key))
        .find(|known| strsim::damerau_levenshtein(known, name) <= MISTYPED)
}

/// The variable of a key.
#[must_use]
pub fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', SEPARATOR).to_uppercase())
}

/// What a flag gives for a key.
#[must_use]
pub fn from_flag(flag: &str, key: &str, value: impl Into<String>) -> Assignment {
    Assignment { key: key.into(), raw: Raw::Untyped(value.into()), origin: Origin::Flag(flag.into()) }
}
