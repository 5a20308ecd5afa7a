//! Upload and download of files.

use std::path::Path;

use bytes::Bytes;
use chat_protocol::{ChannelId, FileId, FileRef};
use reqwest::{Body, Method, Response, header};

use super::{FILE_DEADLINE, Rest, RestError, execute, read};

impl Rest {
    /// Uploads bytes to a channel, to be attached to a message there.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses: `too_large` beyond 25 MiB.
    pub async fn upload(
        &self,
        channel: ChannelId,
        name: &str,
        content: impl Into<Bytes>,
    ) -> Result<FileRef, RestError> {
        let content = content.into();
        let size = content.len() as u64;
        self.upload_body(channel, name, content.into(), size).await
    }

    /// Uploads a file of this machine, streamed.
    ///
    /// # Errors
    /// When it cannot be read, the server cannot be asked, or refuses: `too_large` beyond 25 MiB.
    pub async fn upload_file(&self, channel: ChannelId, path: &Path) -> Result<FileRef, RestError> {
        let unreadable = |error| RestError::File(path.display().to_string(), error);
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let size = file.metadata().await.map_err(unreadable)?.len();
        let name =
            path.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned());
        self.upload_body(channel, &name, file.into(), size).await
    }

    async fn upload_body(
        &self,
        channel: ChannelId,
        name: &str,
        body: Body,
        size: u64,
    ) -> Result<FileRef, RestError> {
        // A stream can be sent once, so there is no second try with another token.
        let token = self.access_token().await?;
        let path = "v1/files";
        let request = self
            .request(Method::POST, path)?
            .query(&[("channel", channel.to_string()), ("name", name.to_owned())])
            .bearer_auth(token)
            .header(header::CONTENT_LENGTH, size)
            .timeout(FILE_DEADLINE)
            .body(body);
        read(execute(request, path).await?, path).await
    }

    /// What a file is.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn file(&self, file: FileId) -> Result<FileRef, RestError> {
        self.get(&format!("v1/files/{file}"), &[]).await
    }

    /// A file's content, to be read in chunks.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn download(&self, file: FileId) -> Result<Response, RestError> {
        let path = format!("v1/files/{file}/content");
        self.signed(Method::GET, &path, |request| request.timeout(FILE_DEADLINE)).await
    }
}
