//! The command line as a program: files, exit codes and what reaches the terminal.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use serde_json::{Value, json};

const ADA: &str = "0190b6a4-7c1e-7d52-9f3a-000000000001";
const GRACE: &str = "0190b6a4-7c1e-7d52-9f3a-000000000002";
const GENERAL: &str = "0190b6a4-7c1e-7d52-9f3a-0000000000aa";
const TWICE: [&str; 2] = ["0190b6a4-7c1e-7d52-9f3a-2b6c1d8e4fa1", "0190b6a4-7c1e-7d52-9f3a-2b6c1d8e4fa2"];
const ORPHAN: &str = "0190b6a4-7c1e-7d52-9f3a-2b6c1d8e4fa3";
const DIRECT: &str = "0190b6a4-7c1e-7d52-9f3a-0000000000bb";

/// Answers of a server, by method and path; what was asked is written down.
#[derive(Clone)]
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: HashMap<String, String>,
    body: Value,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(vec![]));
        let server = Self { url, asked: Arc::clone(&asked) };
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&asked);
                thread::spawn(move || answer(stream, &asked));
            }
        });
        server
    }

    fn asked(&self, line: &str) -> Vec<Asked> {
        self.asked.lock().iter().filter(|asked| asked.line == line).cloned().collect()
    }
}

fn answer(stream: TcpStream, asked: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let question = Asked { line, headers, body };
        let (status, body) = script(&question);
        asked.lock().push(question);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).ok()?;
    }
}

fn script(asked: &Asked) -> (&'static str, Value) {
    let path = asked.line.split('?').next().unwrap_or_default();
    let refused = |code: &str, status: u16| json!({"type": "about:blank", "title": "no", "status": status, "detail": "not that", "code": code, "retryable": false});
    match path {
        "POST /v1/auth/login" if asked.body["password"] == "right" => ("200 OK", tokens("ada", "token-1")),
        "POST /v1/auth/login" => ("401 Unauthorized", refused("unauthenticated", 401)),
        "POST /v1/auth/register" => ("201 Created", tokens("ada", "token-1")),
        // Everything else needs the token of the login.
        _ if asked.headers.get("authorization").is_none_or(|token| token != "Bearer token-1") => {
            ("401 Unauthorized", refused("unauthenticated", 401))
        }
        "POST /v1/auth/logout" => ("204 No Content", Value::Null),
        "POST /v1/auth/password" if asked.body["current"] == "right" => ("204 No Content", Value::Null),
        "POST /v1/auth/password" => ("403 Forbidden", refused("forbidden", 403)),
        "GET /v1/users/me" => ("200 OK", user(ADA, "ada")),
        "GET /v1/users" => {
            let mut items = vec![user(ADA, "ada"), user(GRACE, "grace")];
            if asked.line.contains("?ids=") {
                items.retain(|user| asked.line.contains(user["id"].as_str().unwrap()));
            }
            ("200 OK", json!({"items": items}))
        }
        "POST /v1/dms" => ("200 OK", channel(DIRECT, "direct", None)),
        "GET /v1/channels" if asked.line.contains("scope=public") => {
            ("200 OK", json!({"items": [channel(DIRECT, "public", Some("random"))]}))
        }
        "GET /v1/channels" if asked.line.contains("scope=orphaned") => {
            ("200 OK", json!({"items": [channel(ORPHAN, "private", Some("left"))]}))
        }
        _ if path == format!("POST /v1/channels/{ORPHAN}/take-over") => {
            ("200 OK", channel(ORPHAN, "private", Some("left")))
        }
        "GET /v1/channels" => {
            let twice = TWICE.map(|id| channel(id, "private", Some("twice")));
            let mut items =
                vec![channel(GENERAL, "public", Some("general")), channel(DIRECT, "direct", None)];
            items.extend(twice);
            ("200 OK", json!({"items": items}))
        }
        _ if path == format!("GET /v1/channels/{}", TWICE[1]) => {
            ("200 OK", channel(TWICE[1], "private", Some("twice")))
        }
        _ if path == format!("GET /v1/channels/{GENERAL}/messages") => {
            let message = |seq: u64, text: &str| json!({"channel": GENERAL, "seq": seq, "at": 1_700_000_000_000u64 + seq, "by": GRACE, "text": text});
            let mut newest = message(3, "newest");
            newest["reactions"] = json!({"👍": [ADA, GRACE], "\u{1b}é": [GRACE]});
            let mut deleted = message(4, "");
            deleted["deleted"] = json!(true);
            let older = message(2, "\u{1b}]0;evil\u{7}two\nlines");
            let mut items = vec![newest, older];
            if asked.line.contains("limit=200") {
                items.insert(0, deleted);
            }
            ("200 OK", json!({"items": items}))
        }
        _ if path.starts_with("POST /v1/channels/") && path.ends_with("/messages") => {
            ("201 Created", json!({"channel": GENERAL, "seq": 9, "at": 1, "duplicate": false}))
        }
        _ if path.starts_with(&format!("PUT /v1/channels/{GENERAL}/messages/7/")) => {
            ("409 Conflict", refused("conflict", 409))
        }
        _ if path.contains("/reactions/") => {
            ("200 OK", json!({"channel": GENERAL, "seq": 10, "at": 1, "duplicate": false}))
        }
        _ => ("404 Not Found", refused("not_found", 404)),
    }
}

fn user(id: &str, handle: &str) -> Value {
    json!({"id": id, "handle": handle, "display_name": handle, "role": "member", "created_at": 1})
}

fn channel(id: &str, kind: &str, name: Option<&str>) -> Value {
    let users = if name.is_none() { json!([ADA, GRACE]) } else { json!([]) };
    json!({"id": id, "kind": kind, "name": name, "topic": "", "archived": false, "created_by": ADA, "created_at": 1,
        "head": 12, "read": 9, "unread": 3, "users": users})
}

fn tokens(handle: &str, access: &str) -> Value {
    json!({"access_token": access, "token_type": "Bearer", "expires_in": 600, "refresh_token": "refresh-1",
        "session": GENERAL, "user": user(ADA, handle)})
}

fn run(home: &Path, args: &[&str], stdin: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_folkmoot"));
    for name in ["FOLKMOOT_PROFILE", "FOLKMOOT_URL", "FOLKMOOT_PASSWORD", "FOLKMOOT_TOKEN"] {
        command.env_remove(name);
    }
    let mut child = command
        .args(args)
        .env("FOLKMOOT_CONFIG_DIR", home)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended before.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs and expects `code`; returns standard output and standard error.
#[track_caller]
fn check(home: &Path, args: &[&str], stdin: &str, code: i32) -> (String, String) {
    let output = run(home, args, stdin, &[]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out} {err}");
    (out, err)
}

#[track_caller]
fn signed_in() -> (Server, tempfile::TempDir) {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    check(home.path(), &["--url", &server.url, "login", "--user", "ada", "--password-stdin"], "right\n", 0);
    (server, home)
}

#[test]
fn a_login_is_kept_and_used_until_logout() {
    let (server, home) = signed_in();
    let (out, _) = check(home.path(), &["whoami"], "", 0);
    assert!(out.starts_with("ada (ada) at http://127.0.0.1:"), "{out}");
    let (out, _) = check(home.path(), &["logout"], "", 0);
    assert_eq!(out, "signed out\n");
    assert_eq!(server.asked("POST /v1/auth/logout").len(), 1);
    let (_, err) = check(home.path(), &["whoami"], "", 3);
    assert_eq!(err, "error: not signed in: run `folkmoot login --user HANDLE` first\n");
}

#[test]
fn a_password_is_changed_by_whoever_knows_it() {
    let (server, home) = signed_in();
    let change = |lines: &str, code: i32| check(home.path(), &["password", "--password-stdin"], lines, code);
    let (out, _) = change("right\nanother horse\n", 0);
    assert!(out.starts_with("the new password holds"), "{out}");
    let sent = json!({ "current": "right", "new": "another horse" });
    assert_eq!(server.asked("POST /v1/auth/password")[0].body, sent);
    let (_, err) = change("wrong\nanother horse\n", 1);
    assert_eq!(err, "error: the current password is another one\n");
    let (_, err) = change("right\n", 1);
    assert_eq!(err, "error: no password on the second line of standard input\n");
    let (_, err) = check(home.path(), &["password"], "", 1);
    assert!(err.contains("use --password-stdin"), "{err}");
}

#[test]
fn profiles_are_apart() {
    let (_server, home) = signed_in();
    let (_, err) = check(home.path(), &["--profile", "grace", "channels"], "", 3);
    assert!(err.contains("`folkmoot --profile grace login --user HANDLE`"), "{err}");
    check(home.path(), &["--profile", "../grace", "channels"], "", 1);
}

#[test]
fn a_wrong_password_is_an_error_and_changes_nothing() {
    let (server, home) = signed_in();
    let login = ["--url", &server.url, "login", "--user", "ada", "--password-stdin"];
    let (_, err) = check(home.path(), &login, "wrong\n", 1);
    assert_eq!(err, "error: the server does not know this handle with this password\n");
    check(home.path(), &["whoami"], "", 0);
    // From the environment, and without any of the ways.
    let login = ["--url", &server.url, "login", "--user", "ada"];
    assert!(run(home.path(), &login, "", &[("FOLKMOOT_PASSWORD", "right")]).status.success());
    let (_, err) = check(home.path(), &login, "", 1);
    assert!(err.contains("--password-stdin or FOLKMOOT_PASSWORD"), "{err}");
}

#[test]
fn tokens_go_to_the_server_that_gave_them_only() {
    let (_server, home) = signed_in();
    let other = Server::start();
    let (_, err) = check(home.path(), &["--url", &other.url, "whoami"], "", 1);
    assert!(err.contains("is signed in to http://127.0.0.1:") && err.contains("login --user ada"), "{err}");
    assert!(other.asked.lock().is_empty());
}

#[test]
fn wrong_usage_exits_2_and_no_server_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for args in [&["send"][..], &["tail"], &["nonsense"], &["tail", "--all", "general"], &[]] {
        check(home.path(), args, "", 2);
    }
    // Port 1 of the loopback interface: nobody listens there.
    let args = ["--url", "http://127.0.0.1:1", "login", "--user", "ada", "--password-stdin"];
    let (_, err) = check(home.path(), &args, "right\n", 1);
    assert!(err.contains("is the server running?"), "{err}");
    let (_, err) = check(home.path(), &["--url", "nonsense", "login", "--user", "ada"], "", 1);
    assert!(err.contains("it looks like http://127.0.0.1:8080"), "{err}");
}

#[test]
fn channels_have_names_people_know() {
    let (_server, home) = signed_in();
    let (out, _) = check(home.path(), &["channels"], "", 0);
    assert_eq!(out, "#general (3 unread)\n@grace (3 unread)\n#twice (3 unread)\n#twice (3 unread)\n");
    let (out, _) = check(home.path(), &["channels", "--json"], "", 0);
    let ids: Vec<_> =
        out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, [GENERAL, DIRECT, TWICE[0], TWICE[1]]);
}

#[test]
fn a_name_that_several_channels_have_is_no_address() {
    let (server, home) = signed_in();
    let (_, err) = check(home.path(), &["send", "twice", "hello"], "", 1);
    let [one, two] = TWICE;
    let expected = format!(
        "2 of your channels are called #twice: give the id of one, {one} (private) or {two} (private)"
    );
    assert_eq!(err, format!("error: {expected}\n"));
    check(home.path(), &["send", two, "hello"], "", 0);
    assert_eq!(server.asked(&format!("POST /v1/channels/{two}/messages")).len(), 1);
}

#[test]
fn an_owner_takes_over_what_nobody_is_in() {
    let (server, home) = signed_in();
    let (out, _) = check(home.path(), &["channels", "--orphaned"], "", 0);
    assert_eq!(out, format!("{ORPHAN}  #left (3 unread)\n"));
    check(home.path(), &["take-over", ORPHAN], "", 0);
    assert_eq!(server.asked(&format!("POST /v1/channels/{ORPHAN}/take-over")).len(), 1);
}

#[test]
fn a_message_finds_its_channel_and_is_idempotent() {
    let (server, home) = signed_in();
    let to = |channel: &str| server.asked(&format!("POST /v1/channels/{channel}/messages"));
    check(home.path(), &["send", "#General", "hello", "there"], "", 0);
    check(home.path(), &["send", "general", "-"], "from\nstdin\n", 0);
    check(home.path(), &["send", "@grace", "psst"], "", 0);
    let texts: Vec<_> = to(GENERAL).iter().map(|asked| asked.body["text"].clone()).collect();
    assert_eq!(texts, ["hello there", "from\nstdin"]);
    assert_eq!(to(DIRECT)[0].body["text"], "psst");
    let keys: Vec<_> = to(GENERAL).iter().map(|asked| asked.headers["idempotency-key"].clone()).collect();
    assert!(keys[0] != keys[1] && keys.iter().all(|key| uuid::Uuid::parse_str(key).is_ok()), "{keys:?}");
    let (_, err) = check(home.path(), &["send", "random", "hi"], "", 1);
    assert_eq!(err, "error: you are not in #random: join it with `folkmoot join random`\n");
    let (_, err) = check(home.path(), &["send", "nowhere", "hi"], "", 1);
    assert!(err.starts_with("error: found no channel #nowhere"), "{err}");
    let (_, err) = check(home.path(), &["send", "@nobody", "hi"], "", 1);
    assert!(err.starts_with("error: found nobody called @nobody"), "{err}");
    check(home.path(), &["send", "general", "-"], "  \n", 1);
}

#[test]
fn a_reaction_finds_its_message_and_is_idempotent() {
    let (server, home) = signed_in();
    let to = |method: &str, seq: u64, emoji: &str| {
        let line = format!("{method} /v1/channels/{GENERAL}/messages/{seq}/reactions/{emoji}");
        let asked = server.asked(&line);
        assert_eq!(asked.len(), 1, "{line}: {:?}", server.asked.lock());
        asked[0].headers["idempotency-key"].clone()
    };
    // The newest one that is not deleted.
    let (out, _) = check(home.path(), &["react", "general", "👍"], "", 0);
    assert_eq!(out, "reacted with 👍 to message 3\n");
    let key = to("PUT", 3, "%F0%9F%91%8D");
    let (out, _) = check(home.path(), &["react", "#general", "👍", "--message", "2", "--remove"], "", 0);
    assert_eq!(out, "took back 👍 from message 2\n");
    let other = to("DELETE", 2, "%F0%9F%91%8D");
    assert!(key != other && uuid::Uuid::parse_str(&key).is_ok(), "{key} {other}");
    // A keycap begins with what would end the path.
    let (out, _) =
        check(home.path(), &["--json", "react", "general", "#\u{fe0f}\u{20e3}", "--message", "2"], "", 0);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["seq"], 10);
    to("PUT", 2, "%23%EF%B8%8F%E2%83%A3");
    let (_, err) = check(home.path(), &["react", "general", "👍", "--message", "7"], "", 1);
    assert!(err.contains("not that"), "{err}");
    // What is no emoji is no part of a path either; the server is not asked.
    let asked = server.asked.lock().len();
    for bad in ["", ".", "..", "ok", "\u{fe0f}"] {
        for more in [&[][..], &["--remove"]] {
            let (_, err) = check(home.path(), &[&["react", "general", bad], more].concat(), "", 1);
            assert!(err.starts_with("error: not an emoji: "), "{bad:?}: {err}");
        }
    }
    assert_eq!(server.asked.lock().len(), asked);
}

#[test]
fn history_is_oldest_first_and_safe_to_print() {
    let (_server, home) = signed_in();
    let (out, _) = check(home.path(), &["history", "general", "-n", "2"], "", 0);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].contains("grace \u{fffd}]0;evil\u{fffd}two") && lines[1] == "    lines", "{out}");
    assert!(lines[2].ends_with("grace newest [\u{fffd}é grace] [👍 ada, grace]"), "{out}");
    assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    // Programs get the text as it is.
    let (out, _) = check(home.path(), &["--json", "history", "general", "-n", "2"], "", 0);
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["text"], "\u{1b}]0;evil\u{7}two\nlines");
}

#[test]
fn errors_are_json_when_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let (out, err) = check(home.path(), &["--json", "channels"], "", 3);
    let error: Value = serde_json::from_str(&err).unwrap();
    assert_eq!((out.as_str(), error["error"]["code"].as_str()), ("", Some("unauthenticated")));
}

#[test]
fn a_token_from_the_environment_needs_no_login() {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    let env = |token: &'static str| [("FOLKMOOT_TOKEN", token)];
    let output = run(home.path(), &["--url", &server.url, "send", "general", "hi"], "", &env("token-1"));
    assert!(output.status.success());
    let output = run(home.path(), &["--url", &server.url, "send", "general", "hi"], "", &env("stale"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nothing is kept");
}

#[test]
fn a_file_that_cannot_be_sent_is_reported_before_anything_is() {
    let (server, home) = signed_in();
    let before = server.asked.lock().len();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(25 * 1024 * 1024 + 1).unwrap();
    let (_, err) = check(home.path(), &["upload", "general", large.to_str().unwrap()], "", 1);
    assert!(err.contains("at most 25.0 MiB"), "{err}");
    check(home.path(), &["upload", "general", home.path().to_str().unwrap()], "", 1);
    check(home.path(), &["upload", "general", "/nonexistent/file"], "", 1);
    assert_eq!(server.asked.lock().len(), before);
}

#[test]
fn completions_and_help_need_nothing() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (out, _) = check(home.path(), &["completions", shell], "", 0);
        assert!(out.contains("folkmoot"), "{shell}");
    }
    let (out, _) = check(home.path(), &["--help"], "", 0);
    for part in ["folkmoot chat general", "FOLKMOOT_TOKEN", "NO_COLOR", "3 not signed in"] {
        assert!(out.contains(part), "{part}");
    }
}
