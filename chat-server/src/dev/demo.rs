//! The demo organisation: three people, two channels, a private word, and something said already.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chat_domain::chat::{Actor, Chat, ChatError};
use chat_protocol::{
    ChannelKind, ClientId, SessionId,
    rest::{CreateChannel, User},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::App;

/// Keeps the passwords, so that they can be printed at every start.
const FILE: &str = "demo-passwords.json";

/// Handles and names, the owner first.
const PEOPLE: [(&str, &str); 3] =
    [("ada", "Ada Lovelace"), ("grace", "Grace Hopper"), ("linus", "Linus Torvalds")];

/// Who says what in `general`.
const GENERAL: [(usize, &str); 9] = [
    (0, "Welcome to **Folkmoot**! This is `general`, where everybody is."),
    (1, "Thanks! Does it survive me pulling the plug?"),
    (0, "That is the point. What has one tick is on disk; the rest is sent again by itself, once."),
    (2, "So if I `kill -9` the server in the middle of a sentence…"),
    (1, "…you start it again and nobody notices. I tried. *Twice.*"),
    (
        0,
        "Things to try:\n- open a second browser as somebody else\n- drop a file into the conversation\n- stop the server and go on typing",
    ),
    (2, "And there is a terminal client: `folkmoot chat general`."),
    (1, "Everything it does is in the open: see `/openapi.json` and `/asyncapi.json`."),
    (0, "Have fun. Everything here is yours to delete."),
];

/// Who says what in `random`.
const RANDOM: [(usize, &str); 3] = [
    (2, "Is this the place for things that belong nowhere else?"),
    (1, "It is. I once found a moth in a relay; where else would I tell?"),
    (0, "I left a note in the margin. It got longer than the page."),
];

/// Who says what between the first two.
const DIRECT: [(usize, &str); 2] =
    [(1, "Psst, only you and I can read this."), (0, "Not even the owner could, if I were not it.")];

/// Words that are easy to read aloud and to type.
const WORDS: [&str; 64] = [
    "amber", "anchor", "autumn", "basil", "beacon", "birch", "bramble", "bridge", "candle", "canyon",
    "cedar", "cinder", "clover", "copper", "coral", "cotton", "ember", "falcon", "fern", "fiddle", "garnet",
    "ginger", "glacier", "granite", "harbor", "hazel", "heron", "indigo", "island", "ivory", "jasper",
    "juniper", "kettle", "lagoon", "lantern", "lemon", "linen", "maple", "marble", "meadow", "mint",
    "nectar", "oak", "olive", "orchard", "otter", "paper", "pebble", "pepper", "pine", "quartz", "quill",
    "raven", "river", "saffron", "silver", "sparrow", "thistle", "timber", "velvet", "violet", "walnut",
    "willow", "winter",
];

/// Why there is no demo organisation.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The server refused something.
    #[error("the demo organisation could not be made")]
    Chat(#[from] ChatError),
    /// The file of passwords.
    #[error("failed to read or write {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// Who can sign in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Demo {
    pub(super) people: Vec<Person>,
}

/// One of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) handle: String,
    pub(super) password: String,
}

impl Demo {
    /// Makes it on a server without users; on others, answers what was made before, if anything was.
    pub(super) async fn ensure(app: &App, dir: &Path) -> Result<Option<Self>, DemoError> {
        let path = dir.join(FILE);
        let failed = |source| DemoError::File { path: path.clone(), source };
        if app.auth().has_users().await? {
            return match std::fs::read(&path) {
                Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.into())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(error)),
            };
        }
        let people =
            PEOPLE.iter().map(|(handle, _)| Person { handle: (*handle).into(), password: passphrase() });
        let demo = Self { people: people.collect() };
        // Before anybody exists: accounts whose passwords nobody knows would be of no use.
        demo.write(&path).map_err(failed)?;
        demo.populate(app).await?;
        Ok(Some(demo))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()
    }

    async fn populate(&self, app: &App) -> Result<(), ChatError> {
        let mut actors = Vec::new();
        for (person, (_, name)) in self.people.iter().zip(PEOPLE) {
            let made = app.auth().create_account(&person.handle, Some(name.into()), person.password.clone());
            actors.push(actor(&made.await?));
        }
        let chat = app.chat();
        let everybody = actors.iter().skip(1).map(|actor| actor.user).collect::<Vec<_>>();
        for (name, topic, history) in [
            ("general", "What everybody should know", &GENERAL[..]),
            ("random", "What nobody needs to know", &RANDOM[..]),
        ] {
            let request = CreateChannel {
                kind: ChannelKind::Public,
                name: name.into(),
                topic: topic.into(),
                members: everybody.clone(),
            };
            let channel = chat.create_channel(&actors[0], request).await?;
            say(chat, &actors, channel.id, history).await?;
        }
        let direct = chat.open_direct(&actors[0], vec![actors[1].user]).await?;
        say(chat, &actors, direct.id, &DIRECT).await
    }
}

async fn say(
    chat: &Arc<Chat>,
    actors: &[Actor],
    channel: chat_protocol::ChannelId,
    history: &[(usize, &str)],
) -> Result<(), ChatError> {
    for (who, text) in history {
        let id = ClientId(Uuid::new_v4());
        chat.send(&actors[*who], channel, id, (*text).into(), Vec::new(), None).await?;
    }
    Ok(())
}

fn actor(user: &User) -> Actor {
    Actor { user: user.id, role: user.role, auth_version: 0, session: SessionId(Uuid::nil()) }
}

/// Three words and a number: 25 bits, enough behind the login limits of a demo.
fn passphrase() -> String {
    let word = || WORDS[rand::random_range(0..WORDS.len())];
    format!("{}-{}-{}-{}", word(), word(), word(), rand::random_range(10..100))
}
