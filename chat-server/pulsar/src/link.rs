//! A connected client, and who builds the next one.

use std::{
    fmt::Display,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use pulsar::{ConnectionRetryOptions, OperationRetryOptions, Pulsar, TokioExecutor};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{PulsarError, PulsarOptions, auth::FileToken, topics::Topics};

/// Between two tries: at first, and at most. With jitter, so that processes do not come back all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A link that lived this long was a good one: the next try is a first one.
const GOOD: Duration = Duration::from_secs(30);
/// How often the number of partitions is asked for.
const ASK_PARTITIONS: Duration = Duration::from_secs(30);
/// Commands that may wait on one connection.
const OUTBOUND: usize = 1_024;

pub(super) type Client = Pulsar<TokioExecutor>;
type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Links = watch::Receiver<Option<Arc<Link>>>;

/// Two connected clients, thrown away together. Two, because the broker does not answer what readers send it, so what
/// follows on the same connection would wait for its TCP to acknowledge that, up to 40 ms (Nagle's algorithm, RFC 896,
/// which the client does not turn off): no commands of readers may go before a message that is published.
pub(super) struct Link {
    /// For readers, and to ask about topics.
    pub(super) client: Client,
    /// For producers alone.
    pub(super) publishing: Client,
    /// Of the topic of events.
    pub(super) partitions: u32,
    broken: CancellationToken,
}

impl Link {
    /// Has the link thrown away and another one built.
    pub(super) fn give_up(&self, why: impl Display) {
        if !self.broken.is_cancelled() {
            tracing::warn!(%why, "connection to pulsar is given up, building another one");
            self.broken.cancel();
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }
}

/// Waits for a link that works as far as anybody knows; `None` when there will be none any more.
pub(super) async fn working(links: &mut Links) -> Option<Arc<Link>> {
    let link = links.wait_for(|link| link.as_ref().is_some_and(|link| !link.is_broken())).await.ok()?;
    link.clone()
}

/// Whether `options` can be used at all.
pub(super) async fn check(options: &PulsarOptions) -> Result<(), PulsarError> {
    let rest = options.url.strip_prefix("pulsar://").or_else(|| options.url.strip_prefix("pulsar+ssl://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with(':')) {
        return Err(PulsarError::Url(options.url.clone()));
    }
    for path in [&options.token_file, &options.ca_file] {
        read(path).await?;
    }
    Ok(())
}

async fn read(path: &Path) -> Result<Option<Vec<u8>>, PulsarError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) => Err(PulsarError::File { path: path.to_owned(), source }),
    }
}

/// Sees to it that there is a link, until `stop`.
pub(super) async fn supervise(
    options: PulsarOptions,
    links: watch::Sender<Option<Arc<Link>>>,
    stop: CancellationToken,
) {
    let mut pause = FIRST_PAUSE;
    while !stop.is_cancelled() {
        let opened = tokio::select! {
            () = stop.cancelled() => break,
            opened = tokio::time::timeout(options.request_timeout * 2, open(&options)) => opened,
        };
        match opened {
            Ok(Ok(link)) => {
                let since = Instant::now();
                let link = Arc::new(link);
                options.metrics.connected.set(1);
                links.send_replace(Some(Arc::clone(&link)));
                tokio::select! {
                    () = link.broken() => {}
                    () = more_partitions(&link, &options) => link.give_up("there are more partitions"),
                    () = stop.cancelled() => {}
                }
                options.metrics.connected.set(0);
                links.send_replace(None);
                if since.elapsed() > GOOD {
                    pause = FIRST_PAUSE;
                }
                options.metrics.rebuilds.inc();
            }
            Ok(Err(why)) => tracing::warn!(%why, "pulsar cannot be reached yet"),
            Err(_) => tracing::warn!("pulsar does not answer yet"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    links.send_replace(None);
}

/// A client with connections of its own.
async fn connect(options: &PulsarOptions) -> Result<Client, Failure> {
    // The client asks for the process's choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Pulsar::builder(&options.url, TokioExecutor)
        .with_outbound_channel_size(OUTBOUND)
        .with_connection_retry_options(ConnectionRetryOptions {
            connection_timeout: options.request_timeout,
            keep_alive: options.request_timeout,
            // Trying again is the supervisor's business.
            max_retries: 0,
            ..ConnectionRetryOptions::default()
        })
        .with_operation_retry_options(OperationRetryOptions {
            operation_timeout: options.request_timeout,
            retry_delay: FIRST_PAUSE,
            max_retries: Some(0),
        });
    if let Some(ca) = read(&options.ca_file).await? {
        builder = builder.with_certificate_chain(ca);
    }
    if !options.token_file.as_os_str().is_empty() {
        builder = builder.with_auth_provider(Box::new(FileToken(options.token_file.clone())));
    }
    Ok(builder.build().await?)
}

async fn open(options: &PulsarOptions) -> Result<Link, Failure> {
    let (client, publishing) = tokio::try_join!(connect(options), connect(options))?;
    let topic = Topics::of(options).events;
    let partitions = Box::pin(client.lookup_partitioned_topic_number(&topic)).await?;
    if partitions == 0 {
        return Err(format!("{topic} has no partitions; `chat-server migrate` makes them").into());
    }
    Ok(Link { client, publishing, partitions, broken: CancellationToken::new() })
}

/// Returns when the topic of events has grown.
async fn more_partitions(link: &Link, options: &PulsarOptions) {
    let topic = Topics::of(options).events;
    loop {
        tokio::time::sleep(ASK_PARTITIONS).await;
        let asked = Box::pin(link.client.lookup_partitioned_topic_number(&topic));
        // That it cannot be asked is no reason to give up a link that works: its readers know better.
        if let Ok(Ok(now)) = tokio::time::timeout(options.request_timeout, asked).await
            && now > link.partitions
        {
            return;
        }
    }
}
