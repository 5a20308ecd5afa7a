//! Commands that write to a channel once, and end.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use chat_client::{Rest, RestError};
use chat_protocol::{
    ChannelId, ClientId, FileId, Seq,
    limits::{MAX_FILE_BYTES, MAX_PAGE, MAX_TEXT_BYTES},
    rest::{Committed, SendMessage},
};
use clap::Subcommand;
use serde_json::json;

use crate::{args::Global, output::Output, people, session::Session, text};

/// For how long a message is sent again when the server is busy or away.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// What can be written.
#[derive(Debug, Subcommand)]
pub(crate) enum Write {
    /// Send a message
    #[command(
        after_help = "Examples:\n  folkmoot send general 'Deploy is done'\n  folkmoot send @grace 'Lunch?'\n  \
        git log -1 | folkmoot send general -"
    )]
    Send {
        /// Where to: general, #general, @grace or an id
        channel: String,
        /// Markdown; several words need no quotes. `-` reads it from standard input
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Send a file of at most 25 MiB
    Upload {
        /// Where to: general, #general, @grace or an id
        channel: String,
        /// Path of the file to upload
        file: PathBuf,
        /// Text to go with it
        #[arg(short, long, default_value = "")]
        message: String,
    },
    /// React to a message with an emoji
    #[command(
        after_help = "Examples:\n  folkmoot react general 👍\n  folkmoot react general 🎉 --message 42\n  \
        folkmoot react general 👍 --remove"
    )]
    React {
        /// Where: general, #general, @grace or an id
        channel: String,
        /// The emoji to react with
        emoji: String,
        /// Which message, by its position in the channel [default: the newest]
        #[arg(short, long, value_name = "SEQ")]
        message: Option<Seq>,
        /// Take the reaction back instead
        #[arg(short, long)]
        remove: bool,
    },
}

impl Write {
    pub(crate) async fn run(self, global: &Global, out: Output) -> anyhow::Result<()> {
        match self {
            Self::Send { channel, text } => send(global, out, &channel, &text).await,
            Self::Upload { channel, file, message } => upload(global, out, &channel, &file, message).await,
            Self::React { channel, emoji, message, remove } => {
                react(global, out, &channel, &emoji, message, remove).await
            }
        }
    }
}

async fn send(global: &Global, out: Output, channel: &str, words: &[String]) -> anyhow::Result<()> {
    let text = match words {
        [dash] if dash == "-" => from_stdin()?,
        words => words.join(" "),
    };
    if text.trim().is_empty() {
        bail!("there is no text to send");
    }
    if text.len() > MAX_TEXT_BYTES {
        bail!(
            "the text is too long, at most {MAX_TEXT_BYTES} bytes are allowed: `folkmoot upload` sends it as a file"
        );
    }
    let session = Session::open(global).await?;
    let channel = people::find_channel(&session.rest, channel).await?;
    let committed = commit(&session.rest, channel.id, text, vec![]).await?;
    out.item(&committed, || "sent".to_owned())
}

async fn upload(
    global: &Global,
    out: Output,
    channel: &str,
    path: &Path,
    message: String,
) -> anyhow::Result<()> {
    check_file(path)?;
    let session = Session::open(global).await?;
    let channel = people::find_channel(&session.rest, channel).await?;
    let file = session.rest.upload_file(channel.id, path).await?;
    let committed = commit(&session.rest, channel.id, message, vec![file.id]).await?;
    out.item(&json!({"file": file, "message": committed}), || {
        format!("sent {} ({})", text::one_line(&file.name), text::size(file.size))
    })
}

async fn react(
    global: &Global,
    out: Output,
    channel: &str,
    emoji: &str,
    message: Option<Seq>,
    remove: bool,
) -> anyhow::Result<()> {
    chat_log::check_emoji(emoji).map_err(anyhow::Error::msg)?;
    let session = Session::open(global).await?;
    let channel = people::find_channel(&session.rest, channel).await?.id;
    let target = match message {
        Some(seq) => seq,
        None => newest_message(&session.rest, channel, Seq::MAX).await?,
    };
    let (rest, id) = (&session.rest, ClientId(uuid::Uuid::new_v4()));
    let committed = Rest::retrying(RETRY_FOR, || async move {
        if remove {
            rest.unreact(channel, target, id, emoji).await
        } else {
            rest.react(channel, target, id, emoji).await
        }
    });
    out.item(&committed.await?, || {
        let emoji = text::one_line(emoji);
        if remove {
            format!("took back {emoji} from message {target}")
        } else {
            format!("reacted with {emoji} to message {target}")
        }
    })
}

/// The newest message up to a position that is not deleted.
pub(crate) async fn newest_message(rest: &Rest, channel: ChannelId, up_to: Seq) -> anyhow::Result<Seq> {
    let messages = rest.messages(channel, MAX_PAGE, None).await?.items;
    let newest = messages.iter().find(|message| message.seq <= up_to && !message.deleted);
    newest.map(|message| message.seq).context("found no message to react to")
}

/// Says before anything is sent what the server would refuse after it was.
pub(crate) fn check_file(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("could not read {shown}"))?;
    if !metadata.is_file() {
        bail!("{shown} is not a file");
    }
    if metadata.len() > MAX_FILE_BYTES {
        bail!(
            "{shown} is too large: at most {} are allowed, it has {} bytes",
            text::size(MAX_FILE_BYTES),
            metadata.len()
        );
    }
    Ok(())
}

/// Sends until it is known to be there: repeating it with the same id makes no second message.
async fn commit(
    rest: &Rest,
    channel: ChannelId,
    text: String,
    files: Vec<FileId>,
) -> Result<Committed, RestError> {
    let (id, message) = (ClientId(uuid::Uuid::new_v4()), SendMessage { text, files, seen: None });
    Rest::retrying(RETRY_FOR, || rest.send_message(channel, id, &message)).await
}

fn from_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    // One byte more than allowed is enough to know that it is too much.
    let limit = MAX_TEXT_BYTES as u64 + 1;
    io::stdin()
        .lock()
        .take(limit)
        .read_to_string(&mut text)
        .context("could not read text from standard input")?;
    Ok(text.trim_end().to_owned())
}
