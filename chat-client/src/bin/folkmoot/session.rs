//! Who is signed in, and the server they are signed in to.

use anyhow::{Context as _, bail};
use chat_client::{Auth, Rest};
use chat_protocol::{UserId, rest::User};

use crate::{
    args::{DEFAULT_URL, Global},
    failure::NotSignedIn,
    profile::Profile,
};

/// A signed-in person.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) rest: Rest,
    pub(crate) me: UserId,
    pub(crate) profile: Profile,
    pub(crate) url: String,
}

impl Session {
    /// The profile's login, or the access token in `FOLKMOOT_TOKEN`.
    pub(crate) async fn open(global: &Global) -> anyhow::Result<Self> {
        let profile = Profile::named(&global.profile)?;
        if let Ok(token) = std::env::var("FOLKMOOT_TOKEN")
            && !token.is_empty()
        {
            let url = global.url.clone().unwrap_or_else(|| DEFAULT_URL.to_owned());
            let rest = Rest::connect(&url, Auth::AccessToken(token)).await?;
            let me = rest.me().await.context("could not use the token in FOLKMOOT_TOKEN")?.id;
            return Ok(Self { rest, me, profile, url });
        }
        let Some(login) = profile.load()? else { bail!(NotSignedIn { command: profile.command() }) };
        if let Some(url) = &global.url
            && normal(url) != normal(&login.url)
        {
            // Tokens must not reach another server than the one that gave them.
            bail!(
                "profile {} is signed in to {}, not to {url}: sign in there with `{} --url {url} login --user {}`, \
                 or use another --profile",
                profile.name(),
                login.url,
                profile.command(),
                login.handle
            );
        }
        let rest = Rest::connect(&login.url, Auth::Session(Box::new(profile.clone()))).await?;
        Ok(Self { rest, me: login.user, profile, url: login.url })
    }

    /// Oneself, as the server knows one.
    pub(crate) async fn user(&self) -> anyhow::Result<User> {
        Ok(self.rest.me().await?)
    }
}

/// A URL in a form in which equal ones are equal.
fn normal(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_server_is_recognised() {
        for (a, b, same) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("HTTPS://Chat.Example.org:443", "https://chat.example.org", true),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8081", false),
            ("http://chat.example.org", "https://chat.example.org", false),
        ] {
            assert_eq!(normal(a) == normal(b), same, "{a} {b}");
        }
    }
}
