//! As much of Cassandra's protocol (native protocol v4) as it takes to see that somebody speaks it: `OPTIONS`, which asks for no
//! login, and what comes back.

/// The request: version 4, no flags, stream 0, opcode `OPTIONS`, no body.
pub(super) const OPTIONS: [u8; HEADER] = [0x04, 0, 0, 0, 0x05, 0, 0, 0, 0];
/// Bytes of a frame's header.
pub(super) const HEADER: usize = 9;
/// Longest body of an error that is read, in bytes.
const MAX_ERROR: usize = 4 * 1024;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is Cassandra, and it serves.
    Supported,
    /// It is Cassandra, and an error with a body of this many bytes follows.
    Error(usize),
    /// It is something else.
    Other,
}

/// Reads a header.
pub(super) fn answer(header: [u8; HEADER]) -> Answer {
    let [version, _, _, _, opcode, a, b, c, d] = header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    match (version, opcode) {
        // The version of an error is the server's own when it does not know ours.
        (0x83..=0x85, 0x00) => Answer::Error(length.min(MAX_ERROR)),
        (0x84, 0x06) => Answer::Supported,
        _ => Answer::Other,
    }
}

/// The text of an error's body: a code, a length and so many bytes.
pub(super) fn error_text(body: &[u8]) -> String {
    let length = body.get(4..6).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    let text = body.get(6..).unwrap_or_default();
    String::from_utf8_lossy(&text[..length.min(text.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_distinguished() {
        for (header, expected) in [
            ([0x84, 0, 0, 0, 0x06, 0, 0, 0, 90], Answer::Supported),
            ([0x84, 0, 0, 0, 0x00, 0, 0, 0, 7], Answer::Error(7)),
            ([0x85, 0, 0, 0, 0x00, 0, 0, 1, 0], Answer::Error(256)),
            ([0x84, 0, 0, 0, 0x00, 0xff, 0xff, 0xff, 0xff], Answer::Error(MAX_ERROR)),
            (*b"HTTP/1.1 ", Answer::Other),
            (OPTIONS, Answer::Other),
        ] {
            assert_eq!(answer(header), expected, "{header:?}");
        }
    }

    #[test]
    fn the_text_of_an_error_is_never_read_beyond_its_end() {
        for (body, text) in [
            (&b"\0\0\0\x0a\0\x05helloXX"[..], "hello"),
            (b"\0\0\0\x0a\xff\xffhel", "hel"),
            (b"\0\0\0\x0a\0", ""),
            (b"", ""),
        ] {
            assert_eq!(error_text(body), text);
        }
    }
}
