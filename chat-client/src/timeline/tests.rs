use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use chat_protocol::{ChannelId, ChannelState, Event, EventBody, Generation, Seq, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::{Answered, MAX_DOUBTS, Timeline};
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
    Timeline::new(Start::Head, None, &HashMap::from([(CHANNEL, cursor)]))
}

fn generation(number: u128) -> Option<Generation> {
    Some(Generation(Uuid::from_u128(number)))
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
        let mut timeline = Timeline::new(start, None, &cursors);
        timeline.welcome(None, &[state(42, 40)]);
        assert_eq!(timeline.ask(now).map(|ask| ask.after), expected, "{start:?} with cursor {cursor:?}");
    }
}

#[test]
fn a_channel_joined_while_away_begins_with_what_is_unread() {
    let mut timeline = Timeline::new(Start::Head, None, &HashMap::new());
    timeline.welcome(None, &[]);
    timeline.welcome(None, &[state(42, 40)]);
    assert_eq!(timeline.ask(Instant::now()).map(|ask| ask.after), Some(40));
    let mut timeline = Timeline::new(Start::Head, None, &HashMap::new());
    timeline.welcome(None, &[]);
    timeline.welcome(None, &[state(50_000, 0)]);
    assert_eq!(timeline.ask(Instant::now()).map(|ask| ask.after), Some(49_000));
}

#[test]
fn a_gap_is_asked_for_once_until_it_is_answered() {
    let now = Instant::now();
    let mut timeline = at(5);
    timeline.welcome(None, &[state(5, 5)]);
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
    timeline.welcome(None, &[state(5_000, 5)]);
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
    timeline.welcome(None, &[state(12, 5)]);
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
fn another_generation_makes_all_logs_begin_anew() {
    let now = Instant::now();
    for (start, head, expected) in
        [(Start::Head, 42, 0), (Start::Head, 5_000, 4_000), (Start::Beginning, 5_000, 0)]
    {
        let mut timeline = Timeline::new(start, generation(1), &HashMap::from([(CHANNEL, 100)]));
        assert!(timeline.welcome(generation(2), &[state(head, 0)]), "{start:?} {head}");
        assert_eq!((timeline.generation(), timeline.cursors()[&CHANNEL]), (generation(2), expected));
        assert_eq!(timeline.ask(now).map(|ask| ask.after), Some(expected));
        assert_eq!(offer(&mut timeline, &[expected + 1]), [expected + 1]);
        assert!(!timeline.welcome(generation(2), &[state(head, 0)]), "once");
        assert_eq!(timeline.ask(now).map(|ask| ask.after), Some(expected + 1));
    }
}

#[test]
fn what_was_set_aside_of_the_logs_before_is_not_handed_out() {
    let mut timeline = Timeline::new(Start::Head, generation(1), &HashMap::from([(CHANNEL, 5)]));
    timeline.welcome(generation(1), &[state(9, 0)]);
    assert!(offer(&mut timeline, &[7, 8, 9]).is_empty());
    assert!(timeline.welcome(generation(2), &[state(6, 0)]));
    assert_eq!(offer(&mut timeline, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
    // Also when nobody says that it is another log.
    let mut timeline = at(5);
    timeline.welcome(None, &[state(9, 0)]);
    assert!(offer(&mut timeline, &[7, 8, 9]).is_empty());
    assert!(!timeline.welcome(None, &[state(5, 0)]));
    assert_eq!(offer(&mut timeline, &[6]), [6]);
    assert_eq!(timeline.aside, 0);
}

#[test]
fn a_generation_that_is_learnt_or_not_said_changes_nothing() {
    let mut timeline = at(5);
    for (said, known) in [
        (None, None),
        (generation(1), generation(1)),
        // A server of 0.1.0 beside the others.
        (None, generation(1)),
        (generation(1), generation(1)),
    ] {
        assert!(!timeline.welcome(said, &[state(5, 0)]), "{said:?}");
        assert_eq!((timeline.generation(), timeline.cursors()[&CHANNEL]), (known, 5));
        assert_eq!(timeline.ask(Instant::now()), None);
    }
}

#[test]
fn channels_without_a_cursor_begin_as_always_also_on_another_generation() {
    let other = ChannelId(Uuid::from_u128(8));
    let mut timeline = Timeline::new(Start::Head, generation(1), &HashMap::from([(CHANNEL, 5)]));
    timeline.welcome(
        generation(2),
        &[state(3, 0), ChannelState { channel: other, head: 9, read: 0, unread: None }],
    );
    assert_eq!(timeline.cursors(), HashMap::from([(CHANNEL, 0), (other, 9)]));
}

/// A timeline that has handed out the event at its cursor.
fn handed_out(cursor: Seq) -> Timeline {
    let mut timeline = at(cursor - 1);
    timeline.welcome(None, &[state(cursor, 0)]);
    assert_eq!(offer(&mut timeline, &[cursor]), [cursor]);
    timeline
}

#[test]
fn a_cursor_beyond_the_end_is_confirmed_and_then_means_another_log() {
    let now = Instant::now();
    // A server that names generations reads its store for it. Another one may answer from the memory of a gateway that is
    // behind; whether it is, shows the event at the cursor, if that is known.
    for (mut timeline, said, after, looks) in [
        (at(50), generation(1), 50, 1),
        (handed_out(50), generation(1), 50, 1),
        (at(50), None, 50, 1),
        (handed_out(50), None, 49, MAX_DOUBTS),
    ] {
        assert!(!timeline.welcome(said, &[state(30, 0)]));
        for look in 1..=looks {
            assert!(offer(&mut timeline, &[29]).is_empty());
            let ask = timeline.ask(now).expect("where does it end?");
            assert_eq!((ask.channel, ask.after), (CHANNEL, after));
            assert_eq!(timeline.ask(now), None);
            let expected = if look == looks { Answered::Restored } else { Answered::Doubtful };
            assert_eq!(timeline.synced(Some(ask.id), CHANNEL, 30, true), expected, "look {look}");
        }
        let ask = timeline.ask(now).expect("all of it is lacking");
        assert_eq!(ask.after, 0);
        let all: Vec<Seq> = (1..=30).collect();
        assert_eq!(offer(&mut timeline, &all), all);
        assert_eq!(timeline.synced(Some(ask.id), CHANNEL, 30, true), Answered::Well);
        assert!(timeline.whole());
    }
}

#[test]
fn another_event_at_the_cursor_means_another_log() {
    let mut timeline = handed_out(5);
    timeline.welcome(None, &[state(3, 0)]);
    let mut ready = Vec::new();
    let other = |seq| Event { at: 7, ..event(seq) };
    // They come before the question is answered.
    assert!(!timeline.event(other(4), ME, true, &mut ready));
    assert!(timeline.event(other(5), ME, true, &mut ready));
    assert_eq!((ready.len(), timeline.cursors()[&CHANNEL]), (0, 0));
    assert_eq!(timeline.ask(Instant::now()).map(|ask| ask.after), Some(0));
    assert_eq!(offer(&mut timeline, &[1, 2, 3, 4, 5]), [1, 2, 3, 4, 5]);
}

#[test]
fn a_gateway_that_is_behind_makes_nobody_begin_anew() {
    let now = Instant::now();
    for said in [generation(1), None] {
        let mut timeline = handed_out(50);
        timeline.welcome(said, &[state(48, 0)]);
        let ask = timeline.ask(now).expect("where does it end?");
        assert_eq!(offer(&mut timeline, &[50, 51]), [51], "the store knew");
        assert_eq!(timeline.synced(Some(ask.id), CHANNEL, 51, true), Answered::Well);
        assert!(timeline.whole());

        // It caught up meanwhile.
        let mut timeline = handed_out(50);
        timeline.welcome(said, &[state(48, 0)]);
        let ask = timeline.ask(now).expect("where does it end?");
        assert_eq!(offer(&mut timeline, &[49, 50, 51]), [51]);
        assert_eq!(timeline.synced(Some(ask.id), CHANNEL, 48, true), Answered::Well);
        assert!(timeline.whole());
    }
}

#[test]
fn an_answer_of_an_old_connection_settles_nothing() {
    let now = Instant::now();
    let mut timeline = at(5);
    timeline.welcome(None, &[state(8, 5)]);
    let old = timeline.ask(now).expect("6 to 8 are lacking");
    timeline.welcome(None, &[state(8, 5)]);
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
    /// The server is restored to so many events, and says so.
    Restored(u8),
}

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        (1u8..3).prop_map(Weather::Live),
        Just(Weather::Lost),
        any::<u8>().prop_map(Weather::Stray),
        Just(Weather::Busy),
        any::<bool>().prop_map(Weather::Answer),
        Just(Weather::Reconnect),
        any::<u8>().prop_map(Weather::Restored),
    ]
}

/// A timeline, the log that it follows and what its consumer got.
struct World {
    timeline: Timeline,
    head: Seq,
    /// In which life of the server each event was written.
    log: Vec<u64>,
    life: u64,
    /// Where the consumer began.
    began: Seq,
    ready: Vec<Event>,
    asks: VecDeque<super::Ask>,
}

impl World {
    fn new(cursor: Seq) -> Self {
        Self {
            timeline: at(cursor),
            head: 5,
            log: vec![0; 5],
            life: 0,
            began: cursor,
            ready: vec![],
            asks: VecDeque::new(),
        }
    }

    fn commit(&mut self) {
        self.head += 1;
        self.log.push(self.life);
    }

    fn arrive(&mut self, seq: Seq, room: bool) {
        let at = self.log[usize::try_from(seq - 1).unwrap()];
        assert!(!self.timeline.event(Event { at, ..event(seq) }, ME, room, &mut self.ready));
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
        let answered = self.timeline.synced(Some(ask.id), CHANNEL, self.head, whole);
        assert_eq!(answered, Answered::Well);
        while let Some((channel, after)) = self.timeline.page() {
            (after + 1..=self.head).for_each(|seq| self.arrive(seq, true));
            self.timeline.paged(channel, false);
        }
    }

    fn reconnect(&mut self) {
        self.asks.clear();
        if self.timeline.welcome(generation(self.life.into()), &[state(self.head, 0)]) {
            self.ready.clear();
            self.began = 0;
        }
    }

    fn restore(&mut self, to: u8) {
        self.head = u64::from(to) % (self.head + 1);
        self.log.truncate(usize::try_from(self.head).unwrap());
        self.life += 1;
        self.reconnect();
    }
}

proptest! {
    #[test]
    fn whatever_the_network_does_the_consumer_gets_the_log(
        cursor in 0u64..5,
        script in proptest::collection::vec(weather(), 0..80),
    ) {
        let mut world = World::new(cursor);
        world.reconnect();
        for step in script {
            match step {
                Weather::Live(times) => {
                    world.commit();
                    (0..times).for_each(|_| world.arrive(world.head, true));
                }
                Weather::Lost => world.commit(),
                Weather::Busy => {
                    world.commit();
                    world.arrive(world.head, false);
                }
                Weather::Stray(seq) if world.head > 0 => {
                    world.arrive(1 + u64::from(seq) % world.head, true);
                }
                Weather::Stray(_) => {}
                Weather::Answer(whole) => world.answer(whole),
                Weather::Reconnect => world.reconnect(),
                Weather::Restored(to) => world.restore(to),
            }
            world.ask();
        }
        world.reconnect();
        world.ask();
        while !world.asks.is_empty() {
            world.answer(true);
            world.ask();
        }
        let got: Vec<_> = world.ready.iter().map(|event| (event.seq, event.at)).collect();
        let log: Vec<_> = (1..).zip(world.log).skip(usize::try_from(world.began).unwrap()).collect();
        prop_assert_eq!(got, log);
        prop_assert!(world.timeline.whole());
        prop_assert_eq!(world.timeline.aside, 0);
    }
}
