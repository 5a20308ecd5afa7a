//! Who is online, who is typing, and read markers in step on all devices.

use chat_protocol::{ClientFrame, PresenceStatus, ServerFrame, UserId};

use crate::harness::{TestServer, ws::TestSocket};

async fn reported(socket: &mut TestSocket, who: UserId) -> PresenceStatus {
    socket
        .until(|frame| match frame {
            ServerFrame::Presence { users } => users.iter().find(|u| u.user == who).map(|u| u.status),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn watchers_learn_who_comes_and_goes() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let mut watcher = TestSocket::connect(&server.base_url, &ada.access_token).await;
    watcher.send(&ClientFrame::Watch { id: None, users: vec![grace.user.id, ada.user.id] }).await;
    assert_eq!(reported(&mut watcher, grace.user.id).await, PresenceStatus::Offline);
    let phone = TestSocket::connect(&server.base_url, &grace.access_token).await;
    assert_eq!(reported(&mut watcher, grace.user.id).await, PresenceStatus::Online);
    // A second device is no news, nor is the loss of one of two.
    let laptop = TestSocket::connect(&server.base_url, &grace.access_token).await;
    drop(phone);
    drop(laptop);
    assert_eq!(reported(&mut watcher, grace.user.id).await, PresenceStatus::Offline);
}

#[tokio::test]
async fn typing_reaches_the_others_and_read_markers_all_own_devices() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "typing").await;
    let mut ada_phone = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let mut ada_laptop = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let mut grace_socket = TestSocket::connect(&server.base_url, &grace.access_token).await;

    ada_phone.send(&ClientFrame::Typing { id: None, channel }).await;
    let typist = grace_socket
        .until(|frame| match frame {
            ServerFrame::Typing { channel: at, user } if at == channel => Some(user),
            _ => None,
        })
        .await;
    assert_eq!(typist, ada.user.id);

    let id = grace_socket.say(channel, "read me").await;
    let (seq, _) = grace_socket.acked(id).await;
    ada_phone.send(&ClientFrame::Read { id: None, channel, seq }).await;
    for device in [&mut ada_phone, &mut ada_laptop] {
        let marker = device
            .until(|frame| match frame {
                ServerFrame::Read { channel: at, seq, .. } if at == channel => Some(seq),
                _ => None,
            })
            .await;
        assert_eq!(marker, seq);
    }
    // Never back, and never beyond the end.
    ada_phone.send(&ClientFrame::Read { id: None, channel, seq: 1 }).await;
    ada_phone.send(&ClientFrame::Read { id: None, channel, seq: seq + 100 }).await;
    for _ in 0..2 {
        let marker =
            ada_laptop.until(|f| if let ServerFrame::Read { seq, .. } = f { Some(seq) } else { None }).await;
        assert_eq!(marker, seq);
    }
    let back = TestSocket::connect(&server.base_url, &ada.access_token).await;
    assert_eq!(back.channels.iter().find(|c| c.channel == channel).map(|c| c.read), Some(seq));
}
