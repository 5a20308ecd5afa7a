//! The binary's commands, as a person types them.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use chat_protocol::{
    ChannelId, UserId,
    rest::{Channel, Message, NewInvitation, Page, Role, TokenResponse, User},
};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::harness;
use crate::harness::{TestServer, process, read};

const BINARY: &str = env!("CARGO_BIN_EXE_chat-server");

/// `chat-server dev` on free ports; what it printed before it served.
struct Dev {
    child: Child,
    printed: Vec<String>,
}

impl Dev {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(BINARY)
            .args(["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        let mut printed = Vec::new();
        for line in out.lines() {
            printed.push(line.expect("is text"));
            if printed.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
                break;
            }
        }
        Self { child, printed }
    }

    /// What stands after a word at the beginning of a line.
    fn after(&self, word: &str) -> String {
        let line = self.printed.iter().find_map(|line| line.trim().strip_prefix(word)?.strip_prefix(' '));
        let value = line.and_then(|rest| rest.split_whitespace().next());
        value.unwrap_or_else(|| panic!("{word} in {:#?}", self.printed)).to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn make_owner_is_the_way_back_in() {
    let mut server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    // Somebody who has no password yet, and a code of before grace's account is closed.
    let made = server.post("/v1/users").bearer_auth(&ada.access_token).json(&json!({ "handle": "linus" }));
    assert_eq!(made.send().await.expect("answers").status(), StatusCode::CREATED);
    let reset = server.post(&format!("/v1/users/{}/password-reset", grace.user.id));
    let reset = reset.bearer_auth(&ada.access_token).send().await.expect("answers");
    let reset: NewInvitation = read(reset, StatusCode::CREATED).await;
    let url = server.url(&format!("/v1/users/{}", grace.user.id));
    let close = server.http.patch(url).bearer_auth(&ada.access_token).json(&json!({ "deactivated": true }));
    assert_eq!(close.send().await.expect("answers").status(), StatusCode::OK);

    let data = server.config.data.dir.clone();
    server
        .stopped(async || {
            for (handle, succeeds) in [("Grace", true), ("grace", true), ("nobody", false), ("linus", false)]
            {
                let mut command = Command::new(BINARY);
                command.args(["make-owner", handle, "--data-dir"]).arg(&data).stdin(Stdio::null());
                let output = command.output().expect("runs");
                assert_eq!(output.status.success(), succeeds, "{handle}: {output:?}");
            }
        })
        .await;
    let body = json!({ "code": reset.code, "password": "another horse" });
    let refused = server.post("/v1/auth/redeem").json(&body).send().await.expect("answers");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let body = json!({ "handle": "grace", "password": harness::PASSWORD });
    let answer = server.post("/v1/auth/login").json(&body).send().await.expect("answers");
    let grace: TokenResponse = read(answer, StatusCode::OK).await;
    assert_eq!((grace.user.role, grace.user.deactivated), (Role::Owner, false));
}

#[test]
fn make_owner_makes_no_store_where_there_is_none() {
    let dir = tempfile::tempdir().expect("a folder");
    for (data, exists) in [(dir.path().join("mistyped"), false), (dir.path().to_owned(), true)] {
        let mut command = Command::new(BINARY);
        command.args(["make-owner", "ada", "--data-dir"]).arg(&data).stdin(Stdio::null());
        let output = command.output().expect("runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("there is no store in"), "{output:?}");
        assert_eq!(data.exists(), exists, "{}", data.display());
        assert!(!data.join("folkmoot.db").exists(), "{}", data.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_makes_a_demo_once_and_prints_how_to_get_in_every_time() {
    // For its HTTP client.
    let other = TestServer::start().await;
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let dev = Dev::start(&data);
    let password = dev.after("ada");
    let url = dev.after("web");
    let tokens = async |url: &str, handle: &str, password: &str| -> TokenResponse {
        let body = json!({ "handle": handle, "password": password });
        let answer =
            other.http.post(format!("{url}/v1/auth/login")).json(&body).send().await.expect("answers");
        read(answer, StatusCode::OK).await
    };
    let ada = tokens(&url, "ada", &password).await;
    assert_eq!(ada.user.role, Role::Owner);
    let grace = tokens(&url, "grace", &dev.after("grace")).await;

    let get = |path: &str| other.http.get(format!("{url}{path}")).bearer_auth(&grace.access_token).send();
    let channels: Page<Channel> = read(get("/v1/channels").await.expect("answers"), StatusCode::OK).await;
    let mut names: Vec<_> = channels.items.iter().map(|channel| channel.name.clone()).collect();
    names.sort();
    assert_eq!(names, [None, Some("general".to_owned()), Some("random".to_owned())]);
    for channel in &channels.items {
        let path = format!("/v1/channels/{}/messages", channel.id);
        let history: Page<Message> = read(get(&path).await.expect("answers"), StatusCode::OK).await;
        assert!(history.items.len() > 1, "{channel:?}");
    }
    let paste =
        dev.printed.iter().filter(|line| line.contains("login") && line.contains("chat general")).count();
    assert_eq!(paste, 2, "{:#?}", dev.printed);

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&data.join("demo-passwords.json"))), (0o700, 0o600));
    }

    let taken = url.strip_prefix("http://").expect("is a URL");
    let second = Command::new(BINARY)
        .args(["dev", "--listen", taken, "--data-dir"])
        .arg(dir.path().join("b"))
        .output();
    let second = second.expect("runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains(&format!("{taken} is in use")), "{said}");

    drop(dev);
    let again = Dev::start(&data);
    assert_eq!(again.after("ada"), password);
    tokens(&again.after("web"), "ada", &password).await;
}

/// One line of the file that `seed` writes.
#[derive(Deserialize)]
struct Seeded {
    user: UserId,
    token: String,
    channels: Vec<ChannelId>,
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_deals_out_memberships_in_turn_and_its_tokens_open_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("is made");
    let mut runs = Vec::new();
    // Twice: a store that is not empty can be filled too.
    for _ in 0..2 {
        let text = std::fs::read_to_string(process::seed(&data, 7, 3, 4)).expect("is written");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("is a line"));
        runs.push(lines.collect::<Vec<Seeded>>());
    }
    let server = TestServer::with(|config| config.data.dir.clone_from(&data)).await;
    for people in &runs {
        // Slots 0..12 over 7 users: channel j has the users (4j..4j+4) mod 7.
        let counts: Vec<_> = people.iter().map(|person| person.channels.len()).collect();
        assert_eq!(counts, [2, 2, 2, 2, 2, 1, 1]);
        assert_eq!(people[0].channels[0], people[3].channels[0]);
        assert_eq!(people[0].channels[1], people[6].channels[0]);
        for person in people {
            let get = |path: &str| server.get(path).bearer_auth(&person.token).send();
            let me: User = read(get("/v1/users/me").await.expect("answers"), StatusCode::OK).await;
            assert_eq!(me.id, person.user);
            let mine: Page<Channel> = read(get("/v1/channels").await.expect("answers"), StatusCode::OK).await;
            let mut ids: Vec<_> = mine.items.iter().map(|channel| channel.id).collect();
            let mut expected = person.channels.clone();
            ids.sort();
            expected.sort();
            assert_eq!(ids, expected);
        }
    }
    let logout = server.post("/v1/auth/logout").bearer_auth(&runs[0][1].token).send().await.expect("answers");
    assert_eq!(logout.status(), StatusCode::NO_CONTENT, "their sessions are real");
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_fills_the_first_channel_with_messages_of_its_members() {
    let dir = tempfile::tempdir().expect("a folder");
    let (data, tokens) = (dir.path().join("data"), dir.path().join("tokens.jsonl"));
    let seeded = Command::new(BINARY)
        .args([
            "seed",
            "--users",
            "3",
            "--channels",
            "2",
            "--members",
            "3",
            "--messages",
            "250",
            "--data-dir",
        ])
        .args([data.as_os_str(), "--tokens".as_ref(), tokens.as_os_str()])
        .output()
        .expect("starts");
    assert!(seeded.status.success(), "{seeded:?}");
    let text = std::fs::read_to_string(&tokens).expect("is written");
    let person: Seeded = serde_json::from_str(text.lines().next().expect("a line")).expect("is a line");
    let server = TestServer::with(|config| config.data.dir.clone_from(&data)).await;
    let mut heads = Vec::new();
    for channel in &person.channels {
        let answer = server.get(&format!("/v1/channels/{channel}")).bearer_auth(&person.token).send().await;
        let channel: Channel = read(answer.expect("answers"), StatusCode::OK).await;
        heads.push(channel.head);
    }
    assert_eq!(heads, [heads[1] + 250, heads[1]]);
}

#[test]
fn roles_alone_and_too_many_members_are_refused_with_what_was_expected() {
    let dir = tempfile::tempdir().expect("a folder");
    let fails = |args: &[&str]| {
        let mut child = Command::new(BINARY)
            .args(args)
            .args(["--data-dir"])
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut said = String::new();
        child.stderr.take().expect("is piped").read_to_string(&mut said).expect("is text");
        assert!(!child.wait().expect("ends").success());
        said
    };
    let said = fails(&["serve", "--roles", "gateway"]);
    assert!(
        said.contains("need a store and a bus that they share") && said.contains("gateway,api,auth"),
        "{said}"
    );
    let tokens = dir.path().join("t").display().to_string();
    let said = fails(&["seed", "--users", "1", "--channels", "1", "--members", "2", "--tokens", &tokens]);
    assert!(said.contains("expected at most --users, which is 1"), "{said}");
}

#[test]
fn descriptions_are_printed_without_a_server() {
    for (command, key) in [("openapi", "openapi"), ("asyncapi", "asyncapi")] {
        let out = Command::new(BINARY).arg(command).output().expect("runs");
        let document: serde_json::Value = serde_json::from_slice(&out.stdout).expect("is JSON");
        assert!(out.status.success() && document.get(key).is_some(), "{command}");
    }
}
