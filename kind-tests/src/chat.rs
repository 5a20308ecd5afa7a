//! The chat itself, through its Service: by the command line and by the SDK.

use std::{
    net::TcpListener,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use chat_client::{
    Auth, Client, Options, Rest, Update, Updates,
    protocol::{
        ChannelId, ChannelKind, EventBody, Seq,
        rest::{CreateChannel, RegisterRequest},
    },
};
use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{
    command,
    scene::{CHAT, Scene},
    settings::Reach,
    wait::until,
};

/// A name that was not there before: what a chat keeps outlives its `ChatCluster`, and tests are run again.
fn new_name(name: &str) -> String {
    format!("{name}-{:x}", jiff::Timestamp::now().as_millisecond())
}

/// The password of everybody.
const PASSWORD: &str = "correct horse battery";
/// How soon something that was sent is to be heard.
const HEARD: Duration = Duration::from_secs(20);
/// Longest time for one try to connect. A node changes its rules one table after the other: a packet between the two is no longer
/// refused and not yet led to a pod, and connection tracking sends what follows it the same wrong way. Another try is judged anew.
const CONNECT: Duration = Duration::from_secs(1);

/// A way to the chat's Service.
pub struct Endpoint {
    /// The URL, `http://…`.
    pub url: String,
    _forward: Option<Child>,
}

/// Finds the way to the chat's Service, and waits until it leads somewhere: nodes hear of a pod that is ready later than whoever asks
/// the API server.
///
/// # Errors
/// When there is none.
pub async fn endpoint(scene: &Scene) -> Result<Endpoint> {
    let service = scene.api::<Service>().get(CHAT).await.context("expected a Service of the chat's name")?;
    let spec = service.spec.unwrap_or_default();
    let port = spec.ports.unwrap_or_default().first().map(|port| port.port).context("expected a port")?;
    let (address, forward) = if scene.settings.reach == Reach::ClusterIp {
        let address = spec.cluster_ip.context("expected the Service to have an address")?;
        (format!("{address}:{port}"), None)
    } else {
        let local = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let forward = Command::new("kubectl")
            .args(["-n", &scene.namespace, "port-forward", "service/chat", &format!("{local}:{port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        (format!("127.0.0.1:{local}"), Some(forward))
    };
    until("the chat's Service to take connections", HEARD, async || {
        tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await??;
        Ok(())
    })
    .await?;
    Ok(Endpoint { url: format!("http://{address}"), _forward: forward })
}

/// The way to the chat's Service for a load: new connections find any gateway that the Service selects. `None` where there is only a
/// forwarded port, which leads to one gateway for as long as that lives: what a test is about would not happen, and it says so.
///
/// # Errors
/// When there is no way.
pub async fn shared_endpoint(scene: &Scene) -> Result<Option<Endpoint>> {
    if scene.settings.reach == Reach::ClusterIp {
        return endpoint(scene).await.map(Some);
    }
    println!("NOT TESTED HERE: {}: a forwarded port leads to one gateway only", scene.namespace);
    Ok(None)
}

/// Somebody with the `folkmoot` program, and a login of their own.
pub struct Person<'a> {
    scene: &'a Scene,
    url: String,
    home: TempDir,
    /// Of the account.
    pub handle: String,
}

impl<'a> Person<'a> {
    /// Makes an account, as `folkmoot register` does.
    ///
    /// # Errors
    /// When the chat refuses.
    pub async fn register(scene: &'a Scene, endpoint: &Endpoint, handle: &str) -> Result<Self> {
        let person =
            Self { scene, url: endpoint.url.clone(), home: tempfile::tempdir()?, handle: new_name(handle) };
        person
            .run(&["register", "--user", &person.handle, "--password-stdin"], &format!("{PASSWORD}\n"))
            .await?;
        Ok(person)
    }

    /// Runs `folkmoot` with these arguments.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut program = self.program();
        let output = command::run(program.args(arguments), input).await?;
        output.succeeded().with_context(|| format!("folkmoot {}", arguments.join(" ")))
    }

    /// The program, for one that runs beside the test.
    #[must_use]
    pub fn program(&self) -> Command {
        let mut program = Command::new(self.scene.settings.programs.join("folkmoot"));
        program.env("FOLKMOOT_CONFIG_DIR", self.home.path()).env("FOLKMOOT_URL", &self.url);
        program
    }
}

/// Somebody who sends a message ten times a second, through everything that happens, and listens.
pub struct Chatter {
    client: Client,
    channel: ChannelId,
    sent: Arc<Mutex<Vec<(String, Seq)>>>,
    heard: Arc<Mutex<Vec<(Seq, String)>>>,
    slowest: Arc<Mutex<Duration>>,
    sending: JoinHandle<Result<()>>,
    listening: JoinHandle<()>,
}

/// What a [`Chatter`] saw.
#[derive(Debug)]
pub struct Heard {
    /// Messages that were acknowledged.
    pub messages: usize,
    /// The longest time from sending one to its acknowledgement.
    pub slowest: Duration,
}

impl Chatter {
    /// Makes an account and begins.
    ///
    /// # Errors
    /// When the chat refuses.
    pub async fn start(endpoint: &Endpoint, handle: &str) -> Result<Self> {
        let handle = new_name(handle);
        let account = RegisterRequest {
            handle: handle.clone(),
            password: PASSWORD.into(),
            display_name: None,
            device: None,
            invitation: None,
        };
        Rest::anonymous(&endpoint.url)?.register(&account).await?;
        let auth = Auth::Password { handle, password: PASSWORD.into() };
        let (client, updates) = Client::connect(&endpoint.url, auth, Options::default()).await?;
        let channel = CreateChannel {
            kind: ChannelKind::Public,
            name: new_name("general"),
            topic: String::new(),
            members: vec![],
        };
        let channel = client.rest().create_channel(&channel).await?.id;
        let (sent, heard, slowest) = (Arc::default(), Arc::default(), Arc::default());
        let sending = tokio::spawn(send(client.clone(), channel, Arc::clone(&sent), Arc::clone(&slowest)));
        let listening = tokio::spawn(listen(updates, channel, Arc::clone(&heard)));
        Ok(Self { client, channel, sent, heard, slowest, sending, listening })
    }

    /// How many messages were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.sent.lock().len()
    }

    /// Waits until some more messages are acknowledged: the chat serves now.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn goes_on(&self) -> Result<()> {
        let before = self.acknowledged();
        until("messages to be acknowledged", HEARD, async || {
            ensure!(self.acknowledged() >= before + 3, "none was since {before}");
            Ok(())
        })
        .await
    }

    /// Ends, and compares: everything that was acknowledged was heard, once, at its place.
    ///
    /// # Errors
    /// When something is missing, doubled or out of order.
    pub async fn end(self) -> Result<Heard> {
        self.sending.abort();
        if let Ok(outcome) = self.sending.await {
            outcome.context("expected every message to be acknowledged")?;
        }
        let sent = self.sent.lock().clone();
        let last = sent.last().context("expected messages to be acknowledged")?.1;
        until("all messages to be heard", HEARD, async || {
            let seen = self.heard.lock().last().map_or(0, |(seq, _)| *seq);
            ensure!(seen >= last, "heard up to {seen} of {last}");
            Ok(())
        })
        .await?;
        let heard = self.heard.lock().clone();
        ensure!(
            heard.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0),
            "expected a dense log, heard {heard:?}"
        );
        for (text, seq) in &sent {
            let times = heard.iter().filter(|(_, other)| other == text).count();
            let place = heard.iter().find(|(_, other)| other == text).map(|(seq, _)| *seq);
            ensure!(
                times == 1 && place == Some(*seq),
                "{text:?} of {seq} was heard {times} times, at {place:?}"
            );
        }
        self.client.close().await;
        self.listening.abort();
        let _ = self.channel;
        Ok(Heard { messages: sent.len(), slowest: *self.slowest.lock() })
    }
}

async fn send(
    client: Client,
    channel: ChannelId,
    sent: Arc<Mutex<Vec<(String, Seq)>>>,
    slowest: Arc<Mutex<Duration>>,
) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for number in 0.. {
        ticks.tick().await;
        let (text, began) = (format!("message {number}"), Instant::now());
        let done = client.send(channel, text.clone()).await?;
        let mut slowest = slowest.lock();
        *slowest = slowest.max(began.elapsed());
        sent.lock().push((text, done.seq));
    }
    Ok(())
}

async fn listen(mut updates: Updates, channel: ChannelId, heard: Arc<Mutex<Vec<(Seq, String)>>>) {
    while let Some(update) = updates.next().await {
        let Update::Event(event) = update else { continue };
        if event.channel != channel {
            continue;
        }
        let text = match &event.body {
            EventBody::Message { text, .. } => text.clone(),
            _ => String::new(),
        };
        heard.lock().push((event.seq, text));
    }
}

/// Whether somebody can register, send and receive: by a person who listens and one who writes.
///
/// # Errors
/// When they cannot.
pub async fn works(scene: &Scene, endpoint: &Endpoint) -> Result<()> {
    let (ada, grace) =
        (Person::register(scene, endpoint, "ada").await?, Person::register(scene, endpoint, "grace").await?);
    let (to_ada, to_grace) = (format!("@{}", ada.handle), format!("@{}", grace.handle));
    // The first message makes the channel in which the others are heard.
    ada.run(&["send", &to_grace, "are you there?"], "").await?;
    let mut listening = grace
        .program()
        .args(["tail", "--all", "--json", "-n", "5"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = listening.stdout.take().context("expected its output")?;
    ada.run(&["send", &to_grace, "hello", "grace"], "").await?;
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(out));
    let heard = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("hello grace") {
                return Ok(());
            }
        }
        bail!("expected `folkmoot tail` to go on")
    };
    tokio::time::timeout(HEARD, heard).await.context("expected grace to hear ada")??;
    let history = grace.run(&["history", &to_ada], "").await?;
    ensure!(history.contains("hello grace"), "expected it in the history too: {history}");
    Ok(())
}
