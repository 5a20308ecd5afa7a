//! How a file's name is given to a browser.

use std::fmt::Write as _;

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
