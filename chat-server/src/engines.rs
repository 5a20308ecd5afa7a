//! Opens what a configuration names: the system of record, the bus, the place for files. Makes and removes what is in them.

use std::{
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chat_blobs::{disk::DiskBlobs, s3::S3Blobs};
use chat_cassandra::config::{CassandraConfig, CassandraDriver};
use chat_cassandra::{
    CassandraStore,
    blobs::CassandraBlobs,
    connect::{self, ConnectError},
    cql::Cql,
    migrate::{self, MigrateError},
    options::CassandraOptions,
};
use chat_domain::{
    blob::{BlobError, BlobStore},
    bus::{Bus, local::LocalBus},
    clock::now_ms,
    store::{GenerationRow, Store, StoreError, follow::FollowStore},
};
use chat_protocol::Generation;
use chat_pulsar::{ProvisionError, ProvisionOptions, PulsarBus, PulsarError, PulsarOptions, provision};
use chat_sqlite::SqliteStore;
use tokio::time::Instant;

use crate::{
    config::{BusEngine, Config, FileEngine, StoreEngine},
    metrics::Metrics,
};

/// How long a process waits for Cassandra when it starts: as long as a small cluster that starts beside it may take.
const CASSANDRA_TIMEOUT: Duration = Duration::from_secs(120);
/// The embedded store's file in the data folder.
const SQLITE_FILE: &str = "folkmoot.db";
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The data folder cannot be made.
    #[error("{} is not a folder that can be written to", dir.display())]
    Data {
        /// Path of the folder.
        dir: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// The embedded store cannot be opened.
    #[error("failed to open the store in {}", dir.display())]
    Store {
        /// Path of the folder.
        dir: PathBuf,
        /// What the store reported.
        source: StoreError,
    },
    /// The place for files cannot be opened.
    #[error("failed to open the place for files, {place}")]
    Blobs {
        /// Description of the place.
        place: String,
        /// What the place for files reported.
        source: BlobError,
    },
    /// A file that the settings of Cassandra name cannot be read.
    #[error("failed to read the login of Cassandra")]
    Credentials(#[source] io::Error),
    /// Cassandra cannot be reached, or has no such keyspace.
    #[error("failed to connect to Cassandra")]
    Cassandra(#[from] ConnectError),
    /// The keyspace is not at this version, or cannot be brought to it.
    #[error("the keyspace {keyspace} is not ready")]
    Keyspace {
        /// Name of the keyspace.
        keyspace: String,
        /// Why it is not.
        source: MigrateError,
    },
    /// There is no embedded store.
    #[error("there is no store in {}: which folder is it in?", dir.display())]
    NotThere {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The store did not begin another generation, or not wholly.
    #[error("{place} did not begin another generation: run chat-server restored again")]
    Restored {
        /// Description of the store.
        place: String,
        /// Why it did not.
        source: StoreError,
    },
    /// The keyspace cannot be removed.
    #[error("failed to drop the keyspace {keyspace}")]
    Drop {
        /// Name of the keyspace.
        keyspace: String,
        /// Why it was not.
        source: MigrateError,
    },
    /// The bus cannot be used as it is set up.
    #[error("failed to set up Pulsar")]
    Pulsar(#[from] PulsarError),
    /// The topics cannot be made.
    #[error("failed to make the topics in Pulsar")]
    Topics(#[from] ProvisionError),
}

/// What a server runs on.
pub struct Engines {
    /// The system of record.
    pub store: Arc<dyn Store>,
    /// The same, for those who follow its logs.
    pub follow: Arc<dyn FollowStore>,
    /// What carries events.
    pub bus: Arc<dyn Bus>,
    /// Where files lie.
    pub blobs: Arc<dyn BlobStore>,
}

impl Engines {
    /// Opens what `config` names; what there is to measure of it becomes part of `metrics`.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn open(config: &Config, metrics: &Metrics) -> Result<Self, EngineError> {
        let cql = match config.store {
            StoreEngine::Sqlite => None,
            StoreEngine::Cassandra => Some(open_cassandra(&config.cassandra).await?),
        };
        let (store, follow): (Arc<dyn Store>, Arc<dyn FollowStore>) = match &cql {
            None => {
                let store = Arc::new(open_sqlite(&config.data.dir)?);
                (Arc::<SqliteStore>::clone(&store), store)
            }
            Some(cql) => {
                let store = Arc::new(CassandraStore::new(Arc::clone(cql)));
                metrics.register(|registry| store.register(registry));
                (Arc::<CassandraStore>::clone(&store), store)
            }
        };
        let bus: Arc<dyn Bus> = match config.bus {
            BusEngine::Local => Arc::new(LocalBus::new()),
            BusEngine::Pulsar => {
                let options = PulsarOptions::of(&config.pulsar);
                metrics.register(|registry| options.metrics.register(registry));
                Arc::new(PulsarBus::connect(options).await?)
            }
        };
        Ok(Self { store, follow, bus, blobs: open_blobs(config, cql)? })
    }
}

/// Opens only the system of record that `config` names, which must be there already.
///
/// # Errors
/// When it is not there, or cannot be had.
pub async fn open_existing_store(config: &Config) -> Result<Arc<dyn Store>, EngineError> {
    let dir = &config.data.dir;
    Ok(match config.store {
        // A mistyped folder would be made, and be a new store.
        StoreEngine::Sqlite if !dir.join(SQLITE_FILE).is_file() => {
            return Err(EngineError::NotThere { dir: dir.clone() });
        }
        StoreEngine::Sqlite => Arc::new(open_sqlite(dir)?),
        StoreEngine::Cassandra => Arc::new(open_cassandra_store(&config.cassandra).await?),
    })
}

/// Opens Cassandra as the system of record.
///
/// # Errors
/// When it cannot be reached, or its keyspace is not ready.
pub async fn open_cassandra_store(config: &CassandraConfig) -> Result<CassandraStore, EngineError> {
    Ok(CassandraStore::new(open_cassandra(config).await?))
}

/// An engine that something must be made in before servers run on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Migrated {
    /// Keyspace and tables.
    Cassandra,
    /// Tenant, namespace and topics.
    Pulsar,
}

/// Makes or brings up to date what the engines of `config` need, or only one of them.
///
/// # Errors
/// When an engine cannot be reached, or holds something newer.
pub async fn migrate(config: &Config, only: Option<Migrated>) -> Result<(), EngineError> {
    let wanted = |engine| only.is_none_or(|only| only == engine);
    match config.store {
        StoreEngine::Sqlite if only.is_none() => {
            open_sqlite(&config.data.dir)?;
            println!("the store in {} is up to date", config.data.dir.display());
        }
        StoreEngine::Cassandra if wanted(Migrated::Cassandra) => migrate_cassandra(&config.cassandra).await?,
        StoreEngine::Sqlite | StoreEngine::Cassandra => {}
    }
    if config.bus == BusEngine::Pulsar && wanted(Migrated::Pulsar) {
        provision(&ProvisionOptions::of(&config.pulsar)).await?;
        let pulsar = &config.pulsar;
        println!(
            "topics in {}/{}: there, in {} partitions",
            pulsar.tenant, pulsar.namespace, pulsar.partitions
        );
    }
    Ok(())
}

/// Says to the store of this configuration that its content was brought back from elsewhere: another generation begins.
///
/// # Errors
/// When the store cannot be opened (a server runs on the embedded one), or does not do it. Doing it again does the rest.
pub async fn restored(config: &Config) -> Result<(), EngineError> {
    let place = match config.store {
        StoreEngine::Sqlite => format!("the store in {}", config.data.dir.display()),
        StoreEngine::Cassandra => format!("keyspace {}", config.cassandra.keyspace),
    };
    let store = open_existing_store(config).await?;
    let failed = |source| EngineError::Restored { place: place.clone(), source };
    let keys_file = &config.auth.signing_keys_file;
    let keys_are_in_store = keys_file.as_os_str().is_empty();
    // Tokens know seconds: those of the next one are the first that count.
    let since = (now_ms() / 1_000 + 1) * 1_000;
    let next = GenerationRow { id: Generation::new(), since };
    let sessions =
        store.begin_generation(next, keys_are_in_store.then(chat_auth::new_key)).await.map_err(failed)?;
    tokio::time::sleep(Duration::from_millis(since.saturating_sub(now_ms()))).await;

    println!("{place}: generation {} begins", next.id);
    println!("  sessions: {sessions} ended; everybody signs in again");
    if keys_are_in_store {
        println!("  signing keys: replaced; access tokens of before are not accepted");
    } else {
        println!(
            "  signing keys: in {}, which is not changed; access tokens of before are not accepted, but replace the \
             keys if the backup could have been read by others",
            keys_file.display()
        );
    }
    if config.store == StoreEngine::Cassandra {
        println!("  running servers: notice within 10 s, and send their clients away to come back");
    }
    println!(
        "  to look at before people are let in: passwords, roles, deactivated accounts and deleted messages are as they \
         were when the backup was made"
    );
    Ok(())
}

/// Removes the keyspace of this configuration, with everybody's messages in it. One that is not there is fine.
///
/// # Errors
/// When Cassandra cannot be reached, or does not do it.
pub async fn drop_cassandra(config: &CassandraConfig) -> Result<(), EngineError> {
    let keyspace = &config.keyspace;
    let mut options = CassandraOptions::read(config).map_err(EngineError::Credentials)?;
    options.keyspace = None;
    let cql = connect(config.driver, &options).await?;
    let found = migrate::drop_keyspace(&cql, keyspace)
        .await
        .map_err(|source| EngineError::Drop { keyspace: keyspace.clone(), source })?;
    println!("keyspace {keyspace}: {}", if found { "dropped" } else { "was not there" });
    Ok(())
}

async fn migrate_cassandra(config: &CassandraConfig) -> Result<(), EngineError> {
    let keyspace = &config.keyspace;
    let failed = |source| EngineError::Keyspace { keyspace: keyspace.clone(), source };
    let mut options = CassandraOptions::read(config).map_err(EngineError::Credentials)?;
    options.keyspace = None;
    let cql = connect(config.driver, &options).await?;
    migrate::create_keyspace(&cql, keyspace, &config.copies()).await.map_err(failed)?;
    options.keyspace = Some(keyspace.clone());
    let cql = connect(config.driver, &options).await?;
    let done = migrate::migrate(&cql, keyspace).await.map_err(failed)?;
    println!("tables in {keyspace}: version {}, found {}", done.to, done.from);
    Ok(())
}

async fn open_cassandra(config: &CassandraConfig) -> Result<Arc<dyn Cql>, EngineError> {
    let options = CassandraOptions::read(config).map_err(EngineError::Credentials)?;
    let cql = connect(config.driver, &options).await?;
    let keyspace = config.keyspace.clone();
    migrate::check_version(&cql).await.map_err(|source| EngineError::Keyspace { keyspace, source })?;
    Ok(cql)
}

/// Waits for a node that answers: everything may be starting at once.
async fn connect(driver: CassandraDriver, options: &CassandraOptions) -> Result<Arc<dyn Cql>, ConnectError> {
    let give_up = Instant::now() + CASSANDRA_TIMEOUT;
    loop {
        match connect::connect(driver, options).await {
            Err(error @ ConnectError::Unreachable { .. }) if Instant::now() < give_up => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "cassandra does not answer yet, trying again");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            done => return done,
        }
    }
}

/// Opens the embedded store of a data folder, which is made if it is not there.
///
/// # Errors
/// When the folder cannot be made or the store not opened.
pub fn open_sqlite(dir: &Path) -> Result<SqliteStore, EngineError> {
    make_private(dir)?;
    SqliteStore::open(&dir.join(SQLITE_FILE))
        .map_err(|source| EngineError::Store { dir: dir.to_owned(), source })
}

fn open_blobs(config: &Config, cql: Option<Arc<dyn Cql>>) -> Result<Arc<dyn BlobStore>, EngineError> {
    match (config.files.store, cql) {
        (FileEngine::S3, _) => {
            let place = || format!("bucket {}", config.s3.bucket);
            let blobs = S3Blobs::open(&config.s3);
            Ok(Arc::new(blobs.map_err(|source| EngineError::Blobs { place: place(), source })?))
        }
        (FileEngine::Auto | FileEngine::Cassandra, Some(cql)) => {
            let blobs = Arc::new(CassandraBlobs::new(cql));
            blobs.spawn();
            Ok(blobs)
        }
        // Files in Cassandra without Cassandra as the store are refused with the configuration.
        (FileEngine::Disk | FileEngine::Auto | FileEngine::Cassandra, _) => {
            let dir = config.data.dir.join("files");
            make_private(&config.data.dir)?;
            let blobs = DiskBlobs::open(&dir);
            let place = || format!("folder {}", dir.display());
            Ok(Arc::new(blobs.map_err(|source| EngineError::Blobs { place: place(), source })?))
        }
    }
}

/// Signing keys, password hashes and everybody's messages are nobody else's business.
fn make_private(dir: &Path) -> Result<(), EngineError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| EngineError::Data { dir: dir.to_owned(), source })
}
