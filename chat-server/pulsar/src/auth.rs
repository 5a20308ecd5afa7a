//! Token authentication from a file.

use std::path::PathBuf;

use async_trait::async_trait;
use pulsar::{authentication::Authentication, error::AuthenticationError};

/// Reads the token whenever the broker wants it: for each connection, and when the broker finds the last one expired.
pub(super) struct FileToken(pub(super) PathBuf);

#[async_trait]
impl Authentication for FileToken {
    fn auth_method_name(&self) -> String {
        "token".into()
    }

    async fn initialize(&mut self) -> Result<(), AuthenticationError> {
        Ok(())
    }

    async fn auth_data(&mut self) -> Result<Vec<u8>, AuthenticationError> {
        match tokio::fs::read_to_string(&self.0).await {
            Ok(token) => Ok(token.trim().as_bytes().to_vec()),
            Err(error) => Err(AuthenticationError::Custom(format!("{}: {error}", self.0.display()))),
        }
    }
}
