use std::time::{Duration, Instant};

use chat_protocol::{ChannelId, ClientFrame, ClientId, ErrorCode};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Outbox, RESEND_WINDOW, SendError};
use crate::Backoff;

const BACKOFF: Backoff = Backoff { base: Duration::from_millis(10), cap: Duration::from_secs(1) };
const LATER: Duration = Duration::from_secs(60);

fn channel(n: u128) -> ChannelId {
    ChannelId(Uuid::from_u128(n))
}

fn outbox(commands: &[(u32, u128)]) -> Outbox<u32> {
    let mut outbox = Outbox::new(100, BACKOFF);
    for (n, to) in commands {
        push(&mut outbox, *n, *to).expect("it fits");
    }
    outbox
}

fn id(n: u32) -> ClientId {
    ClientId(Uuid::from_u128(u128::from(n)))
}

fn push(outbox: &mut Outbox<u32>, n: u32, to: u128) -> Result<(), (u32, SendError)> {
    let frame =
        ClientFrame::Send { id: id(n), channel: channel(to), text: n.to_string(), files: vec![], seen: None };
    outbox.push(id(n), channel(to), frame, n)
}

fn next(outbox: &mut Outbox<u32>, now: Instant) -> Option<u32> {
    outbox.next(now).map(|frame| match frame {
        ClientFrame::Send { text, .. } => text.parse().expect("a number"),
        other => panic!("expected a send, got {other:?}"),
    })
}

#[test]
fn one_of_a_channel_is_under_way_at_a_time() {
    let now = Instant::now();
    let mut outbox = outbox(&[(1, 1), (2, 1), (3, 2)]);
    assert_eq!(next(&mut outbox, now), Some(1));
    assert_eq!(next(&mut outbox, now), Some(3), "another channel does not wait");
    assert_eq!(next(&mut outbox, now), None);
    assert_eq!(outbox.acked(id(1)), Some(1));
    assert_eq!(next(&mut outbox, now), Some(2));
}

#[test]
fn changes_by_position_are_taken_out_and_sends_stay() {
    let now = Instant::now();
    let mut outbox = outbox(&[(1, 1)]);
    let edit = ClientFrame::Edit { id: id(2), channel: channel(2), target: 7, text: "x".into() };
    let delete = ClientFrame::Delete { id: id(3), channel: channel(3), target: 7 };
    outbox.push(id(2), channel(2), edit, 2).expect("it fits");
    outbox.push(id(3), channel(3), delete, 3).expect("it fits");
    push(&mut outbox, 4, 2).expect("it fits");
    while outbox.next(now).is_some() {}
    assert_eq!(outbox.without_changes(), [2, 3]);
    assert_eq!((outbox.len(), outbox.under_way()), (2, 1));
    assert_eq!(next(&mut outbox, now), Some(4), "nothing stands before it any more");
}

#[test]
fn what_is_refused_for_the_moment_waits_as_asked_and_is_not_overtaken() {
    let now = Instant::now();
    let mut outbox = outbox(&[(1, 1), (2, 1)]);
    assert_eq!(next(&mut outbox, now), Some(1));
    let wait = Duration::from_millis(500);
    assert_eq!(outbox.refused(id(1), ErrorCode::Overloaded, true, Some(wait), now), None);
    assert_eq!(next(&mut outbox, now + wait / 2), None);
    assert!(outbox.wake_at(now).is_some_and(|wake| wake >= now + wait));
    assert_eq!(next(&mut outbox, now + LATER), Some(1));
}

#[test]
fn a_long_outage_does_not_keep_it_away_once_the_server_is_well() {
    let mut now = Instant::now();
    let mut outbox = Outbox::new(100, Backoff::DEFAULT);
    push(&mut outbox, 1, 1).expect("it fits");
    let after = Duration::from_secs(1);
    for _ in 0..100 {
        assert_eq!(next(&mut outbox, now), Some(1));
        assert!(outbox.refused(id(1), ErrorCode::Overloaded, true, Some(after), now).is_none());
        let wake = outbox.wake_at(now).expect("it waits");
        assert!((now + after..=now + after + Duration::from_secs(2)).contains(&wake));
        now = wake;
    }
}

#[test]
fn a_final_refusal_lets_the_next_one_go() {
    let now = Instant::now();
    let mut outbox = outbox(&[(1, 1), (2, 1)]);
    assert_eq!(next(&mut outbox, now), Some(1));
    assert_eq!(outbox.refused(id(1), ErrorCode::Forbidden, false, None, now), Some(1));
    assert_eq!(next(&mut outbox, now), Some(2));
}

#[test]
fn a_bug_of_the_server_is_not_asked_for_ever() {
    let mut now = Instant::now();
    let mut outbox = outbox(&[(1, 1)]);
    let mut refusals = 0;
    loop {
        assert_eq!(next(&mut outbox, now), Some(1));
        refusals += 1;
        if outbox.refused(id(1), ErrorCode::Internal, true, None, now).is_some() {
            break;
        }
        now += LATER;
    }
    assert_eq!(refusals, super::MAX_INTERNAL);
}

#[test]
fn after_a_reconnect_everything_unanswered_goes_again_in_order() {
    let now = Instant::now();
    let mut outbox = outbox(&[(1, 1), (2, 1), (3, 2)]);
    assert_eq!(next(&mut outbox, now), Some(1));
    assert_eq!(next(&mut outbox, now), Some(3));
    outbox.disconnected();
    assert_eq!(outbox.under_way(), 0);
    assert_eq!(next(&mut outbox, now), Some(1));
    assert_eq!(next(&mut outbox, now), Some(3));
}

#[test]
fn it_is_bounded() {
    let mut outbox = Outbox::new(1, BACKOFF);
    push(&mut outbox, 1, 1).expect("there is room");
    assert_eq!(push(&mut outbox, 2, 1), Err((2, SendError::OutboxFull)));
    let text = "\u{1}".repeat(12_000);
    let frame = ClientFrame::Send { id: id(3), channel: channel(1), text, files: vec![], seen: None };
    let mut outbox = Outbox::new(1, BACKOFF);
    assert!(matches!(outbox.push(id(3), channel(1), frame, 3), Err((3, SendError::TooLarge(_)))));
}

#[test]
fn what_may_have_been_sent_a_day_ago_is_not_sent_again() {
    let now = Instant::now();
    let mut outbox = outbox(&[(1, 1), (2, 1)]);
    assert_eq!(next(&mut outbox, now), Some(1));
    assert!(outbox.expired(now + RESEND_WINDOW).is_empty());
    assert_eq!(outbox.expired(now + RESEND_WINDOW + LATER), [1]);
    assert_eq!(next(&mut outbox, now), Some(2), "what was never sent is safe to send");
}

proptest! {
    /// A server that commits by id, refuses and loses connections at will.
    #[test]
    fn each_command_is_committed_once_and_in_the_order_of_its_channel(
        to in proptest::collection::vec(0u128..3, 1..30),
        fate in proptest::collection::vec(0u8..5, 0..200),
    ) {
        let mut now = Instant::now();
        let commands: Vec<(u32, u128)> = (0u32..).zip(to.iter().copied()).collect();
        let mut outbox = outbox(&commands);
        let mut committed: Vec<u32> = Vec::new();
        let mut fate = fate.into_iter();
        while outbox.len() > 0 {
            now += LATER;
            let wire: Vec<u32> = std::iter::from_fn(|| next(&mut outbox, now)).collect();
            prop_assert!(!wire.is_empty(), "something can always go");
            for n in wire {
                let fate = fate.next().unwrap_or(4);
                if fate >= 2 && !committed.contains(&n) {
                    committed.push(n);
                }
                match fate {
                    // Refused for the moment; lost before or after the commit; acknowledged.
                    0 => prop_assert!(outbox.refused(id(n), ErrorCode::RateLimited, true, None, now).is_none()),
                    1 | 2 => {
                        outbox.disconnected();
                        break;
                    }
                    _ => prop_assert_eq!(outbox.acked(id(n)), Some(n)),
                }
            }
        }
        for channel in 0..3 {
            let of_channel = |n: &&u32| to[**n as usize] == channel;
            let got: Vec<_> = committed.iter().filter(of_channel).collect();
            let mut sorted = got.clone();
            sorted.sort_unstable();
            prop_assert_eq!(got, sorted);
        }
        prop_assert_eq!(committed.len(), commands.len());
    }
}

#[test]
fn what_was_seen_is_not_claimed_when_a_message_is_sent_again() {
    let mut outbox = Outbox::new(10, Backoff::default());
    let now = Instant::now();
    let frame = ClientFrame::Send {
        id: id(1),
        channel: channel(1),
        text: "hi".into(),
        files: vec![],
        seen: Some(41),
    };
    outbox.push(id(1), channel(1), frame.clone(), 1).expect("there is room");
    assert_eq!(outbox.next(now), Some(frame));
    outbox.disconnected();
    assert!(matches!(outbox.next(now), Some(ClientFrame::Send { seen: None, .. })));
}
