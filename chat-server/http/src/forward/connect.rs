//! How a process that has a role is reached: a new TCP connection, within a deadline.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tower::Service;

/// Finding the other process's address and connecting to it.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Connections made at once. Looking up a name occupies a thread, however long a dead name server takes.
const CONNECTING: usize = 32;
/// A Service gives each try another of its pods, one of which may just have gone.
const CONNECT_TRIES: usize = 3;

/// Makes connections; the semaphore bounds how many at once.
#[derive(Clone)]
pub(super) struct Connect(Arc<Semaphore>);

impl Connect {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTING)))
    }
}

impl Service<Uri> for Connect {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = timeout(CONNECT_DEADLINE, async {
                let _place = connecting.acquire().await.map_err(io::Error::other)?;
                connect(&uri).await
            });
            connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        })
    }
}

async fn connect(uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(80);
    let mut tries = 1;
    loop {
        match TcpStream::connect((host, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(_) if tries < CONNECT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
