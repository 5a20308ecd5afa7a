//! Signing keys in a file that somebody else writes, as a Secret of Kubernetes is mounted: replaced under running
//! processes without one token being refused.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_auth::{Auth, AuthOptions, KeyFault, KeyFileError, MAX_TOKEN_LIFE, OpenError, TokenVerifier};
use chat_domain::{
    bus::{Bus, local::LocalBus},
    chat::{Actor, Chat, now_ms},
    store::Store,
};
use chat_protocol::{SessionId, UserId, rest::Role};
use chat_server::{
    app::{App, StartError},
    config::Config,
};
use chat_sqlite::SqliteStore;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{TestServer, wait::until};

const LIFE: Duration = Duration::from_secs(60);

fn kid(seed: [u8; 32]) -> String {
    let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    URL_SAFE_NO_PAD.encode(&Sha256::digest(public)[..12])
}

/// A key that signs from `sign_from`, and its id.
fn key(sign_from: u64) -> (Value, String) {
    let seed: [u8; 32] = rand::random();
    let kid = kid(seed);
    let seed = URL_SAFE_NO_PAD.encode(seed);
    (json!({ "kid": kid, "seed": seed, "created_at": now_ms(), "sign_from": sign_from }), kid)
}

/// A folder that changes as kubelet changes one: `keys.json` → `..data/keys.json`, `..data` → a folder of each version.
struct Mounted {
    dir: tempfile::TempDir,
    versions: usize,
}

impl Mounted {
    fn new(keys: &[&Value]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        symlink("..data/keys.json", dir.path().join("keys.json")).expect("a link");
        let mut mounted = Self { dir, versions: 0 };
        mounted.publish(keys);
        mounted
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("keys.json")
    }

    fn publish(&mut self, keys: &[&Value]) {
        self.write(&json!({ "keys": keys }).to_string());
    }

    fn write(&mut self, text: &str) {
        self.versions += 1;
        let (dir, version) = (self.dir.path(), format!("..{}", self.versions));
        std::fs::create_dir(dir.join(&version)).expect("a folder");
        std::fs::write(dir.join(&version).join("keys.json"), text).expect("is written");
        symlink(&version, dir.join("..data_tmp")).expect("a link");
        std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("is renamed");
    }
}

/// A process on a store of its own: it shares nothing with others but the file.
struct Process {
    verifier: TokenVerifier,
    store: Arc<dyn Store>,
    _auth: Option<Arc<Auth>>,
    _dir: tempfile::TempDir,
}

impl Process {
    fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        (Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store")), dir)
    }

    /// One that issues tokens.
    async fn auth(file: &Path) -> Self {
        let (store, dir) = Self::store();
        let chat = Chat::new(Arc::clone(&store), Arc::new(LocalBus::new()));
        let options = AuthOptions {
            signing_keys_file: file.to_owned(),
            // Due at once, were it ours to rotate.
            key_rotation: Duration::ZERO,
            ..AuthOptions::default()
        };
        let auth = Auth::new(chat, Arc::clone(&store), options).await.expect("keys");
        auth.spawn();
        Self { verifier: auth.verifier(), store, _auth: Some(auth), _dir: dir }
    }

    /// One that verifies them.
    async fn gateway(file: &Path) -> Self {
        let (store, dir) = Self::store();
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let generations = tokio::sync::watch::Sender::new(None).subscribe();
        let verifier = TokenVerifier::load(
            &store,
            &bus,
            Arc::default(),
            generations,
            file,
            MAX_TOKEN_LIFE,
            Arc::default(),
        )
        .await
        .expect("keys");
        Self { verifier, store, _auth: None, _dir: dir }
    }

    fn issue(&self) -> String {
        let actor =
            Actor { user: UserId::new(), role: Role::Member, auth_version: 0, session: SessionId::new() };
        self.verifier.issue(&actor, LIFE).expect("a token")
    }

    /// The id of the key that signs.
    fn signs_with(&self) -> String {
        let token = self.issue();
        let header = token.split('.').next().expect("a header");
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("is base64url")).expect("is JSON");
        header["kid"].as_str().expect("a kid").to_owned()
    }

    async fn believes(&self, token: &str) -> bool {
        self.verifier.verify(token).await.is_ok()
    }

    fn published(&self) -> Vec<String> {
        self.verifier.keys().jwks().keys.into_iter().map(|key| key.kid).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_by_overlap_refuses_nobody() {
    let (old, old_kid) = key(0);
    let mut mounted = Mounted::new(&[&old]);
    let auth = Process::auth(&mounted.file()).await;
    let gateway = Process::gateway(&mounted.file()).await;
    let before = auth.issue();
    assert!(gateway.believes(&before).await);

    // Published first, used later: by then every process has it.
    let begins = now_ms() + 6_000;
    let (new, new_kid) = key(begins);
    mounted.publish(&[&old, &new]);
    until("both have read it", || {
        [&auth, &gateway].iter().all(|process| process.published() == [new_kid.as_str(), old_kid.as_str()])
    })
    .await;
    until("its time has come", || {
        // What was asked before it was time may be answered after it.
        let signs_with = auth.signs_with();
        assert!(signs_with == old_kid || now_ms() >= begins, "too early");
        now_ms() >= begins
    })
    .await;
    assert_eq!(auth.signs_with(), new_kid);
    let after = auth.issue();
    for token in [&before, &after] {
        assert!(auth.believes(token).await && gateway.believes(token).await);
    }

    // The old one goes when the last token that it signed has expired.
    let mut retired = old.clone();
    retired["verify_until"] = json!(now_ms() - 1);
    mounted.publish(&[&new, &retired]);
    until("it is retired", || gateway.published() == [new_kid.as_str()]).await;
    assert!(gateway.believes(&after).await && !gateway.believes(&before).await);

    assert!(auth.store.signing_keys().await.expect("answers").is_empty(), "none was made in the store");
    assert!(gateway.store.signing_keys().await.expect("answers").is_empty());
    assert_eq!(auth.verifier.keys().rotate().await.expect("is no error"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_new_is_looked_for_when_a_token_comes() {
    let (first, _) = key(0);
    let mut mounted = Mounted::new(&[&first]);
    let gateway = Process::gateway(&mounted.file()).await;
    for _ in 0..3 {
        let (next, _) = key(now_ms());
        mounted.publish(&[&next, &first]);
        let token = Process::auth(&mounted.file()).await.issue();
        assert!(gateway.believes(&token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_replacement_changes_nothing() {
    let (old, old_kid) = key(0);
    let mut mounted = Mounted::new(&[&old]);
    let auth = Process::auth(&mounted.file()).await;
    let before = auth.issue();
    let (stranger, _) = key(0);
    let foreign = Process::auth(&Mounted::new(&[&stranger]).file()).await.issue();
    let mut forged = old.clone();
    forged["kid"] = stranger["kid"].clone();
    for text in ["", "{}", "{\"keys\":[]}", &json!({ "keys": [old, forged] }).to_string()] {
        mounted.write(text);
        // An unknown key makes it look.
        assert!(!auth.believes(&foreign).await);
        assert!(auth.believes(&before).await, "{text}");
        assert_eq!(auth.signs_with(), old_kid);
    }
    std::fs::remove_file(mounted.file()).expect("is removed");
    assert!(!auth.believes(&foreign).await && auth.believes(&before).await);

    symlink("..data/keys.json", mounted.file()).expect("a link");
    let (new, new_kid) = key(now_ms());
    mounted.publish(&[&new, &old]);
    until("it signs with the new one", || auth.signs_with() == new_kid).await;
    assert!(auth.believes(&before).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_without_a_key_that_signs() {
    let start = async |file: &Path| {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.data.dir = dir.path().join("data");
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.admin_listen = ([127, 0, 0, 1], 0).into();
        config.auth.signing_keys_file = file.to_owned();
        match App::start(&config).await.map(drop) {
            Err(StartError::Auth(OpenError::Keys(error))) => error,
            other => panic!("expected it to be refused for its keys, got {other:?}"),
        }
    };
    let missing = start(Path::new("/nowhere/keys.json")).await;
    assert!(matches!(missing, KeyFileError::Read { .. }), "{missing:?}");
    assert_eq!(missing.to_string(), "failed to read the signing keys in /nowhere/keys.json");

    let (later, _) = key(now_ms() + 3_600_000);
    for (text, expected) in [
        ("keys", KeyFault::Form { line: 1, column: 1 }),
        ("{\"keys\":[]}", KeyFault::NoneSigns(0)),
        (&json!({ "keys": [later] }).to_string(), KeyFault::NoneSigns(1)),
    ] {
        let mut mounted = Mounted::new(&[]);
        mounted.write(text);
        match start(&mounted.file()).await {
            KeyFileError::Contents { source, .. } => assert_eq!(source, expected),
            other => panic!("expected {expected:?}, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_whole_server_signs_with_them() {
    let (signs, kid) = key(0);
    let mounted = Mounted::new(&[&signs]);
    let file = mounted.file();
    let server = TestServer::with(|config| config.auth.signing_keys_file = file).await;
    let ada = server.register("ada").await;
    let me = server.get("/v1/users/me").bearer_auth(&ada.access_token).send().await.expect("answers");
    assert_eq!(me.status(), 200);
    let jwks = server.get("/.well-known/jwks.json").send().await.expect("answers");
    let jwks: Value = jwks.json().await.expect("is JSON");
    assert_eq!(jwks["keys"][0]["kid"], json!(kid));
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1));
}
