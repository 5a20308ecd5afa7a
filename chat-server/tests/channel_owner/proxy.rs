//! Stands between two processes and does to them what networks and deaths do.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

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
}

impl Proxy {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watching) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
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
        Self { address, mode }
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
            if open.wait_for(|mode| *mode != held).await.is_err()
                || to.write_all(&buffer[..read]).await.is_err()
            {
                return;
            }
        }
    };
    tokio::select! {
        () = carry => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}
