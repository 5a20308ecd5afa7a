//! `login`, `register`, `redeem`, `password`, `logout`, `whoami`.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use chat_client::{Rest, RestError, Tokens};
use chat_protocol::{
    ErrorCode,
    rest::{PasswordRequest, RedeemRequest, RegisterRequest, TokenResponse},
};
use serde_json::json;

use crate::{
    args::{DEFAULT_URL, Global, SignIn},
    output::Output,
    profile::{Login, Profile},
    session::Session,
    text,
};

/// How the server lists this login among the sessions.
const DEVICE: &str = concat!("folkmoot ", env!("CARGO_PKG_VERSION"), " (terminal)");

pub(crate) async fn login(global: &Global, out: Output, args: &SignIn) -> anyhow::Result<()> {
    let (profile, url, rest) = target(global)?;
    let password = password(&args.user, args.password_stdin, false)?;
    let response = match rest.login(&args.user, &password, Some(DEVICE)).await {
        Err(error) if error.code() == Some(ErrorCode::Unauthenticated) => {
            bail!("the server does not know this handle with this password")
        }
        answer => answer?,
    };
    keep(out, &profile, &url, &response)
}

pub(crate) async fn register(
    global: &Global,
    out: Output,
    args: &SignIn,
    display_name: Option<String>,
    invitation: Option<String>,
) -> anyhow::Result<()> {
    let (profile, url, rest) = target(global)?;
    let request = RegisterRequest {
        handle: args.user.clone(),
        password: password(&args.user, args.password_stdin, true)?,
        display_name,
        device: Some(DEVICE.to_owned()),
        invitation,
    };
    keep(out, &profile, &url, &rest.register(&request).await?)
}

pub(crate) async fn redeem(
    global: &Global,
    out: Output,
    code: String,
    password_stdin: bool,
) -> anyhow::Result<()> {
    let (profile, url, rest) = target(global)?;
    let password = password("your account", password_stdin, true)?;
    let request = RedeemRequest { code, password, device: Some(DEVICE.to_owned()) };
    keep(out, &profile, &url, &rest.redeem(&request).await?)
}

pub(crate) async fn change_password(global: &Global, out: Output, from_stdin: bool) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let (current, new) = if from_stdin {
        (line_of_password("first")?, line_of_password("second")?)
    } else {
        must_be_terminal("--password-stdin")?;
        (ask("Current password: ")?, ask_twice("New password: ")?)
    };
    match session.rest.change_password(&PasswordRequest { current, new }).await {
        Err(error) if error.code() == Some(ErrorCode::Forbidden) => {
            bail!("the current password is another one")
        }
        answer => answer?,
    }
    out.item(&json!({"profile": session.profile.name(), "url": session.url}), || {
        "the new password holds; all other sessions of the account ended".to_owned()
    })
}

pub(crate) async fn logout(global: &Global, out: Output) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    match session.rest.logout().await {
        Ok(()) => {}
        // The server has ended it already.
        Err(error) if error.code() == Some(ErrorCode::Unauthenticated) => {}
        Err(error) => {
            return Err(error).context("could not end the login on the server; it is still kept here");
        }
    }
    session.profile.remove()?;
    out.item(&json!({"profile": session.profile.name(), "url": session.url}), || "signed out".to_owned())
}

pub(crate) async fn whoami(global: &Global, out: Output) -> anyhow::Result<()> {
    let session = Session::open(global).await?;
    let user = session.user().await?;
    let item = json!({"profile": session.profile.name(), "url": session.url, "user": user});
    out.item(&item, || {
        let (handle, name) = (text::one_line(&user.handle), text::one_line(&user.display_name));
        format!("{} ({name}) at {}", out.paint.name(&handle), session.url)
    })
}

fn target(global: &Global) -> anyhow::Result<(Profile, String, Rest)> {
    let profile = Profile::named(&global.profile)?;
    let url = match &global.url {
        Some(url) => url.clone(),
        None => profile.load()?.map_or_else(|| DEFAULT_URL.to_owned(), |login| login.url),
    };
    let rest = Rest::anonymous(&url).map_err(|error| match error {
        RestError::Url(_) => {
            anyhow::anyhow!(
                "not a usable server URL: {url:?}; it looks like {DEFAULT_URL} or https://chat.example.org"
            )
        }
        error => error.into(),
    })?;
    Ok((profile, url, rest))
}

fn keep(out: Output, profile: &Profile, url: &str, response: &TokenResponse) -> anyhow::Result<()> {
    let user = &response.user;
    let tokens = Tokens::from_response(response);
    profile.save(&Login { url: url.to_owned(), handle: user.handle.clone(), user: user.id, tokens })?;
    out.item(&json!({"profile": profile.name(), "url": url, "user": user}), || {
        let handle = out.paint.name(&text::one_line(&user.handle));
        format!("signed in as {handle} at {url}\nnext: {} chat general", profile.command())
    })
}

/// From standard input, the environment or the person, in this order. Never from an argument: those are
/// visible to other users of the machine.
fn password(whose: &str, from_stdin: bool, new: bool) -> anyhow::Result<String> {
    if from_stdin {
        return line_of_password("first");
    }
    if let Ok(password) = std::env::var("FOLKMOOT_PASSWORD")
        && !password.is_empty()
    {
        return Ok(password);
    }
    must_be_terminal("--password-stdin or FOLKMOOT_PASSWORD")?;
    let prompt = format!("Password of {}: ", text::one_line(whose));
    if new { ask_twice(&prompt) } else { ask(&prompt) }
}

fn line_of_password(which: &str) -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("could not read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("no password on the {which} line of standard input");
    }
    Ok(password.to_owned())
}

fn must_be_terminal(otherwise: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("found no terminal to ask for the password: use {otherwise}");
    }
    Ok(())
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(prompt).context("could not read the password")
}

fn ask_twice(prompt: &str) -> anyhow::Result<String> {
    let password = ask(prompt)?;
    if ask("The same again: ")? != password {
        bail!("the two passwords differ");
    }
    Ok(password)
}
