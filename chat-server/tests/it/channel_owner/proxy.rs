//! Stands between two processes and does to them what networks and deaths do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::harness::wait::until;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// What is sent does not arrive; it is not lost either.
    HoldRequests,
    /// What is sent arrives, but no answer comes back.
    HoldAnswers,
    /// Connections end, and none can be made.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watching) = watch::channel(Mode::Pass);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                if *watching.borrow() == Mode::Cut {
                    continue;
                }
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pump(near_read, far_write, watching.clone(), Mode::HoldRequests));
                tokio::spawn(pump(far_read, near_write, watching.clone(), Mode::HoldAnswers));
            }
        });
        Self { address, mode, connections }
    }

    /// Waits until somebody who keeps one connection has come back, so was not let in before.
    pub(crate) async fn came_back(&self) {
        let before = self.connections.load(Ordering::Relaxed).max(1);
        until("somebody was refused and came back", || self.connections.load(Ordering::Relaxed) > before)
            .await;
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mode: watch::Receiver<Mode>,
    held: Mode,
) {
    let mut cut = mode.clone();
    let mut open = mode;
    let carry = async {
        let mut buffer = vec![0; 16_384];
        loop {
            let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
            let Ok(goes_on) = open.wait_for(|mode| *mode != held).await.map(|mode| *mode != Mode::Cut) else {
                return;
            };
            // What was held when the connection is cut never arrives.
            if !goes_on || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carry => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}
