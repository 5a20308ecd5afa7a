//! The accounts of a run.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use chat_protocol::{ChannelId, UserId};
use serde::{Deserialize, Serialize};

/// A line of the file that `chat-server seed` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Id of the user.
    pub user: UserId,
    /// An access token.
    pub token: String,
    /// The channels that the user is in.
    pub channels: Vec<ChannelId>,
}

/// A file that does not hold accounts.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// A line is something else.
    #[error("line {line} of {path} does not hold user, token and channels")]
    Parse {
        /// Path of the file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What the JSON parser reported.
        source: serde_json::Error,
    },
    /// It holds none.
    #[error("there is no account in {0}")]
    Empty(PathBuf),
}

/// Reads the first `limit` accounts.
///
/// # Errors
/// When the file cannot be read, holds something else, or nothing.
pub fn load(path: &Path, limit: usize) -> Result<Vec<Account>, TokensError> {
    let read = |source| TokensError::Read { path: path.to_owned(), source };
    let mut accounts = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(read)?).lines().take(limit).enumerate() {
        let account = serde_json::from_str(&line.map_err(read)?).map_err(|source| TokensError::Parse {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        accounts.push(account);
    }
    if accounts.is_empty() {
        return Err(TokensError::Empty(path.to_owned()));
    }
    Ok(accounts)
}
