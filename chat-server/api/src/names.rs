//! File names: what is kept of them, and how they are given to a browser.

use std::fmt::Write as _;

use chat_protocol::limits::MAX_FILE_NAME_BYTES;

/// The name without a path, without characters that are not for showing, and short enough; `file` when nothing is left
/// (ASVS 5.0 §5.4.1).
pub(super) fn sanitise(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown: String = last.chars().filter(|c| !c.is_control() && !is_invisible(*c)).collect();
    let name = shown.trim();
    let name = shorten(if name.chars().all(|c| c == '.') { "file" } else { name });
    name.trim().to_owned()
}

/// Marks that reorder or hide text, with which `gpj.exe` is made to look like `exe.jpg`.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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

/// `Content-Disposition` (RFC 6266 §4), the name as ASCII for old clients and in UTF-8 (RFC 8187 §3.2).
pub(super) fn content_disposition(inline: bool, name: &str) -> String {
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    let mut header = format!(r#"{}; filename="{ascii}""#, if inline { "inline" } else { "attachment" });
    header.push_str("; filename*=UTF-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            header.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(header, "%{byte:02X}");
        }
    }
    header
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

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(
            content_disposition(false, "a\"b\\ü;.txt"),
            r#"attachment; filename="a_b__;.txt"; filename*=UTF-8''a%22b%5C%C3%BC%3B.txt"#
        );
        assert_eq!(
            content_disposition(true, "cat.png"),
            r#"inline; filename="cat.png"; filename*=UTF-8''cat.png"#
        );
    }
}
