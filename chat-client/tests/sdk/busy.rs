//! A consumer that does not look.

use chat_client::Options;
use chat_protocol::{ClientFrame, ServerFrame};

use crate::{CHANNEL, after, event, events, head, server::Server, start, within};

#[tokio::test]
async fn it_neither_loses_events_nor_holds_up_sends() {
    const EVENTS: u64 = 1_000;
    let mut server = Server::start().await;
    let options = Options { max_updates: 10, ..after(0) };
    let (client, mut updates) = start(server.url(), options).await;
    let mut socket = server.welcome(head(0)).await;
    for seq in 1..=EVENTS {
        socket.send(ServerFrame::Event(event(seq))).await;
    }
    // The outcome of a send comes although nobody has looked at an event yet.
    let pending = client.submit(CHANNEL, "hello", vec![]).await;
    loop {
        match socket.receive().await {
            ClientFrame::Send { id, .. } => {
                let (channel, seq) = (CHANNEL, EVENTS + 1);
                socket.send(ServerFrame::Ack { id, channel, seq, at: 1, duplicate: false }).await;
                break;
            }
            sync => socket.answer_sync(sync, EVENTS).await,
        }
    }
    assert_eq!(within(pending.outcome()).await.unwrap().seq, EVENTS + 1);
    // What did not fit is asked for while the consumer takes what is there.
    let serving = tokio::spawn(async move {
        loop {
            let sync = socket.receive().await;
            socket.answer_sync(sync, EVENTS).await;
        }
    });
    let all = usize::try_from(EVENTS).unwrap();
    assert_eq!(events(&mut updates, all).await, (1..=EVENTS).collect::<Vec<_>>());
    serving.abort();
}

#[tokio::test]
async fn a_client_whose_updates_nobody_wants_still_sends() {
    let mut server = Server::start().await;
    let (client, updates) = start(server.url(), after(0)).await;
    drop(updates);
    let mut socket = server.welcome(head(0)).await;
    for seq in 1..=2_000 {
        socket.send(ServerFrame::Event(event(seq))).await;
    }
    let pending = client.submit(CHANNEL, "hello", vec![]).await;
    let ClientFrame::Send { id, .. } = socket.receive().await else { panic!("expected a send") };
    socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq: 2_001, at: 1, duplicate: false }).await;
    assert_eq!(within(pending.outcome()).await.unwrap().id, id);
}
