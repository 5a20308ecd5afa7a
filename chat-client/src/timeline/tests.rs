use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use chat_protocol::{ChannelId, ChannelState, Event, EventBody, Seq, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::Timeline;
use crate::Start;

const ME: UserId = UserId(Uuid::from_u128(1));
const CHANNEL: ChannelId = ChannelId(Uuid::from_u128(7));

fn event(seq: Seq) -> Event {
    Event {
        channel: CHANNEL,
        seq,
        at: 0,
        by: ME,
        id: None,
        body: EventBody::Message { text: seq.to_string(), files: vec![], deleted: false },
    }
}

fn state(head: Seq, read: Seq) -> ChannelState {
    ChannelState { channel: CHANNEL, head, read, unread: None }
}

fn at(cursor: Seq) -> Timeline {
    Timeline::new(Start::Head, &HashMap::from([(CHANNEL, cursor)]))
}

fn offer(timeline: &mut Timeline, seqs: &[Seq]) -> Vec<Seq> {
    let mut ready = Vec::new();
    for seq in seqs {
        timeline.event(event(*seq), ME, true, &mut ready);
    }
    ready.iter().map(|event| event.seq).collect()
}

#[test]
fn each_event_comes_once_and_in_order() {
    for (offered, handed_out) in [
        (vec![6, 7, 8], vec![6, 7, 8]),
        (vec![5, 6, 6, 7], vec![6, 7]),
        (vec![7, 6], vec![6, 7]),
        (vec![9, 7, 6, 8], vec![6, 7, 8, 9]),
        (vec![8, 8, 9], vec![]),
        (vec![1, 2, 3], vec![]),
    ] {
        assert_eq!(offer(&mut at(5), &offered), handed_out, "offered {offered:?} after 5");
    }
}

#[test]
fn where_a_channel_begins() {
    let now = Instant::now();
    for (start, cursor, expected) in [
        (Start::Head, None, None),
        (Start::Beginning, None, Some(0)),
        (Start::Head, Some(30), Some(30)),
        (Start::Beginning, Some(30), Some(30)),
        (Start::Head, Some(42), None),
    ] {
        let cursors = cursor.map(|seq| (CHANNEL, seq)).into_iter().collect();
        let mut timeline = Timeline::new(start, &cursors);
        timeline.welcome(&[state(42, 40)]);
        assert_eq!(timeline.ask(now).map(|ask| ask.after), expected, "{start:?} with cursor {cursor:?}");
    }
}

#[test]
fn a_channel_joined_while_away_begins_with_what_is_unread() {
    let mut timeline = Timeline::new(Start::Head, &HashMap::new());
    timeline.welcome(&[]);
    timeline.welcome(&[state(42, 40)]);
    assert_eq!(timeline.ask(Instant::now()).map(|ask| ask.after), Some(40));
    let mut timeline = Timeline::new(Start::Head, &HashMap::new());
    timeline.welcome(&[]);
    timeline.welcome(&[state(50_000, 0)]);
    assert_eq!(timeline.ask(Instant::now()).map(|ask| ask.after), Some(49_000));
}

#[test]
fn a_gap_is_asked_for_once_until_it_is_answered() {
    let now = Instant::now();
    let mut timeline = at(5);
    timeline.welcome(&[state(5, 5)]);
    assert!(offer(&mut timeline, &[8]).is_empty());
    let ask = timeline.ask(now).expect("6 and 7 are lacking");
    assert_eq!((ask.channel, ask.after), (CHANNEL, 5));
    assert!(offer(&mut timeline, &[10]).is_empty());
    assert_eq!(timeline.ask(now), None, "an answer is under way");
    assert_eq!(offer(&mut timeline, &[6, 7]), [6, 7, 8]);
    timeline.synced(Some(ask.id), CHANNEL, 8, true);
    assert_eq!(timeline.ask(now).map(|ask| ask.after), Some(8), "9 is lacking");
}

#[test]
fn what_sync_cannot_recover_is_read_over_rest() {
    let now = Instant::now();
    let mut timeline = at(5);
    timeline.welcome(&[state(5_000, 5)]);
    let ask = timeline.ask(now).expect("much is lacking");
    timeline.synced(Some(ask.id), CHANNEL, 5_000, false);
    assert_eq!(timeline.ask(now), None);
    assert_eq!(timeline.page(), Some((CHANNEL, 5)));
    assert_eq!(timeline.page(), None, "it is under way");
    assert_eq!(offer(&mut timeline, &(6..=5_000).collect::<Vec<_>>()).len(), 4_995);
    assert!(timeline.paged(CHANNEL, false), "the cursor went forward");
    assert!(timeline.whole());
}

#[test]
fn a_left_channel_is_not_asked_for_and_rejoining_goes_on_where_one_was() {
    let now = Instant::now();
    let mut timeline = at(5);
    let mut ready = Vec::new();
    timeline.event(Event { body: EventBody::MemberLeft { user: ME }, ..event(6) }, ME, true, &mut ready);
    assert!(offer(&mut timeline, &[9]).is_empty());
    assert_eq!(timeline.ask(now), None);
    timeline.welcome(&[state(12, 5)]);
    assert_eq!(timeline.ask(now).map(|ask| ask.after), Some(6));
}

#[test]
fn without_room_nothing_is_handed_out_and_nothing_is_forgotten() {
    let mut timeline = at(5);
    let mut ready = Vec::new();
    timeline.event(event(6), ME, false, &mut ready);
    assert!(ready.is_empty());
    assert_eq!(timeline.ask(Instant::now()).map(|ask| ask.after), Some(5));
}

#[test]
fn an_answer_of_an_old_connection_settles_nothing() {
    let now = Instant::now();
    let mut timeline = at(5);
    timeline.welcome(&[state(8, 5)]);
    let old = timeline.ask(now).expect("6 to 8 are lacking");
    timeline.welcome(&[state(8, 5)]);
    let new = timeline.ask(now).expect("asked again on the new connection");
    timeline.synced(Some(old.id), CHANNEL, 8, true);
    assert_eq!(timeline.oldest_ask(), Some(now), "the new one still waits");
    timeline.synced(Some(new.id), CHANNEL, 8, true);
    assert_eq!(timeline.oldest_ask(), None);
}

#[derive(Debug, Clone)]
enum Weather {
    /// The next event is committed and arrives, this often.
    Live(u8),
    /// The next event is committed; its frame is lost.
    Lost,
    /// An event of before arrives (again).
    Stray(u8),
    /// The consumer is busy while the next event arrives.
    Busy,
    /// The oldest `sync` is answered, whole or not.
    Answer(bool),
    /// A new connection.
    Reconnect,
}

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        (1u8..3).prop_map(Weather::Live),
        Just(Weather::Lost),
        any::<u8>().prop_map(Weather::Stray),
        Just(Weather::Busy),
        any::<bool>().prop_map(Weather::Answer),
        Just(Weather::Reconnect),
    ]
}

/// A timeline, the log that it follows and what its consumer got.
struct World {
    timeline: Timeline,
    head: Seq,
    ready: Vec<Event>,
    asks: VecDeque<super::Ask>,
}

impl World {
    fn arrive(&mut self, seq: Seq, room: bool) {
        self.timeline.event(event(seq), ME, room, &mut self.ready);
    }

    fn ask(&mut self) {
        while let Some(ask) = self.timeline.ask(Instant::now()) {
            self.asks.push_back(ask);
        }
    }

    fn answer(&mut self, whole: bool) {
        let Some(ask) = self.asks.pop_front() else { return };
        if whole {
            (ask.after + 1..=self.head).for_each(|seq| self.arrive(seq, true));
        }
        self.timeline.synced(Some(ask.id), CHANNEL, self.head, whole);
        while let Some((channel, after)) = self.timeline.page() {
            (after + 1..=self.head).for_each(|seq| self.arrive(seq, true));
            self.timeline.paged(channel, false);
        }
    }

    fn reconnect(&mut self) {
        self.asks.clear();
        self.timeline.welcome(&[state(self.head, 0)]);
    }
}

proptest! {
    #[test]
    fn whatever_the_network_does_the_consumer_gets_the_log(
        cursor in 0u64..5,
        script in proptest::collection::vec(weather(), 0..80),
    ) {
        let mut world =
            World { timeline: at(cursor), head: 5, ready: vec![], asks: VecDeque::new() };
        world.reconnect();
        for step in script {
            match step {
                Weather::Live(times) => {
                    world.head += 1;
                    (0..times).for_each(|_| world.arrive(world.head, true));
                }
                Weather::Lost => world.head += 1,
                Weather::Busy => {
                    world.head += 1;
                    world.arrive(world.head, false);
                }
                Weather::Stray(seq) => world.arrive(1 + u64::from(seq) % world.head, true),
                Weather::Answer(whole) => world.answer(whole),
                Weather::Reconnect => world.reconnect(),
            }
            world.ask();
        }
        world.reconnect();
        world.ask();
        while !world.asks.is_empty() {
            world.answer(true);
            world.ask();
        }
        let got: Vec<_> = world.ready.iter().map(|event| event.seq).collect();
        prop_assert_eq!(got, (cursor + 1..=world.head).collect::<Vec<_>>());
        prop_assert!(world.timeline.whole());
        prop_assert_eq!(world.timeline.aside, 0);
    }
}
