//! Logins, one file a profile, readable by their owner only.

use std::{
    any::Any,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use chat_client::{StoreError, TokenStore, Tokens};
use chat_protocol::UserId;
use serde::{Deserialize, Serialize};

/// A login, as kept in its file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The server that the tokens are for; they are never sent to another.
    pub(crate) url: String,
    pub(crate) handle: String,
    pub(crate) user: UserId,
    pub(crate) tokens: Tokens,
}

/// One person's login on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    name: String,
    dir: PathBuf,
}

impl Profile {
    /// The profile of this name in the user's configuration directory, or in `FOLKMOOT_CONFIG_DIR`.
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        let dir = match std::env::var_os("FOLKMOOT_CONFIG_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => directories::ProjectDirs::from("dev", "folkmoot", "folkmoot")
                .context("found no home directory: name one for logins with FOLKMOOT_CONFIG_DIR")?
                .config_dir()
                .to_owned(),
        };
        Self::in_dir(name, dir)
    }

    fn in_dir(name: &str, dir: PathBuf) -> anyhow::Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
            bail!("{name:?} cannot name a profile: allowed are 1 to 64 letters, digits, '.', '_' or '-'");
        }
        Ok(Self { name: name.to_owned(), dir })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How to call the program for this profile.
    pub(crate) fn command(&self) -> String {
        if self.name == "default" {
            "folkmoot".to_owned()
        } else {
            format!("folkmoot --profile {}", self.name)
        }
    }

    pub(crate) fn load(&self) -> anyhow::Result<Option<Login>> {
        let path = self.path();
        self.read().with_context(|| format!("could not read the login in {}", path.display()))
    }

    pub(crate) fn save(&self, login: &Login) -> anyhow::Result<()> {
        self.write(login).with_context(|| format!("could not keep the login in {}", self.path().display()))
    }

    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not remove the login in {}", self.path().display()))
            }
            _ => Ok(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.login.json", self.name))
    }

    fn read(&self) -> io::Result<Option<Login>> {
        match fs::read(self.path()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file as a whole: a crash leaves the old login or the new one.
    fn write(&self, login: &Login) -> io::Result<()> {
        make_private_dir(&self.dir)?;
        let staged = self.dir.join(format!(".{}.{}.tmp", self.name, uuid::Uuid::new_v4().simple()));
        let written = create_private(&staged).and_then(|mut file| {
            file.write_all(&serde_json::to_vec_pretty(login)?)?;
            file.sync_all()?;
            fs::rename(&staged, self.path())
        });
        if written.is_err() {
            // Nothing more can be done about a leftover.
            let _ = fs::remove_file(&staged);
        }
        written?;
        sync_dir(&self.dir)
    }
}

/// Refreshed tokens go to the profile's file; processes of the same person take turns by locking a file beside it.
impl TokenStore for Profile {
    fn load(&self) -> Result<Option<Tokens>, StoreError> {
        Ok(self.read()?.map(|login| login.tokens))
    }

    fn save(&self, tokens: &Tokens) -> Result<(), StoreError> {
        // Gone: signed out in another terminal. Then the tokens have no use.
        let Some(login) = self.read()? else { return Err("signed out meanwhile".into()) };
        Ok(self.write(&Login { tokens: tokens.clone(), ..login })?)
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Any + Send>>, StoreError> {
        make_private_dir(&self.dir)?;
        let path = self.dir.join(format!("{}.lock", self.name));
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<File> {
    // The user's configuration directory is private by its own access list there.
    File::create_new(path)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn login() -> Login {
        let tokens = Tokens { access_token: "a".into(), refresh_token: "r".into(), refresh_at: 7 };
        Login { url: "http://127.0.0.1:8080/".into(), handle: "ada".into(), user: UserId::new(), tokens }
    }

    #[cfg(unix)]
    #[test]
    fn a_login_is_private_and_replaced_as_a_whole() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::in_dir("ada", dir.path().join("a/b")).unwrap();
        assert!(profile.load().unwrap().is_none());
        let mut login = login();
        profile.save(&login).unwrap();
        let rotated = Tokens { refresh_token: "r2".into(), ..login.tokens.clone() };
        TokenStore::save(&profile, &rotated).unwrap();
        login.tokens = rotated;
        assert_eq!(profile.load().unwrap().unwrap().tokens, login.tokens);
        assert_eq!(profile.load().unwrap().unwrap().user, login.user);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&profile.path()), mode(&profile.dir)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&profile.dir).unwrap().count(), 1, "no staged file stays behind");
    }

    #[test]
    fn who_signed_out_gets_no_tokens_back() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::in_dir("ada", dir.path().to_owned()).unwrap();
        profile.save(&login()).unwrap();
        profile.remove().unwrap();
        profile.remove().unwrap();
        assert!(TokenStore::save(&profile, &login().tokens).is_err());
        assert!(profile.load().unwrap().is_none());
    }

    #[test]
    fn one_refreshes_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::in_dir("ada", dir.path().to_owned()).unwrap();
        let turn = profile.try_lock().unwrap().unwrap();
        assert!(profile.try_lock().unwrap().is_none());
        drop(turn);
        assert!(profile.try_lock().unwrap().is_some());
    }

    #[test]
    fn names_stay_inside_the_directory() {
        for name in ["", "../x", "a/b", ".hidden", "a b", "ü"] {
            assert!(Profile::in_dir(name, PathBuf::new()).is_err(), "{name:?}");
        }
        for name in ["default", "grace", "a.b-c_1"] {
            assert!(Profile::in_dir(name, PathBuf::new()).is_ok(), "{name:?}");
        }
    }
}
