//! The text of a message, which follows from its number: the log can be checked to hold what was sent.

/// The text of message `index`, `size` bytes long, of characters that JSON does not escape.
#[must_use]
pub fn message_text(index: u32, size: u32) -> String {
    const FILLER: &str = "the quick brown fox jumps over the lazy dog and back again ";
    let size = size as usize;
    let mut text = format!("{index:08x} ");
    while text.len() < size {
        text.push_str(FILLER);
    }
    text.truncate(size);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_size_and_differ() {
        for size in [1, 8, 9, 200, 4096] {
            assert_eq!(message_text(7, size).len(), size as usize);
        }
        assert_ne!(message_text(1, 200), message_text(2, 200));
        let json = serde_json::to_string(&message_text(3, 500)).expect("serialises");
        assert_eq!(json.len(), 502, "nothing is escaped");
    }
}
