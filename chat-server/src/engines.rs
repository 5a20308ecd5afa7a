//! Opens what a configuration names: the system of record, the bus, the place for files.

use std::{
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    blob::{BlobError, BlobStore, disk::DiskBlobs},
    bus::{Bus, local::LocalBus},
    config::Config,
    store::{Store, StoreError, sqlite::SqliteStore},
};

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The data folder cannot be made.
    #[error("expected {} to be a folder that can be written to", dir.display())]
    Data {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("expected to open the store in {}", dir.display())]
    Store {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The folder of uploaded files cannot be opened.
    #[error("expected to open the files in {}", dir.display())]
    Blobs {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: BlobError,
    },
}

/// What a server runs on.
pub struct Engines {
    /// The system of record.
    pub store: Arc<dyn Store>,
    /// What carries events.
    pub bus: Arc<dyn Bus>,
    /// Where files lie.
    pub blobs: Arc<dyn BlobStore>,
}

impl Engines {
    /// Opens what `config` names.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn open(config: &Config) -> Result<Self, EngineError> {
        Ok(Self {
            store: open_store(config).await?,
            bus: Arc::new(LocalBus::new()),
            blobs: open_disk(&config.data.dir)?,
        })
    }
}

/// Opens the system of record that `config` names.
///
/// # Errors
/// When it cannot be had.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, EngineError> {
    Ok(Arc::new(open_sqlite(&config.data.dir)?))
}

/// Makes or brings up to date what the engines of `config` need.
///
/// # Errors
/// When an engine cannot be reached, or holds something newer.
pub async fn migrate(config: &Config) -> Result<(), EngineError> {
    open_store(config).await.map(drop)
}

/// Opens the embedded store of a data folder, which is made if it is not there.
///
/// # Errors
/// When the folder cannot be made or the store not opened.
pub fn open_sqlite(dir: &Path) -> Result<SqliteStore, EngineError> {
    // Signing keys, password hashes and everybody's messages are nobody else's business.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| EngineError::Data { dir: dir.to_owned(), source })?;
    SqliteStore::open(&dir.join("folkmoot.db"))
        .map_err(|source| EngineError::Store { dir: dir.to_owned(), source })
}

fn open_disk(dir: &Path) -> Result<Arc<dyn BlobStore>, EngineError> {
    let dir = dir.join("files");
    match DiskBlobs::open(&dir) {
        Ok(blobs) => Ok(Arc::new(blobs)),
        Err(source) => Err(EngineError::Blobs { dir, source }),
    }
}
