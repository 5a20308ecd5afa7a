//! A server that was restored from a backup: its logs are shorter than before, and go on with other events.

use std::collections::HashMap;

use chat_client::{Options, SendError, Start, Update, Updates};
use chat_protocol::{ClientFrame, CloseCode, Event, Generation, Seq, ServerFrame};

use crate::{
    CHANNEL, after, event, events, head, options,
    server::{Server, Socket},
    start, within,
};

/// An event of the log after the restore.
fn new_event(seq: Seq) -> Event {
    Event { at: 1, ..event(seq) }
}

/// The log after a restore to its first four events: six more were written since.
fn now_event(seq: Seq) -> Event {
    if seq <= 4 { event(seq) } else { new_event(seq) }
}

/// Events as they come, up to the message that the logs begin anew, and with what.
async fn until_restored(updates: &mut Updates) -> (Vec<Seq>, Option<Generation>) {
    let mut seqs = Vec::new();
    loop {
        match within(updates.next()).await.expect("the client has not ended") {
            Update::Event(event) => seqs.push(event.seq),
            Update::Restored { generation, cursors } => {
                assert_eq!((updates.generation(), updates.cursors()), (generation, &cursors));
                return (seqs, generation);
            }
            _ => {}
        }
    }
}

async fn texts(updates: &mut Updates, count: usize) -> Vec<(Seq, u64)> {
    let mut texts = Vec::new();
    while texts.len() < count {
        if let Update::Event(event) = within(updates.next()).await.expect("the client has not ended") {
            texts.push((event.seq, event.at));
        }
    }
    texts
}

fn the_new_log() -> Vec<(Seq, u64)> {
    (1..=10).map(|seq| (seq, now_event(seq).at)).collect()
}

/// Receives the next `sync`, and answers it from the log after the restore.
async fn answer(socket: &mut Socket, head: Seq) -> Seq {
    let sync = socket.receive().await;
    let ClientFrame::Sync { after, .. } = sync else { panic!("expected a sync, got {sync:?}") };
    socket.answer_sync_with(sync, head, now_event).await;
    after
}

#[tokio::test]
async fn another_generation_is_read_from_the_beginning() {
    let mut server = Server::start().await;
    let (before, now) = (Generation::new(), Generation::new());
    let (client, mut updates) = start(server.url(), after(8)).await;
    let mut socket = server.welcome_to(before, head(8)).await;
    socket.send(ServerFrame::Event(event(9))).await;
    socket.send(ServerFrame::Event(event(10))).await;
    assert_eq!(events(&mut updates, 2).await, [9, 10]);
    assert_eq!(updates.generation(), Some(before));
    client.read(CHANNEL, 10).await;
    assert!(matches!(socket.receive().await, ClientFrame::Read { seq: 10, .. }));
    socket.close(CloseCode::Restart).await;

    // As long as it was: no position shows that it is another log.
    let mut socket = server.welcome_to(now, head(10)).await;
    assert_eq!(answer(&mut socket, 10).await, 0);
    assert_eq!(until_restored(&mut updates).await, (vec![], Some(now)));
    assert_eq!(texts(&mut updates, 10).await, the_new_log());
    socket.send(ServerFrame::Event(new_event(11))).await;
    assert_eq!(events(&mut updates, 1).await, [11]);
    assert_eq!(updates.cursors(), &HashMap::from([(CHANNEL, 11)]));
    // The marker of before says nothing of this log.
    let _pending = client.submit(CHANNEL, "next", vec![]).await;
    let next = socket.receive().await;
    assert!(matches!(next, ClientFrame::Send { .. }), "expected no read marker, got {next:?}");
}

#[tokio::test]
async fn saved_cursors_of_another_generation_are_dropped() {
    let mut server = Server::start().await;
    let (before, now) = (Generation::new(), Generation::new());
    for start_at in [Start::Head, Start::Beginning] {
        let options = Options { generation: Some(before), start: start_at, ..after(7) };
        let (_client, mut updates) = start(server.url(), options).await;
        assert_eq!(updates.generation(), Some(before));
        let mut socket = server.welcome_to(now, head(10)).await;
        answer(&mut socket, 10).await;
        assert_eq!(until_restored(&mut updates).await, (vec![], Some(now)));
        assert_eq!(texts(&mut updates, 10).await, the_new_log());
    }
    // The same generation goes on where it was.
    let options = Options { generation: Some(now), ..after(7) };
    let (_client, mut updates) = start(server.url(), options).await;
    let mut socket = server.welcome_to(now, head(10)).await;
    assert_eq!(answer(&mut socket, 10).await, 7);
    assert_eq!(events(&mut updates, 3).await, [8, 9, 10]);
}

#[tokio::test]
async fn a_cursor_beyond_the_end_of_the_log_swallows_nothing() {
    let mut server = Server::start().await;
    // A server of 0.1.0, whose log was cut back to four events.
    let (_client, mut updates) = start(server.url(), after(10)).await;
    let mut socket = server.welcome(head(4)).await;
    assert_eq!(answer(&mut socket, 4).await, 10);
    assert_eq!(until_restored(&mut updates).await, (vec![], None));
    for seq in 5..=10 {
        socket.send(ServerFrame::Event(new_event(seq))).await;
    }
    assert_eq!(answer(&mut socket, 10).await, 0);
    assert_eq!(texts(&mut updates, 10).await, the_new_log());
}

#[tokio::test]
async fn messages_that_pass_the_cursor_before_anybody_notices_are_not_swallowed() {
    let mut server = Server::start().await;
    let (_client, mut updates) = start(server.url(), after(9)).await;
    let mut socket = server.welcome(head(9)).await;
    socket.send(ServerFrame::Event(event(10))).await;
    assert_eq!(events(&mut updates, 1).await, [10]);
    drop(socket);
    let mut socket = server.welcome(head(4)).await;
    let question = socket.receive().await;
    assert!(matches!(question, ClientFrame::Sync { after: 9, .. }), "got {question:?}");
    for seq in 5..=10 {
        socket.send(ServerFrame::Event(new_event(seq))).await;
    }
    assert_eq!(until_restored(&mut updates).await, (vec![], None));
    assert_eq!(answer(&mut socket, 10).await, 0);
    assert_eq!(texts(&mut updates, 10).await, the_new_log());
}

#[tokio::test]
async fn a_gateway_that_is_behind_for_a_moment_is_waited_for() {
    let mut server = Server::start().await;
    let (_client, mut updates) = start(server.url(), after(9)).await;
    let mut socket = server.welcome(head(9)).await;
    socket.send(ServerFrame::Event(event(10))).await;
    assert_eq!(events(&mut updates, 1).await, [10]);
    drop(socket);
    let mut socket = server.welcome(head(8)).await;
    let question = socket.receive().await;
    socket.answer_sync(question, 8).await;
    for seq in 9..=11 {
        socket.send(ServerFrame::Event(event(seq))).await;
    }
    loop {
        match within(updates.next()).await.expect("the client has not ended") {
            Update::Event(event) => {
                assert_eq!(event.seq, 11);
                break;
            }
            Update::Restored { .. } => panic!("it was only behind"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn pages_of_a_process_that_has_not_noticed_are_not_taken() {
    let mut server = Server::start().await;
    let (before, now) = (Generation::new(), Generation::new());
    *server.rest.log.lock() = (1..=1_300).map(event).collect();
    *server.rest.generation.lock() = Some(before);
    let options = Options { generation: Some(before), start: Start::Beginning, ..after(1_250) };
    let (_client, mut updates) = start(server.url(), options).await;
    let mut socket = server.welcome_to(now, head(1_200)).await;
    let ClientFrame::Sync { id, channel, after: 0 } = socket.receive().await else {
        panic!("expected a sync")
    };
    socket.send(ServerFrame::Synced { id, channel, head: 1_200, recovered: false }).await;
    let asked = async {
        while server.rest.pages.lock().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(asked).await;
    *server.rest.log.lock() = (1..=1_200).map(new_event).collect();
    *server.rest.generation.lock() = Some(now);
    assert_eq!(until_restored(&mut updates).await, (vec![], Some(now)));
    let all = texts(&mut updates, 1_200).await;
    assert_eq!(all, (1..=1_200).map(|seq| (seq, 1)).collect::<Vec<_>>());
}

#[tokio::test]
async fn changes_of_messages_by_their_old_position_fail_and_sends_go_on() {
    let mut server = Server::start().await;
    let (before, now) = (Generation::new(), Generation::new());
    let (client, _updates) = start(server.url(), options()).await;
    let mut socket = server.welcome_to(before, head(9)).await;
    let deleting = client.clone();
    let deletion = tokio::spawn(async move { deleting.delete(CHANNEL, 7).await });
    let frame = socket.receive().await;
    assert!(matches!(frame, ClientFrame::Delete { target: 7, .. }), "got {frame:?}");
    drop(socket);
    let pending = client.submit(CHANNEL, "hello", vec![]).await;
    let mut socket = server.welcome_to(now, head(4)).await;
    let id = loop {
        match socket.receive().await {
            ClientFrame::Send { id, .. } => break id,
            ClientFrame::Sync { .. } => {}
            other => panic!("expected the send, got {other:?}"),
        }
    };
    assert_eq!(within(deletion).await.unwrap(), Err(SendError::Restored));
    socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq: 5, at: 1, duplicate: false }).await;
    assert_eq!(within(pending.outcome()).await.unwrap().seq, 5);
}
