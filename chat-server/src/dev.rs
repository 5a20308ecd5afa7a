//! `chat-server dev`: a whole chat on one machine, with people to try it out.

mod demo;
mod greeting;

use std::time::Duration;

use demo::Demo;
pub use demo::DemoError;

use crate::{app::App, config::Config};

/// The defaults of `dev`: a quiet log, and no long goodbye. Limits are those of any server, for people do use it.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.log.level = "warn,audit=info".into();
    config.gateway.drain_window = Duration::from_secs(1);
    config
}

/// Makes the demo organisation if nobody is there and `demo` says so, and prints what to do next.
///
/// # Errors
/// When the demo organisation cannot be made or its passwords not be read.
pub async fn greet(app: &App, config: &Config, demo: bool) -> Result<(), DemoError> {
    let demo = if demo { Demo::ensure(app, &config.data.dir).await? } else { None };
    print!("{}", greeting::text(app, config, demo.as_ref()));
    Ok(())
}
