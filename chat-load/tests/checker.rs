//! The checker finds what was planted, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use chat_load::history::{
    Verdict,
    record::{Record, RecordedEvent, replay},
};
use chat_protocol::{ChannelId, ClientId, UserId};
use proptest::prelude::*;
use uuid::Uuid;

const CHANNEL: ChannelId = ChannelId(Uuid::from_u128(0xc));

fn event(seq: u64, name: u128) -> RecordedEvent {
    let id = Some(ClientId(Uuid::from_u128(name)));
    RecordedEvent { channel: CHANNEL, seq, at: 1_000 + seq, by: UserId(Uuid::from_u128(1)), id }
}

/// A run in which events 1..=n were sent, acked, logged, and received live by `receivers`.
fn clean(n: u64, receivers: u32) -> Vec<Record> {
    let mut run: Vec<Record> =
        (0..receivers).map(|receiver| Record::Receiver { receiver, channel: CHANNEL, base: 0 }).collect();
    for seq in 1..=n {
        let event = event(seq, u128::from(seq));
        run.push(Record::Ack { channel: CHANNEL, seq, id: event.id.unwrap() });
        run.extend((0..receivers).map(|receiver| Record::Delivery { receiver, catching_up: false, event }));
    }
    run.extend((1..=n).map(|seq| Record::Log { event: event(seq, u128::from(seq)) }));
    run
}

fn check(run: &[Record]) -> Verdict {
    let lines: Vec<String> = run.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    replay(lines.join("\n").as_bytes()).unwrap()
}

fn position(run: &[Record], matches: impl Fn(&Record) -> bool) -> usize {
    run.iter().position(matches).unwrap()
}

fn delivery_to_0(seq: u64) -> impl Fn(&Record) -> bool {
    move |r| matches!(r, Record::Delivery { receiver: 0, event, .. } if event.seq == seq)
}

fn logged(seq: u64) -> impl Fn(&Record) -> bool {
    move |r| matches!(r, Record::Log { event } if event.seq == seq)
}

#[test]
fn a_clean_run_is_clean() {
    let verdict = check(&clean(10, 3));
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.expected, verdict.delivered), (30, 30));
}

#[test]
fn a_delivery_that_never_came_is_lost() {
    for seq in [1, 5, 10] {
        let mut run = clean(10, 2);
        run.remove(position(&run, delivery_to_0(seq)));
        let verdict = check(&run);
        assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (1, 0, 0), "seq {seq}");
        assert_eq!((verdict.expected, verdict.delivered), (20, 19));
    }
}

#[test]
fn a_delivery_that_came_twice_is_duplicated() {
    let mut run = clean(10, 2);
    let at = position(&run, delivery_to_0(4));
    run.insert(at + 1, run[at].clone());
    let verdict = check(&run);
    assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 1, 0));
}

#[test]
fn two_deliveries_that_were_swapped_are_out_of_order() {
    let mut run = clean(10, 2);
    let (a, b) = (position(&run, delivery_to_0(4)), position(&run, delivery_to_0(5)));
    run.swap(a, b);
    let verdict = check(&run);
    assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 0, 1));
}

#[test]
fn a_receiver_that_saw_two_events_at_each_others_positions_is_out_of_order() {
    let mut run = clean(10, 2);
    for (seq, name) in [(4, 5), (5, 4)] {
        let at = position(&run, delivery_to_0(seq));
        run[at] = Record::Delivery { receiver: 0, catching_up: false, event: event(seq, name) };
    }
    let verdict = check(&run);
    assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 0, 1));
}

#[test]
fn an_ack_with_another_seq_than_the_log_is_out_of_order() {
    let mut run = clean(10, 2);
    let at = position(&run, |r| matches!(r, Record::Ack { seq: 3, .. }));
    run[at] = Record::Ack { channel: CHANNEL, seq: 4, id: ClientId(Uuid::from_u128(3)) };
    let verdict = check(&run);
    assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 0, 1));
}

#[test]
fn a_send_that_was_acked_and_is_in_no_log_is_lost() {
    let mut run = clean(10, 2);
    run.push(Record::Ack { channel: CHANNEL, seq: 11, id: ClientId(Uuid::from_u128(99)) });
    assert_eq!(check(&run).lost, 1);
    let elsewhere = ChannelId(Uuid::from_u128(0xd));
    run.push(Record::Ack { channel: elsewhere, seq: 1, id: ClientId(Uuid::from_u128(1)) });
    assert_eq!(check(&run).lost, 2, "an ack that names another channel is not kept either");
}

#[test]
fn a_hole_in_the_log_is_lost() {
    let mut run = clean(10, 0);
    run.remove(position(&run, logged(6)));
    let verdict = check(&run);
    assert_eq!(verdict.lost, 2, "the hole, and the send that was acked there");
}

#[test]
fn a_log_that_ends_before_what_was_delivered_is_lost() {
    let mut run = clean(10, 2);
    run.remove(position(&run, logged(10)));
    let verdict = check(&run);
    assert_eq!(verdict.lost, 3, "the acked send, and what two receivers have of it");
}

#[test]
fn a_send_that_is_in_the_log_twice_is_duplicated() {
    let mut run = clean(10, 0);
    run.push(Record::Log { event: event(11, 7) });
    assert_eq!(check(&run).duplicated, 1);
}

#[test]
fn a_log_that_goes_back_is_out_of_order() {
    let mut run = clean(10, 0);
    let at = position(&run, logged(4));
    run.swap(at, at + 1);
    let verdict = check(&run);
    assert!(!verdict.is_clean() && verdict.out_of_order > 0, "{verdict:?}");
}

#[test]
fn a_resumed_receiver_may_get_old_events_again() {
    let mut run = clean(10, 1);
    let at = position(&run, delivery_to_0(6));
    let again = |seq| Record::Delivery { receiver: 0, catching_up: true, event: event(seq, u128::from(seq)) };
    run.splice(at..at, [Record::Reconnected { receiver: 0 }, again(4), again(5)]);
    assert!(check(&run).is_clean());
}

#[test]
fn what_is_no_record_is_refused_with_its_line() {
    let error = replay(&b"{\"record\":\"reconnected\",\"receiver\":1}\n{}"[..]).unwrap_err();
    assert_eq!(error.to_string(), "expected line 2 to be a record");
    let stranger = serde_json::to_string(&clean(1, 1)[2]).unwrap();
    assert!(replay(stranger.as_bytes()).is_err());
}

proptest! {
    /// Whatever is dropped, doubled or moved among the deliveries of a clean run, is told, by its kind.
    #[test]
    fn any_planted_fault_is_found(n in 2u64..30, at in 0usize..1000, to in 0usize..1000, fault in 0u8..3) {
        let mut run = clean(n, 2);
        let deliveries: Vec<usize> = (0..run.len()).filter(|i| matches!(run[*i], Record::Delivery { receiver: 1, .. })).collect();
        let (at, to) = (deliveries[at % deliveries.len()], deliveries[to % deliveries.len()]);
        match fault {
            0 => { run.remove(at); }
            1 => { let twin = run[at].clone(); run.insert(at.max(to) + 1, twin); }
            _ => { prop_assume!(at != to); run.swap(at, to); }
        }
        let verdict = check(&run);
        match fault {
            0 => prop_assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (1, 0, 0)),
            1 => prop_assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 1, 0)),
            _ => prop_assert!(verdict.lost == 0 && verdict.duplicated == 0 && verdict.out_of_order > 0),
        }
    }

    /// Catching up in any order, any number of times, is nothing but what the protocol allows.
    #[test]
    fn no_fault_is_seen_where_none_is(n in 1u64..30, repeats in prop::collection::vec(0u64..30, 0..60)) {
        let mut run = clean(n, 0);
        run.push(Record::Receiver { receiver: 0, channel: CHANNEL, base: 0 });
        let all = repeats.iter().map(|r| r % n + 1).chain(1..=n);
        run.extend(all.map(|seq| Record::Delivery { receiver: 0, catching_up: true, event: event(seq, u128::from(seq)) }));
        let verdict = check(&run);
        prop_assert!(verdict.is_clean(), "{:?}", verdict);
        prop_assert_eq!(verdict.delivered, n);
    }
}
