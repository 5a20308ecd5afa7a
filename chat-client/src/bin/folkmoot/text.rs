//! What others wrote, made safe for a terminal; times and colours.

use std::fmt::Write as _;

use chat_protocol::Millis;

/// Text of others for one line of a terminal: control characters could move the cursor, change its title or fake
/// what was said (CWE-150), and bidirectional overrides could reorder it (CVE-2021-42574).
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { visible(c) }).collect()
}

/// The same for several lines; the second and later ones begin with `indent`.
pub(crate) fn lines(text: &str, indent: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().replace("\r\n", "\n").chars() {
        match c {
            '\n' => {
                out.push('\n');
                out.push_str(indent);
            }
            '\t' => out.push_str("    "),
            c => out.push(visible(c)),
        }
    }
    out
}

fn visible(c: char) -> char {
    let hidden = c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    if hidden { '\u{FFFD}' } else { c }
}

/// The local time of day, with the date when it is not today.
pub(crate) fn time(at: Millis) -> String {
    let zone = jiff::tz::TimeZone::system();
    let Some(at) = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok()) else {
        return "?".to_owned();
    };
    let (at, now) = (zone.to_datetime(at), zone.to_datetime(jiff::Timestamp::now()));
    let format = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(format).to_string()
}

/// A size in bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
    }
}

/// Colours, when the output is a terminal and nobody asked for none (<https://no-color.org>).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn for_terminal(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(is_terminal && !refused && !dumb)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.sgr("31", text)
    }

    /// A name in a colour of its own, the same each time.
    pub(crate) fn name(self, name: &str) -> String {
        const COLOURS: [&str; 6] = ["1;32", "1;33", "1;34", "1;35", "1;36", "1;91"];
        let sum = name.bytes().fold(0usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        self.sgr(COLOURS[sum % COLOURS.len()], name)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + 12);
        // Writing to a string cannot fail.
        let _ = write!(out, "\u{1b}[{code}m{text}\u{1b}[0m");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        let hostile = "a\u{1b}[2J\u{1b}]0;pwned\u{7}\u{9b}31m\rb\u{8}\u{202e}c\u{0}";
        for safe in [one_line(hostile), lines(hostile, "  ")] {
            assert!(!safe.chars().any(|c| c.is_control() || c == '\u{202e}'), "{safe:?}");
        }
        assert_eq!(one_line("one\ntwo\tthree"), "one two three");
        assert_eq!(lines("one\r\ntwo\n", "  "), "one\n  two");
        assert_eq!(lines("héllo 👍🏽 日本", ""), "héllo 👍🏽 日本");
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1_572_864, "1.5 MiB"), (26_214_400, "25.0 MiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn no_colours_off_a_terminal() {
        assert_eq!(Paint::for_terminal(false).name("ada"), "ada");
    }
}
