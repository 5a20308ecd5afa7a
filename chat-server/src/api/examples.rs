//! One frame of every kind, for people who write a client. Made from the types, so they cannot be wrong.

use chat_protocol::{
    ChannelId, ChannelKind, ChannelState, ClientFrame, ClientId, ErrorCode, Event, EventBody, FileId,
    FileRef, Generation, PresenceStatus, ServerFrame, SessionId, UserId, UserPresence,
};
use serde_json::Value;
use uuid::Uuid;

/// A moment in 2026, in milliseconds.
const AT: u64 = 1_780_000_000_000;

const fn id(last: u128) -> Uuid {
    Uuid::from_u128(0x0199_f3a0_5d10_7c4e_8b21_0000_0000_0000 + last)
}

const GENERAL: ChannelId = ChannelId(id(0xC1));
const ADA: UserId = UserId(id(0xA1));
const GRACE: UserId = UserId(id(0xA2));
const SESSION: SessionId = SessionId(id(0x51));
const PLAN: FileId = FileId(id(0xF1));
const COMMAND: ClientId = ClientId(id(0xD1));

fn written(frames: &[impl serde::Serialize]) -> Vec<Value> {
    frames.iter().filter_map(|frame| serde_json::to_value(frame).ok()).collect()
}

/// What clients send.
pub(super) fn client_frames() -> Vec<Value> {
    let id = Some(COMMAND);
    written(&[
        ClientFrame::Hello { token: "eyJ…".into(), client: Some("example/1.0".into()) },
        ClientFrame::Send {
            id: COMMAND,
            channel: GENERAL,
            text: "Shall we meet at **three**?".into(),
            files: vec![],
            seen: Some(41),
        },
        ClientFrame::Send {
            id: COMMAND,
            channel: GENERAL,
            text: "The plan".into(),
            files: vec![PLAN],
            seen: None,
        },
        ClientFrame::Edit {
            id: COMMAND,
            channel: GENERAL,
            target: 42,
            text: "Shall we meet at **four**?".into(),
        },
        ClientFrame::Delete { id: COMMAND, channel: GENERAL, target: 42 },
        ClientFrame::Read { id: None, channel: GENERAL, seq: 42 },
        ClientFrame::Typing { id: None, channel: GENERAL },
        ClientFrame::Watch { id: None, users: vec![ADA, GRACE] },
        ClientFrame::Sync { id, channel: GENERAL, after: 38 },
        ClientFrame::Ping { id },
    ])
}

/// What the server sends.
pub(super) fn server_frames() -> Vec<Value> {
    let mut frames = vec![
        ServerFrame::Welcome {
            user: ADA,
            session: SESSION,
            gateway: "gateway-0".into(),
            now: AT,
            heartbeat_ms: 30_000,
            generation: Some(Generation(id(0xE1))),
            channels: vec![ChannelState { channel: GENERAL, head: 42, read: 40, unread: Some(2) }],
        },
        ServerFrame::Ack { id: COMMAND, channel: GENERAL, seq: 42, at: AT, duplicate: false },
        ServerFrame::Ack { id: COMMAND, channel: GENERAL, seq: 42, at: AT, duplicate: true },
        ServerFrame::Error {
            id: Some(COMMAND),
            code: ErrorCode::RateLimited,
            message: "too many requests; try again in 250 ms".into(),
            retryable: true,
            retry_after_ms: Some(250),
        },
        ServerFrame::Error {
            id: None,
            code: ErrorCode::Malformed,
            message: "expected a JSON object with a type".into(),
            retryable: false,
            retry_after_ms: None,
        },
        ServerFrame::Synced { id: Some(COMMAND), channel: GENERAL, head: 42, recovered: true },
        ServerFrame::Presence {
            users: vec![
                UserPresence { user: ADA, status: PresenceStatus::Online },
                UserPresence { user: GRACE, status: PresenceStatus::Offline },
            ],
        },
        ServerFrame::Typing { channel: GENERAL, user: GRACE },
        ServerFrame::Read { channel: GENERAL, seq: 42, unread: Some(0) },
        ServerFrame::Pong { id: Some(COMMAND) },
        ServerFrame::Reconnect { after_ms: 4_200 },
    ];
    frames.extend(bodies().into_iter().zip(1..).map(|(body, seq)| {
        let id = matches!(body, EventBody::Message { .. } | EventBody::Edited { .. }).then_some(COMMAND);
        ServerFrame::Event(Event { channel: GENERAL, seq, at: AT, by: ADA, id, body })
    }));
    written(&frames)
}

/// One event of every kind.
fn bodies() -> Vec<EventBody> {
    let plan =
        FileRef { id: PLAN, name: "plan.pdf".into(), media_type: "application/pdf".into(), size: 48_213 };
    vec![
        EventBody::ChannelCreated {
            channel_kind: ChannelKind::Public,
            name: Some("general".into()),
            topic: "For everybody".into(),
        },
        EventBody::MemberJoined { user: ADA },
        EventBody::Message { text: "Shall we meet at **three**?".into(), files: vec![], deleted: false },
        EventBody::Message { text: "The plan".into(), files: vec![plan], deleted: false },
        EventBody::Edited { target: 3, text: "Shall we meet at **four**?".into(), deleted: false },
        EventBody::Deleted { target: 4 },
        EventBody::Renamed { name: "lobby".into() },
        EventBody::TopicChanged { topic: "Come in".into() },
        EventBody::Archived { archived: true },
        EventBody::MemberLeft { user: GRACE },
    ]
}
