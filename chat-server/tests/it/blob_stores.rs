//! Every place for files keeps the same promises: on disk, in Cassandra, in a bucket.

use std::{
    net::TcpListener,
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use chat_blobs::config::S3Config;
use chat_blobs::{disk::DiskBlobs, s3::S3Blobs};
use chat_domain::blob::{BlobError, BlobStore};
use chat_protocol::FileId;
use futures_util::TryStreamExt as _;

use crate::harness::wait::{DEADLINE, until_so};

async fn content(blobs: &dyn BlobStore, id: FileId, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<Bytes> = blobs.read(id, range).await?.try_collect().await?;
    assert!(pieces.iter().all(|piece| piece.len() <= 64 * 1024), "handed out in small pieces");
    Ok(pieces.concat())
}

async fn store(blobs: &dyn BlobStore, bytes: &[u8], pieces: usize) -> FileId {
    let id = FileId::new();
    let mut staged = blobs.stage(id).await.unwrap();
    for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
        staged.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert!(matches!(content(blobs, id, 0..1).await, Err(BlobError::NotFound)), "not before the commit");
    staged.commit().await.unwrap();
    id
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// What every place promises.
async fn keeps_its_promises(blobs: &dyn BlobStore) {
    // Small ones, and one that is larger than a part of a bucket's upload or of a partition.
    for length in [0, 1, 65_536, 400_000, 11_000_000] {
        let bytes = pattern(length);
        let id = store(blobs, &bytes, 37).await;
        let end = u64::from(length);
        for range in
            [0..end, 0..0, end..end, end / 2..end, end / 3..end / 2, 65_535.min(end)..65_537.min(end)]
        {
            let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            assert!(content(blobs, id, range.clone()).await.unwrap() == expected, "{range:?} of {length}");
        }
        let past = content(blobs, id, 0..end + 1).await;
        assert!(past.is_err(), "a range past the end of {length} is an error, not a short answer");
        blobs.delete(id).await.unwrap();
        blobs.delete(id).await.unwrap();
        assert!(content(blobs, id, 0..0).await.is_err(), "deleted");
    }

    let id = FileId::new();
    let mut cut = blobs.stage(id).await.unwrap();
    cut.write(Bytes::from(pattern(6_000_000))).await.unwrap();
    drop(cut);
    assert!(matches!(content(blobs, id, 0..1).await, Err(BlobError::NotFound)), "a cut upload is no file");
}

#[tokio::test]
async fn on_disk() {
    let folder = tempfile::tempdir().unwrap();
    keeps_its_promises(&DiskBlobs::open(folder.path()).unwrap()).await;
}

/// An S3 server of the tests' own.
struct S3Server {
    process: Child,
    url: String,
}

impl S3Server {
    async fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found = Command::new(root.join("scripts/tools.sh"))
            .arg("moto")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(found.status.success(), "scripts/tools.sh moto failed");
        let binary = String::from_utf8(found.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(binary.trim())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, url: format!("http://127.0.0.1:{port}") };
        until_so("the S3 server listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        server
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn in_a_bucket() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = S3Server::start().await;
    let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
    let made = http.put(format!("{}/files", server.url)).send().await.unwrap();
    assert!(made.status().is_success(), "{made:?}");

    let folder = tempfile::tempdir().unwrap();
    let credentials_file = folder.path().join("credentials");
    std::fs::write(&credentials_file, "test-id\ntest-secret\n").unwrap();
    let config = S3Config {
        endpoint: server.url.clone(),
        bucket: "files".into(),
        credentials_file: credentials_file.clone(),
        ..S3Config::default()
    };
    let blobs: Arc<dyn BlobStore> = Arc::new(S3Blobs::open(&config).unwrap());
    keeps_its_promises(&*blobs).await;

    // What was cut is not kept in parts either.
    until_so("the cut upload is aborted", async || {
        let list = http.get(format!("{}/files?uploads", server.url)).send().await.unwrap();
        !list.text().await.unwrap().contains("<Upload>")
    })
    .await;

    std::fs::write(&credentials_file, "only-one-line\n").unwrap();
    let error = S3Blobs::open(&config).map(drop).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("expected two lines"), "{source}");
}
