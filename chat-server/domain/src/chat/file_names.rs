//! What is kept of the name of a file.

use chat_log::text::without_tricks;
use chat_protocol::limits::MAX_FILE_NAME_BYTES;

/// The name without a path, without characters that are not for showing, and short enough; `file` when nothing is left
/// (ASVS 5.0 §5.4.1).
pub(super) fn sanitise(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown: String = without_tricks(last).filter(|c| !c.is_control() && !is_break(*c)).collect();
    let name = shown.trim();
    let name = shorten(if name.chars().all(|c| c == '.') { "file" } else { name });
    name.trim().to_owned()
}

/// Of lines and paragraphs.
const fn is_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Cuts the middle out of a name that is too long, so that its extension stays.
fn shorten(name: &str) -> String {
    if name.len() <= MAX_FILE_NAME_BYTES {
        return name.to_owned();
    }
    let extension = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 16 => &name[dot..],
        _ => "",
    };
    let mut end = MAX_FILE_NAME_BYTES - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_paths_and_what_deceives() {
        for (given, kept) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "passwd"),
            (r"C:\Users\ada\cat.png", "cat.png"),
            ("a\u{0}b\r\nc.txt", "abc.txt"),
            ("invoice\u{202e}gpj.exe", "invoicegpj.exe"),
            ("übergröße 👍.txt", "übergröße 👍.txt"),
            ("می\u{200c}خواهم.txt", "می\u{200c}خواهم.txt"),
            ("क्\u{200d}ष.txt", "क्\u{200d}ष.txt"),
            ("👩\u{200d}🚀.png", "👩\u{200d}🚀.png"),
            ("no\u{200c}thing\u{200d}\u{ad}\u{2800}.txt", "nothing.txt"),
            ("\u{200b}\u{2060}", "file"),
            ("  padded.txt  ", "padded.txt"),
            ("", "file"),
            ("..", "file"),
            ("dir/", "file"),
        ] {
            assert_eq!(sanitise(given), kept, "{given:?}");
        }
        let long = sanitise(&format!("{}.tar.gz", "ä".repeat(300)));
        assert!(long.len() <= MAX_FILE_NAME_BYTES && long.ends_with("ä.gz"), "{long}");
    }
}
