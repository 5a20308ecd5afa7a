//! The command `tail`: follows channels and prints their events.

use std::collections::HashMap;

use chat_client::{Client, ConnectionState, Options, Update};
use chat_protocol::{ChannelId, ServerFrame};

use crate::{
    args::Global,
    browse,
    output::{self, Output},
    people::{self, People},
    session::Session,
    text,
};

pub(crate) async fn tail(
    global: &Global,
    out: Output,
    wanted: &[String],
    all: bool,
    lines: usize,
) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let mut people = People::default();
    let mut channels = vec![];
    if all {
        channels = session.rest.channels().await?;
    }
    for name in wanted {
        channels.push(people::find_channel(&session.rest, name).await?);
    }
    people.learn(&session.rest, channels.iter().flat_map(|channel| channel.users.iter().copied())).await?;
    let mut names: HashMap<ChannelId, String> =
        channels.iter().map(|channel| (channel.id, people.channel(channel, session.me))).collect();
    if lines > 0 {
        for channel in &channels {
            out.note(&out.paint.dim(&format!("--- {}", names[&channel.id])));
            browse::print_latest(&session.rest, out, &mut people, channel.id, lines).await?;
        }
    }
    // From where the listing was made, so that nothing falls between it and the connection.
    let cursors = channels.iter().map(|channel| (channel.id, channel.head)).collect();
    let options = Options { cursors, ..Options::default() };
    let deadline = options.first_welcome_deadline;
    let (client, mut updates) = Client::start(session.rest.clone(), options);
    client.welcomed(deadline).await?;
    let mut away = false;
    // The time of the newest event so far, and whether the server was restored: then older ones come once more.
    let (mut newest, mut restored) = (0, false);
    while let Some(update) = updates.next().await {
        match update {
            Update::Event(event) if restored && event.at <= newest => {}
            Update::Event(event) if all || names.contains_key(&event.channel) => {
                newest = newest.max(event.at);
                if out.json {
                    out.line(&serde_json::to_string(&ServerFrame::Event(event))?)?;
                    continue;
                }
                // Without names the ids are shown: better than no message.
                let _ = people.learn(&session.rest, output::people_in_event(&event)).await;
                if !names.contains_key(&event.channel)
                    && let Ok(channel) = session.rest.channel(event.channel).await
                {
                    let _ = people.learn(&session.rest, channel.users.iter().copied()).await;
                    names.insert(channel.id, people.channel(&channel, session.me));
                }
                let Some(line) = output::event(out.paint, &people, &event) else { continue };
                match names.get(&event.channel) {
                    Some(name) if names.len() > 1 => out.line(&format!("{} {line}", out.paint.dim(name)))?,
                    _ => out.line(&line)?,
                }
            }
            Update::Restored { .. } => {
                restored = true;
                out.note("* the server was restored from a backup: some of what is above may not be there any more");
            }
            Update::State(ConnectionState::Waiting { reason, .. }) if !away => {
                away = true;
                out.note(&format!("* not connected ({}); trying again", text::one_line(&reason)));
            }
            Update::State(ConnectionState::Connected { .. }) if away => {
                away = false;
                out.note("* connected again");
            }
            Update::State(ConnectionState::Ended(end)) => return Err(end.into()),
            _ => {}
        }
    }
    Ok(())
}
