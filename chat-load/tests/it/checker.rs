//! The checker finds what was planted, and nothing else.

use chat_load::history::{
    Times, Verdict,
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
        run.push(Record::Ack { channel: CHANNEL, seq, id: event.id.unwrap(), times: None });
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
    run[at] = Record::Ack { channel: CHANNEL, seq: 4, id: ClientId(Uuid::from_u128(3)), times: None };
    let verdict = check(&run);
    assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 0, 1));
}

#[test]
fn a_send_that_was_acked_and_is_in_no_log_is_lost() {
    let mut run = clean(10, 2);
    run.push(Record::Ack { channel: CHANNEL, seq: 11, id: ClientId(Uuid::from_u128(99)), times: None });
    assert_eq!(check(&run).lost, 1);
    let elsewhere = ChannelId(Uuid::from_u128(0xd));
    run.push(Record::Ack { channel: elsewhere, seq: 1, id: ClientId(Uuid::from_u128(1)), times: None });
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

/// A run in which send n was begun and acked at these times and stands at n.
fn timed(times: &[(u64, u64)]) -> Vec<Record> {
    let mut run = clean(times.len() as u64, 0);
    for record in &mut run {
        if let Record::Ack { seq, times: kept, .. } = record {
            let (sent_us, acked_us) = times[usize::try_from(*seq).unwrap() - 1];
            *kept = Some(Times { sent_us, acked_us });
        }
    }
    run
}

#[test]
fn a_send_that_stands_before_one_that_was_acked_before_it_began_is_out_of_order() {
    for (times, violations) in [
        (&[(1, 5), (6, 9), (10, 12)][..], 0),
        (&[(1, 9), (2, 8), (3, 7)], 0),
        (&[(6, 9), (1, 5)], 1),
        (&[(1, 20), (8, 20), (6, 7), (1, 30)], 1),
        (&[(6, 9), (7, 9), (1, 5), (8, 9)], 2),
        (&[(5, 9), (1, 5)], 0),
    ] {
        let verdict = check(&timed(times));
        assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 0, violations), "{times:?}");
    }
}

#[test]
fn two_channels_have_no_order_between_them() {
    let mut run = timed(&[(6, 9)]);
    let elsewhere = ChannelId(Uuid::from_u128(0xd));
    let other = RecordedEvent { channel: elsewhere, ..event(2, 77) };
    run.push(Record::Ack {
        channel: elsewhere,
        seq: 2,
        id: other.id.unwrap(),
        times: Some(Times { sent_us: 1, acked_us: 2 }),
    });
    run.push(Record::Log { event: RecordedEvent { seq: 1, ..other } });
    let again = RecordedEvent { id: Some(ClientId(Uuid::from_u128(78))), ..other };
    run.push(Record::Log { event: again });
    let verdict = check(&run);
    assert_eq!((verdict.lost, verdict.out_of_order), (0, 1), "only that its ack named 2: {verdict:?}");
}

#[test]
fn a_read_that_the_log_contradicts_is_out_of_order() {
    let read =
        |after, events: &[RecordedEvent]| Record::Read { channel: CHANNEL, after, events: events.to_vec() };
    for (what, violations) in [
        (read(3, &[event(4, 4), event(5, 5)]), 0),
        (read(10, &[]), 0),
        (read(3, &[event(4, 4), event(5, 6)]), 1),
        (read(3, &[event(4, 4), event(6, 6)]), 1),
        (read(3, &[event(5, 5), event(4, 4)]), 1),
        (read(9, &[event(10, 10), event(11, 11)]), 1),
    ] {
        let mut run = clean(10, 1);
        run.push(what.clone());
        let verdict = check(&run);
        assert_eq!((verdict.lost, verdict.duplicated, verdict.out_of_order), (0, 0, violations), "{what:?}");
    }
}

#[test]
fn two_ids_acked_at_one_seq_and_one_id_acked_at_two_are_found() {
    let mut run = clean(10, 0);
    run.push(Record::Ack { channel: CHANNEL, seq: 4, id: ClientId(Uuid::from_u128(99)), times: None });
    assert_eq!(check(&run).lost, 1, "only one of the two stands there");
    let mut run = clean(10, 0);
    run.push(Record::Ack { channel: CHANNEL, seq: 5, id: ClientId(Uuid::from_u128(4)), times: None });
    assert_eq!(check(&run).out_of_order, 1);
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
    assert_eq!(error.to_string(), "line 2 is not a record");
    let stranger = serde_json::to_string(&clean(1, 1)[2]).unwrap();
    assert!(replay(stranger.as_bytes()).is_err());
}

proptest! {
    /// The one pass over the acks finds a violation exactly where comparing every pair finds one.
    #[test]
    fn real_time_order_is_judged_as_by_comparing_all_pairs(spans in prop::collection::vec((0u64..60, 0u64..30), 0..25)) {
        let times: Vec<(u64, u64)> = spans.into_iter().map(|(from, length)| (from, from + length)).collect();
        let late = (0..times.len()).filter(|i| times[i + 1..].iter().any(|(_, acked)| *acked < times[*i].0));
        prop_assert_eq!(check(&timed(&times)).out_of_order, late.count() as u64);
    }

    /// Whatever is dropped, doubled or moved among the deliveries of a clean run, is found and named by its kind.
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
