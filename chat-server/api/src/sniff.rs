//! The type of a file, found from its bytes and never from its name or what the sender claims (ASVS 5.0 §5.2.2).

/// How many of the first bytes are looked at for a signature; office documents need the most.
const HEAD_BYTES: usize = 8 * 1024;

/// Watches the bytes of a file go by.
#[derive(Debug, Default)]
pub(super) struct Sniffer {
    head: Vec<u8>,
    text: Text,
}

impl Sniffer {
    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let missing = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.text.feed(bytes);
    }

    /// The media type. Never one that a browser runs as a document: HTML, SVG and XML are plain text.
    pub(super) fn media_type(&self) -> &'static str {
        match infer::get(&self.head).map(|kind| kind.mime_type()) {
            Some(known) if !is_markup(known) => known,
            _ if self.text.is_text() => "text/plain",
            _ => "application/octet-stream",
        }
    }
}

fn is_markup(media_type: &str) -> bool {
    media_type.starts_with("text/") || media_type.ends_with("+xml") || media_type.ends_with("/xml")
}

/// Whether a type is an image that browsers show without running anything.
pub(super) fn is_plain_image(media_type: &str) -> bool {
    matches!(media_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif")
}

/// Whether the bytes so far are UTF-8 without control characters.
#[derive(Debug, Default)]
struct Text {
    broken: bool,
    /// The beginning of a character that the bytes so far end with; at most 3 bytes.
    partial: Vec<u8>,
}

impl Text {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !self.broken && !self.partial.is_empty() && !bytes.is_empty() {
            self.partial.push(bytes[0]);
            bytes = &bytes[1..];
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(e) => self.broken = e.error_len().is_some(),
            }
        }
        if self.broken || bytes.is_empty() {
            return;
        }
        let valid = match std::str::from_utf8(bytes) {
            Ok(_) => bytes,
            Err(e) if e.error_len().is_none() => {
                let (valid, partial) = bytes.split_at(e.valid_up_to());
                self.partial.extend_from_slice(partial);
                valid
            }
            Err(_) => {
                self.broken = true;
                return;
            }
        };
        self.broken =
            valid.iter().any(|b| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r' | b'\x0c'));
    }

    fn is_text(&self) -> bool {
        !self.broken && self.partial.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniffed(chunks: &[&[u8]]) -> &'static str {
        let mut sniffer = Sniffer::default();
        for chunk in chunks {
            sniffer.feed(chunk);
        }
        sniffer.media_type()
    }

    #[test]
    fn types_come_from_the_bytes() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(sniffed(&[bytes]), expected, "{:?}", String::from_utf8_lossy(bytes));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(sniffed(&single), expected, "byte by byte: {:?}", String::from_utf8_lossy(bytes));
        };
        check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png");
        check(b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg");
        check(b"GIF89a\x01\0\x01\0", "image/gif");
        check(b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp");
        check(b"%PDF-1.7\n", "application/pdf");
        check(b"PK\x03\x04\x14\0\0\0", "application/zip");
        check("Grüße 👍\n".as_bytes(), "text/plain");
        check(b"<!DOCTYPE html><script>alert(1)</script>", "text/plain");
        check(b"<html><body onload=alert(1)>", "text/plain");
        check(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "text/plain");
        check(b"<?xml version='1.0'?><a/>", "text/plain");
        check(b"#!/bin/sh\necho", "text/plain");
        check(b"<html>\0\x01", "application/octet-stream");
        check(b"text, then \xff", "application/octet-stream");
        check(b"cut character \xf0\x9f\x91", "application/octet-stream");
        check(b"\x1b[31mred", "application/octet-stream");
    }

    #[test]
    fn only_images_that_run_nothing_are_shown_in_place() {
        assert!(is_plain_image("image/png"));
        for other in ["image/svg+xml", "text/html", "application/pdf", "image/x-icon"] {
            assert!(!is_plain_image(other), "{other}");
        }
    }
}
