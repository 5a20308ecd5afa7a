//! `channels`, `join`, `take-over`, `users`, `history`.

use chat_client::{Rest, RestError};
use chat_log::text::is_name;
use chat_protocol::{
    ChannelId,
    limits::MAX_PAGE,
    rest::{Channel, Message},
};

use crate::{
    args::Global,
    output::{self, Output},
    people::{self, People},
    session::Session,
    text,
};

pub(crate) async fn channels(
    global: &Global,
    out: Output,
    public: bool,
    orphaned: bool,
) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let channels = match (public, orphaned) {
        (true, _) => session.rest.public_channels().await?,
        (_, true) => session.rest.orphaned_channels().await?,
        _ => session.rest.channels().await?,
    };
    let mut people = People::default();
    people.learn(&session.rest, channels.iter().flat_map(|channel| channel.users.iter().copied())).await?;
    if channels.is_empty() && orphaned {
        out.note("none");
    } else if channels.is_empty() {
        out.note("none; `folkmoot channels --public` lists those to join");
    }
    for channel in &channels {
        let name = people.channel(channel, session.me);
        // Two of them may have the same name, and what takes one over takes its id.
        let name = if orphaned { format!("{}  {name}", channel.id) } else { name };
        out.item(channel, || summary(out, &name, channel))?;
    }
    Ok(())
}

pub(crate) async fn take_over(global: &Global, out: Output, channel: ChannelId) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let channel = session.rest.take_over(channel).await?;
    out.item(&channel, || format!("joined {}", People::default().channel(&channel, session.me)))
}

/// A remark on names that are there from before they were checked.
fn refused_today(out: Output, name: &str) -> String {
    if is_name(name) { String::new() } else { out.paint.dim("  (a name that is given no more; rename)") }
}

fn summary(out: Output, name: &str, channel: &Channel) -> String {
    let unread = channel.unread.unwrap_or(0);
    let mut line =
        if unread > 0 { format!("{} ({unread} unread)", out.paint.bold(name)) } else { name.to_owned() };
    if channel.archived {
        line.push_str(" (archived)");
    }
    line.push_str(&refused_today(out, channel.name.as_deref().unwrap_or("-")));
    if !channel.topic.is_empty() {
        line = format!("{line}  {}", out.paint.dim(&text::one_line(&channel.topic)));
    }
    line
}

pub(crate) async fn join(global: &Global, out: Output, channel: &str) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let channel = session.rest.join(people::find_public(&session.rest, channel).await?).await?;
    out.item(&channel, || format!("joined {}", People::default().channel(&channel, session.me)))
}

pub(crate) async fn users(global: &Global, out: Output, prefix: Option<&str>) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let mut cursor = None;
    loop {
        // Page by page to the output: there may be a quarter of a million.
        let page = session.rest.users(prefix.unwrap_or_default(), cursor.as_deref()).await?;
        for user in &page.items {
            out.item(user, || {
                let closed = if user.deactivated { "  (closed)" } else { "" };
                format!(
                    "@{}  {}{closed}{}",
                    out.paint.name(&text::one_line(&user.handle)),
                    text::one_line(&user.display_name),
                    refused_today(out, &user.display_name)
                )
            })?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

pub(crate) async fn history(global: &Global, out: Output, channel: &str, lines: usize) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let channel = people::find_channel(&session.rest, channel).await?;
    let mut people = People::default();
    print_latest(&session.rest, out, &mut people, channel.id, lines).await?;
    Ok(())
}

/// Prints the last `lines` messages, oldest first.
pub(crate) async fn print_latest(
    rest: &Rest,
    out: Output,
    people: &mut People,
    channel: ChannelId,
    lines: usize,
) -> anyhow::Result<()> {
    let messages = latest(rest, channel, lines).await?;
    people.learn(rest, output::people_in_messages(&messages)).await?;
    for message in &messages {
        out.item(message, || output::message(out.paint, people, message))?;
    }
    Ok(())
}

/// The last `lines` messages, oldest first.
pub(crate) async fn latest(rest: &Rest, channel: ChannelId, lines: usize) -> Result<Vec<Message>, RestError> {
    let mut messages = vec![];
    let mut cursor = None;
    while messages.len() < lines {
        let limit = (lines - messages.len()).min(MAX_PAGE);
        let page = rest.messages(channel, limit, cursor.as_deref()).await?;
        messages.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    messages.truncate(lines);
    messages.reverse();
    Ok(messages)
}
