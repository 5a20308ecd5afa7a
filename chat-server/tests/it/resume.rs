//! A client that was away gets exactly what it lacks, or is informed that it must read the log.

use chat_protocol::{ClientFrame, EventBody, Seq, ServerFrame};

use crate::harness::{TestServer, ws::TestSocket};

fn seqs(events: &[chat_protocol::Event]) -> Vec<Seq> {
    events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn a_dropped_client_resumes_from_memory_without_reading_history() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let grace = server.register("grace").await;
    let channel = server.channel_of(&ada, &[&grace], "resume").await;

    let mut writer = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let reader = TestSocket::connect(&server.base_url, &grace.access_token).await;
    let seen = reader.head(channel);
    drop(reader);
    for n in 0..5 {
        let id = writer.say(channel, &format!("while away {n}")).await;
        writer.acked(id).await;
    }

    let mut back = TestSocket::connect(&server.base_url, &grace.access_token).await;
    assert_eq!(back.head(channel), seen + 5);
    let (events, head, recovered) = back.sync(channel, seen).await;
    assert!(recovered);
    assert_eq!(head, seen + 5);
    assert_eq!(seqs(&events), (seen + 1..=seen + 5).collect::<Vec<_>>());
    assert_eq!(server.metric("folkmoot_gateway_syncs_from_memory_total").await, 1.0);
    assert_eq!(server.metric("folkmoot_gateway_syncs_from_store_total").await, 0.0);
    let (events, _, recovered) = back.sync(channel, head).await;
    assert!(recovered && events.is_empty());
}

#[tokio::test]
async fn what_memory_lacks_comes_from_the_store_and_what_is_too_much_is_said_so() {
    let server = TestServer::with(|config| {
        config.gateway.recent_events = 10;
        config.gateway.commands_per_second = 100_000;
        config.gateway.command_burst = 100_000;
    })
    .await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "long").await;
    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let first = socket.head(channel);
    let mut last = None;
    for _ in 0..1_050 {
        last = Some(socket.say(channel, "m").await);
    }
    let (end, _) = socket.acked(last.expect("was sent")).await;
    assert_eq!(end, first + 1_050, "pipelined sends are committed in the order they were sent");

    let mut again = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let (events, head, recovered) = again.sync(channel, end - 500).await;
    assert!(recovered);
    assert_eq!(head, end);
    assert_eq!(seqs(&events), (end - 499..=end).collect::<Vec<_>>());
    let (events, head, recovered) = again.sync(channel, 0).await;
    // The last one may still come live: it was acked before it was delivered to everybody.
    let older = seqs(&events).into_iter().filter(|seq| *seq < end).count();
    assert_eq!((older, head, recovered), (0, end, false), "never partly");
}

#[tokio::test]
async fn the_log_survives_a_restart_and_clients_resume_on_it() {
    let mut server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "restart").await;
    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let id = socket.say(channel, "before").await;
    let (seq, _) = socket.acked(id).await;
    server.restart().await;
    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    assert_eq!(socket.head(channel), seq);
    let (events, _, recovered) = socket.sync(channel, seq - 1).await;
    assert!(recovered);
    assert!(matches!(&events[0].body, EventBody::Message { text, .. } if text == "before"));
}

#[tokio::test]
async fn a_client_that_asks_for_much_at_once_is_not_cut_off_for_it() {
    const SYNCS: usize = 150;
    let server = TestServer::with(|config| {
        config.gateway.max_queued_bytes = 256 * 1024;
        config.gateway.commands_per_second = 100_000;
        config.gateway.command_burst = 100_000;
    })
    .await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "much").await;
    let mut writer = TestSocket::connect(&server.base_url, &ada.access_token).await;
    for _ in 0..10 {
        let id = writer.say(channel, &"x".repeat(10 * 1024)).await;
        writer.acked(id).await;
    }
    // Fifteen megabytes, more than the kernel's buffers take, in answers of a hundred kilobytes, to a client that asks
    // for all of them before it reads any.
    let mut back = TestSocket::connect_with(&server.base_url, &ada.access_token, Some(4_096)).await;
    for _ in 0..SYNCS {
        back.send(&ClientFrame::Sync { id: None, channel, after: 0 }).await;
    }
    let (mut synced, mut messages) = (0, 0);
    while synced < SYNCS {
        back.until(|frame| match frame {
            ServerFrame::Event(event) => {
                messages += usize::from(matches!(event.body, EventBody::Message { .. }));
                None
            }
            ServerFrame::Synced { recovered, .. } => {
                assert!(recovered);
                Some(())
            }
            _ => None,
        })
        .await;
        synced += 1;
    }
    assert_eq!(messages, SYNCS * 10);
}
