//! What a run is made of, and the command line for it.

use std::{net::SocketAddr, net::ToSocketAddrs, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::bars::Bars;

/// What the other side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Folkmoot: accounts, channels, REST.
    Folkmoot,
    /// The bare broadcaster: one channel, no accounts, no REST; the log is what was acked.
    Bare,
}

/// The settings of one run.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// A gateway, or what balances to several, such as <http://127.0.0.1:8080>; TLS is not spoken. May be repeated: sockets
    /// are dealt out, and one that fails goes to the next. A name is looked up once
    #[arg(long = "url", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub urls: Vec<String>,
    /// Where logs are read over REST [default: the first --url]
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// JSON lines of `user`, `token` and `channels`, as `chat-server seed` writes them
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Sockets to hold; with more of them than tokens, users get several
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Messages a second, over all sockets
    #[arg(long, value_name = "R", default_value_t = 10.0)]
    pub rate: f64,
    /// Length of the measured window
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// Length of a message's text in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub size: u32,
    /// Share of the sockets that are dropped without a close frame and resumed, a minute
    #[arg(long, value_name = "PERCENT_PER_MINUTE", default_value_t = 0.0)]
    pub churn: f64,
    /// Process id of the server, to measure its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Also write the report to a file
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// Sockets that watch the presence of others, some of which come and go for it [default: 8 with --churn, else 0]
    #[arg(long, value_name = "N")]
    pub watch: Option<u32>,
    /// Reads of recent history over REST, a second
    #[arg(long, value_name = "R", default_value_t = 0.0)]
    pub read_rate: f64,
    /// Seconds that a watched user stays away whose socket the server cut, so that watchers must hear of it
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    pub stay_away: f64,
    /// Seconds of load before the measured window; checked, but not measured
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub warmup: f64,
    /// Seconds to wait at the end for what is under way
    #[arg(long, value_name = "S", default_value_t = 15.0)]
    pub drain: f64,
    /// Most first connections a second; who lost a socket comes back when it wants to [default: as fast as the server takes
    /// them]
    #[arg(long, value_name = "PER_SECOND")]
    pub ramp: Option<f64>,
    /// Most connections that are being set up at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub handshakes: u32,
    /// Seconds to wait for all to be connected
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub connect_timeout: f64,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Connect from 127.0.0.1 to 127.0.0.K (a loopback server only)
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=250))]
    pub source_addresses: u8,
    /// Threads that hold the sockets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: u8,
    /// Record everything that happens as JSON lines, for `chat-load check`
    #[arg(long, visible_alias = "record", value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// What the other side speaks
    #[arg(long, value_enum, default_value_t = Protocol::Folkmoot)]
    pub protocol: Protocol,
    /// No progress line
    #[arg(long, short)]
    pub quiet: bool,
    /// What it is judged by besides the promises
    #[command(flatten)]
    pub bars: Bars,
}

/// A run that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// TLS or something else.
    #[error("not a URL of the form http://HOST:PORT: {0}")]
    Url(String),
    /// The host has no address.
    #[error("{host} has no address")]
    Resolve {
        /// The host and port.
        host: String,
        /// Why it has none.
        source: std::io::Error,
    },
    /// Nobody to sign in as.
    #[error("no accounts were given: --tokens FILE names those that `chat-server seed` wrote")]
    NoTokens,
    /// A number that makes no sense.
    #[error("--{0} must be a number of at least 0")]
    Negative(&'static str),
}

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port as in the URL, for the `Host` header.
    pub host: String,
    /// Address to connect to.
    pub address: SocketAddr,
}

impl Target {
    /// The target of a URL.
    ///
    /// # Errors
    /// When it is not plain HTTP or its host has no address.
    pub fn of(url: &str) -> Result<Self, OptionsError> {
        let host = ["http://", "ws://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .and_then(|rest| rest.split('/').next())
            .filter(|host| !host.is_empty() && !host.contains('@'))
            .ok_or_else(|| OptionsError::Url(url.to_owned()))?;
        let named = if host.rsplit(':').next().is_some_and(|p| p.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let address = named
            .to_socket_addrs()
            .and_then(|mut all| all.next().ok_or_else(|| std::io::ErrorKind::NotFound.into()))
            .map_err(|source| OptionsError::Resolve { host: named, source })?;
        Ok(Self { host: host.to_owned(), address })
    }
}

impl Options {
    /// A run against a server, with every option that has one at its default.
    #[must_use]
    pub fn new(url: impl Into<String>, connections: u32) -> Self {
        Self {
            urls: vec![url.into()],
            api: None,
            tokens: None,
            connections,
            rate: 10.0,
            seconds: 10.0,
            size: 200,
            churn: 0.0,
            server_pid: None,
            json: None,
            watch: None,
            stay_away: 0.0,
            read_rate: 0.0,
            warmup: 1.0,
            drain: 15.0,
            ramp: None,
            handshakes: 256,
            connect_timeout: 60.0,
            seed: 1,
            source_addresses: 8,
            threads: 1,
            history: None,
            protocol: Protocol::Folkmoot,
            quiet: true,
            bars: Bars::default(),
        }
    }

    /// Where the gateways are: at least one.
    ///
    /// # Errors
    /// When a URL is not plain HTTP or its host has no address.
    pub fn targets(&self) -> Result<Vec<Target>, OptionsError> {
        if self.urls.is_empty() {
            return Err(OptionsError::Url("none".into()));
        }
        self.urls.iter().map(|url| Target::of(url)).collect()
    }

    /// Where logs are read.
    ///
    /// # Errors
    /// When the URL is not plain HTTP or its host has no address.
    pub fn api_target(&self) -> Result<Target, OptionsError> {
        match self.api.as_ref().or_else(|| self.urls.first()) {
            Some(url) => Target::of(url),
            None => Err(OptionsError::Url("none".into())),
        }
    }
    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// Names the first of them.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let numbers = [
            ("rate", self.rate),
            ("seconds", self.seconds),
            ("churn", self.churn),
            ("warmup", self.warmup),
            ("drain", self.drain),
            ("ramp", self.ramp.unwrap_or_default()),
            ("connect-timeout", self.connect_timeout),
            ("stay-away", self.stay_away),
            ("read-rate", self.read_rate),
            ("drain-window", self.bars.drain_window.unwrap_or_default()),
            ("max-reconnect-peak", self.bars.max_reconnect_peak.unwrap_or_default()),
            ("min-prompt", self.bars.min_prompt.unwrap_or_default()),
        ];
        if self.protocol == Protocol::Folkmoot && self.tokens.is_none() {
            return Err(OptionsError::NoTokens);
        }
        self.targets()?;
        self.api_target()?;
        match numbers.into_iter().find(|(_, n)| !n.is_finite() || *n < 0.0) {
            Some((name, _)) => Err(OptionsError::Negative(name)),
            None => Ok(()),
        }
    }

    /// How many sockets watch presence.
    #[must_use]
    pub fn watchers(&self) -> u32 {
        let default = if self.churn > 0.0 && self.protocol == Protocol::Folkmoot { 8 } else { 0 };
        self.watch.unwrap_or(default).min(self.connections / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused() {
        for (url, port) in [
            ("http://127.0.0.1:8080", Some(8080)),
            ("ws://127.0.0.1:9/v1/ws", Some(9)),
            ("http://127.0.0.1/", Some(80)),
            ("https://127.0.0.1", None),
            ("127.0.0.1:80", None),
            ("http://", None),
        ] {
            let target = Options::new(url, 1).targets().ok();
            assert_eq!(target.map(|t| t[0].address.port()), port, "{url}");
        }
    }

    #[test]
    fn numbers_below_zero_are_refused() {
        let mut options = Options::new("http://127.0.0.1:1", 1);
        assert!(matches!(options.validate(), Err(OptionsError::NoTokens)));
        options.protocol = Protocol::Bare;
        assert!(options.validate().is_ok());
        options.churn = -1.0;
        assert_eq!(
            options.validate().map_err(|e| e.to_string()),
            Err("--churn must be a number of at least 0".into())
        );
    }
}
