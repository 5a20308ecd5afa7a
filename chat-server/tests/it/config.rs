//! Where settings come from, what is said about wrong ones, and that the documentation is what the code does.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use chat_server::config::{self, Config, SETTINGS, from_flag, load, variable_name};

const BINARY: &str = env!("CARGO_BIN_EXE_chat-server");

/// A file, variables, and what is said about them.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// What is said about a file and variables; empty when nothing is wrong.
fn complaints(toml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("folkmoot.toml");
    std::fs::write(&path, toml).expect("is written");
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let shown = format!("{}/", dir.path().display());
    match load(Config::default(), Some(&path), variables, Vec::new()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.to_string().replace(&shown, "")).collect(),
    }
}

#[test]
fn later_sources_win() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("folkmoot.toml");
    let toml = "[server]\nlisten = \"0.0.0.0:1\"\nadmin_listen = \"127.0.0.1:2\"\n[auth]\naccess_token_seconds = 60\n\
                default_channels = [\"news\"]\n[gateway]\nmax_sockets = 1_000\n";
    std::fs::write(&path, toml).expect("is written");
    let environment = [
        ("FOLKMOOT_SERVER__LISTEN".to_owned(), "0.0.0.0:3".to_owned()),
        ("FOLKMOOT_AUTH__ACCESS_TOKEN_SECONDS".to_owned(), "90".to_owned()),
        ("FOLKMOOT_SERVER__ALLOWED_ORIGINS".to_owned(), "https://a.example, https://b.example".to_owned()),
        ("FOLKMOOT_URL".to_owned(), "not ours".to_owned()),
        ("PATH".to_owned(), "/bin".to_owned()),
    ];
    let flags = vec![from_flag("--listen", "server.listen", "0.0.0.0:4")];
    let resolved = load(Config::default(), Some(&path), environment, flags).expect("nothing is wrong");
    let config = &resolved.config;
    assert_eq!(config.server.listen, SocketAddr::from(([0, 0, 0, 0], 4)));
    assert_eq!(config.server.admin_listen, SocketAddr::from(([127, 0, 0, 1], 2)));
    assert_eq!(config.auth.access_token, Duration::from_secs(90));
    assert_eq!(config.auth.default_channels, ["news"]);
    assert_eq!(config.gateway.max_sockets, 1_000);
    assert_eq!(config.gateway.allowed_origins, ["https://a.example", "https://b.example"]);
    let shown = resolved.to_toml();
    assert!(shown.contains("listen = \"0.0.0.0:4\"  # flag --listen"), "{shown}");
    assert!(
        shown.contains("access_token_seconds = 90  # variable FOLKMOOT_AUTH__ACCESS_TOKEN_SECONDS"),
        "{shown}"
    );
    assert!(shown.contains(&format!("max_sockets = 1000  # {}:8", path.display())), "{shown}");
    assert!(shown.contains("\nmax_sockets_per_user = 25\n"), "{shown}");
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_was_expected() {
    let cases: &[Case] = &[
        (
            "[server]\nlisten_on = \"x\"",
            &[],
            "folkmoot.toml:2: unknown key server.listen_on, did you mean server.listen?",
        ),
        ("listen = \"x\"", &[], "folkmoot.toml:1: unknown key listen, did you mean server.listen?"),
        (
            "\n[sever]\nlisten = \"127.0.0.1:1\"",
            &[],
            "folkmoot.toml:3: unknown key sever.listen, did you mean server.listen?",
        ),
        ("[getway]", &[], "folkmoot.toml:1: unknown section [getway], did you mean [gateway]?"),
        (
            "[gateway]\nmax_socket_per_user = 1",
            &[],
            "folkmoot.toml:2: unknown key gateway.max_socket_per_user, did you mean gateway.max_sockets_per_user?",
        ),
        (
            "[server]\nlisten = \"localhost\"",
            &[],
            "folkmoot.toml:2: server.listen is \"localhost\", expected an IP address with a port, such as 127.0.0.1:8080",
        ),
        (
            "[files]\nmax_bytes = 26214401",
            &[],
            "folkmoot.toml:2: files.max_bytes is 26214401, expected a whole number from 1 to 26214400",
        ),
        (
            "[gateway]\nmax_sockets = \"5\"",
            &[],
            "folkmoot.toml:2: gateway.max_sockets is \"5\", expected a whole number from 1 to 1000000",
        ),
        (
            "[gateway]\nmax_sockets = -5",
            &[],
            "folkmoot.toml:2: gateway.max_sockets is -5, expected a whole number from 1 to 1000000",
        ),
        (
            "[gateway]\nmax_connection_age_seconds = 59",
            &[],
            "folkmoot.toml:2: gateway.max_connection_age_seconds is 59, expected 0, or a whole number from 60 to 604800",
        ),
        (
            "[auth]\nregistration = true",
            &[],
            "folkmoot.toml:2: auth.registration is a value of type boolean, expected \"open\" or \"closed\"",
        ),
        (
            "[auth]\ndefault_channels = \"general\"",
            &[],
            "folkmoot.toml:2: auth.default_channels is \"general\", expected an array of strings",
        ),
        (
            "",
            &[("FOLKMOOT_SERVER__LISTN", "x")],
            "variable FOLKMOOT_SERVER__LISTN: unknown variable, did you mean FOLKMOOT_SERVER__LISTEN?",
        ),
        (
            "",
            &[("FOLKMOOT_SERVER_LISTEN", "x")],
            "variable FOLKMOOT_SERVER_LISTEN: unknown variable, did you mean FOLKMOOT_SERVER__LISTEN?",
        ),
        (
            "",
            &[("FOLKMOOT_LOG__FORMAT", "xml")],
            "variable FOLKMOOT_LOG__FORMAT: log.format is \"xml\", expected \"text\" or \"json\"",
        ),
        (
            "[gateway]\nidle_timeout_seconds = 20",
            &[],
            "folkmoot.toml:2: gateway.idle_timeout_seconds must be at least 10 more than gateway.ping_after_seconds, \
             or idle sockets are closed before they are asked",
        ),
        (
            "[store]\nengine = \"postgres\"",
            &[],
            "folkmoot.toml:2: store.engine is \"postgres\", expected \"sqlite\" or \"cassandra\"",
        ),
        (
            "[cassandra]\nreplication = [\"dc1\"]",
            &[],
            "folkmoot.toml:2: cassandra.replication must hold datacenter:copies with 1 to 15 copies, such as dc1:3",
        ),
        (
            "[cassandra]\nuser = \"folkmoot\"",
            &[],
            "folkmoot.toml:2: cassandra.user and cassandra.password_file must be set together",
        ),
        #[cfg(not(feature = "cassandra-cpp"))]
        (
            "[cassandra]\ndriver = \"cassandra-cpp\"",
            &[],
            "folkmoot.toml:2: cassandra.driver must be \"scylla\": this chat-server was built without the feature \
             cassandra-cpp",
        ),
        (
            "[server]\napi_url = \"https://api:8080\"",
            &[],
            "folkmoot.toml:2: server.api_url must be http://host:port without a path, such as http://folkmoot-api:8080",
        ),
        ("[files]\nstore = \"s3\"", &[], "folkmoot.toml:2: s3.bucket must be set when files.store is \"s3\""),
        (
            "[cluster]\nlisten = \"10.0.0.1:7000\"",
            &[],
            "folkmoot.toml:2: cluster.listen must be a loopback address, or cluster.ca_file, cluster.cert_file and \
             cluster.key_file must be set",
        ),
    ];
    for (toml, variables, expected) in cases {
        assert_eq!(complaints(toml, variables), [*expected], "{toml} {variables:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let toml = "[server]\nlisten = 1\nadmin_listen = 2\n[log]\nlevl = \"info\"\n[auth]\nbroken = \n";
    let all = complaints(toml, &[("FOLKMOOT_AUTH__REGISTRATION", "maybe")]);
    for place in [
        "folkmoot.toml:2:",
        "folkmoot.toml:3:",
        "folkmoot.toml:5:",
        "folkmoot.toml:7:",
        "variable FOLKMOOT_AUTH__",
    ] {
        assert!(all.iter().any(|complaint| complaint.starts_with(place)), "{place} in {all:#?}");
    }
}

#[test]
fn every_setting_can_be_shown_and_set_to_what_it_shows() {
    let defaults = Config::default();
    for setting in SETTINGS {
        let shown = (setting.get)(&defaults);
        let mut config = defaults.clone();
        (setting.set)(&mut config, shown.clone());
        assert_eq!(config, defaults, "{}", setting.key);
        let toml = format!("[{}]\n{} = {shown}\n", setting.section(), setting.name());
        assert_eq!(complaints(&toml, &[]), [""; 0], "{toml}");
        assert!(variable_name(setting.key).starts_with("FOLKMOOT_"));
    }
}

#[test]
fn a_changed_value_arrives_where_it_is_used() {
    // Every setting, set to something else than its default, changes the configuration.
    for setting in SETTINGS {
        let value = match setting.kind {
            config::Kind::Text
            | config::Kind::OptionalText
            | config::Kind::Path
            | config::Kind::OptionalPath => "other".to_owned(),
            config::Kind::Address => "127.0.0.9:9".into(),
            config::Kind::Integer(min, max) | config::Kind::IntegerOrZero(min, max) => {
                let default = (setting.get)(&Config::default()).to_string();
                if default == max.to_string() { min.to_string() } else { max.to_string() }
            }
            config::Kind::Choice(words) => words[words.len() - 1].into(),
            config::Kind::List => "other".into(),
            config::Kind::Level => "debug".into(),
        };
        let mut config = Config::default();
        let read = setting.kind.read(&config::Raw::Untyped(value)).expect("is a value");
        (setting.set)(&mut config, read.clone());
        assert_eq!((setting.get)(&config), read, "{}", setting.key);
        assert_ne!(config, Config::default(), "{}", setting.key);
    }
}

#[test]
fn check_config_explains_and_prints() {
    let run = |args: &[&str]| {
        let out = Command::new(BINARY).arg("check-config").args(args).output().expect("runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.success(), text(&out.stdout), text(&out.stderr))
    };
    let (fine, out, _) = run(&["--listen", "127.0.0.1:9", "--set", "log.level=debug"]);
    assert!(fine && out.contains("listen = \"127.0.0.1:9\"  # flag --listen"), "{out}");
    assert!(toml::from_str::<toml::Table>(&out).is_ok(), "what is printed can be used as a file");

    let (fine, _, err) = run(&["--listen", "x", "--set", "log.level=="]);
    assert!(
        !fine && err.contains("flag --listen: server.listen") && err.contains("flag --set: log.level"),
        "{err}"
    );
    let (fine, _, err) = run(&["--config", "/does/not/exist.toml"]);
    assert!(!fine && err.contains("/does/not/exist.toml cannot be read"), "{err}");
}

#[test]
fn the_documentation_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = config::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("is written");
        return;
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == text,
        "docs/configuration.md is out of date; write it with: UPDATE_DOCS=1 cargo test -p chat-server --test it config"
    );
}
