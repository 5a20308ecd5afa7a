//! `docs/protocol.md` agrees with the types: its examples are read with them, its tables name all of their codes.

use chat_protocol::{
    ClientFrame, CloseCode, ErrorCode, EventBody, Problem, ServerFrame, rest::TokenResponse,
};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The fenced blocks of one kind, such as `json client`.
fn blocks(kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```").filter(|info| !info.is_empty()) {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if found == kind {
                blocks.push(block.join("\n"));
            }
        }
    }
    assert!(!blocks.is_empty(), "the page has examples of {kind}");
    blocks
}

/// The row of a table that begins with these cells.
fn row(cells: &str) -> &'static str {
    let start = format!("| {cells} |");
    PAGE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row for {cells}"))
}

#[test]
fn examples_are_frames_as_the_types_read_them() {
    for json in blocks("json client") {
        serde_json::from_str::<ClientFrame>(&json).unwrap_or_else(|e| panic!("{e} in {json}"));
    }
    for json in blocks("json server") {
        let frame: ServerFrame = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e} in {json}"));
        assert_ne!(frame, ServerFrame::Unknown, "{json}");
        if let ServerFrame::Event(event) = frame {
            assert_ne!(event.body, EventBody::Unknown, "{json}");
        }
    }
    for json in blocks("json problem") {
        let problem: Problem = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e} in {json}"));
        assert_eq!(problem.status, problem.code.status(), "{json}");
        assert_eq!(problem.title, problem.code.title(), "{json}");
    }
    for json in blocks("json") {
        serde_json::from_str::<TokenResponse>(&json).unwrap_or_else(|e| panic!("{e} in {json}"));
    }
}

#[test]
fn every_frame_a_client_can_send_has_an_example() {
    let shown = blocks("json client").join("\n");
    for kind in ClientFrame::TYPES {
        assert!(shown.contains(&format!(r#""type":"{kind}""#)), "no example of {kind}");
    }
}

#[test]
fn every_close_code_has_its_row_and_says_whether_to_reconnect() {
    for code in CloseCode::ALL {
        let row = row(&code.code().to_string());
        assert!(row.contains(&format!("`{code:?}`")), "{row}");
        if code.resumable() {
            assert!(row.contains("| reconnect "), "{row}");
        } else {
            assert!(!row.contains("| reconnect "), "{row}");
        }
    }
}

#[test]
fn every_error_code_has_its_row_with_its_status() {
    let all = [
        ErrorCode::Malformed,
        ErrorCode::UnknownType,
        ErrorCode::Invalid,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::Conflict,
        ErrorCode::TooManyReactions,
        ErrorCode::Archived,
        ErrorCode::TooLarge,
        ErrorCode::NoSpace,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::RangeNotSatisfiable,
        ErrorCode::MethodNotAllowed,
        ErrorCode::RateLimited,
        ErrorCode::Overloaded,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
    ];
    for code in all {
        let name = serde_json::to_string(&code).expect("a code is a string").replace('"', "`");
        let row = row(&format!("{name} | {}", code.status()));
        assert_eq!(row.contains("| yes"), code.retryable(), "{row}");
    }
}
