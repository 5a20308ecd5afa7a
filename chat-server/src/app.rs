//! The composition: store, bus and blobs below, the domain on them, the three roles in front.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, AdminState},
    api::{self, ApiState, HardenOptions},
    auth::{self, Auth},
    blob::{BlobError, BlobStore, disk::DiskBlobs},
    bus::{Bus, local::LocalBus},
    chat::{Chat, ChatError},
    config::Config,
    gateway::Gateway,
    http_server,
    metrics::Metrics,
    store::{Store, StoreError, sqlite::SqliteStore},
};

/// Connections that the kernel holds until they are accepted: a whole office that comes back at once. Linux caps it
/// at `net.core.somaxconn`.
const BACKLOG: u32 = 4_096;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    /// Keys and sessions cannot be read.
    #[error("expected the store to give its signing keys")]
    Auth(#[source] ChatError),
    /// Somebody else has the address.
    #[error("{address} is in use, expected it to be free; another address is given with {flag}")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// The flag.
        flag: &'static str,
    },
    /// The address cannot be had.
    #[error("expected to listen on {address}, which is given with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A running server.
pub struct App {
    chat: Arc<Chat>,
    auth: Arc<Auth>,
    gateway: Arc<Gateway>,
    address: SocketAddr,
    admin_address: SocketAddr,
    ready: Arc<AtomicBool>,
    /// Ends the public server.
    stop: CancellationToken,
    /// Ends the admin server, which outlives the other.
    stop_admin: CancellationToken,
    servers: TaskTracker,
}

impl App {
    /// Opens the data folder, starts all roles and listens.
    ///
    /// # Errors
    /// When the folder or an address cannot be had.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        // Addresses first: when the server runs already, that is what one wants to be told.
        let listener = listen(config.server.listen, "--listen")?;
        let admin_listener = listen(config.server.admin_listen, "--admin-listen")?;

        let store: Arc<dyn Store> = Arc::new(open_store(&config.data.dir)?);
        let blobs = open_blobs(&config.data.dir)?;
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let metrics = Arc::new(Metrics::new());

        let chat = Chat::new(Arc::clone(&store), bus);
        let auth = Auth::new(Arc::clone(&chat), config.auth.clone()).await.map_err(StartError::Auth)?;
        let gateway =
            Gateway::new(Arc::clone(&chat), auth.verifier(), config.gateway.clone(), Arc::clone(&metrics));
        auth.spawn();
        gateway.spawn();

        let api = api::router(ApiState {
            chat: Arc::clone(&chat),
            verifier: auth.verifier(),
            blobs,
            auth: Arc::clone(&auth),
            max_file_bytes: config.files.max_bytes,
        });
        let (auth_routes, _) = auth::router(Arc::clone(&auth)).split_for_parts();
        let roles = gateway.router().merge(auth_routes).merge(api);
        let public =
            api::harden(roles, &HardenOptions { allowed_origins: config.gateway.allowed_origins.clone() });

        let ready = Arc::new(AtomicBool::new(true));
        let admin = admin::router(AdminState { store, metrics, ready: Arc::clone(&ready) });
        let mut app = Self {
            chat,
            auth,
            gateway,
            address: config.server.listen,
            admin_address: config.server.admin_listen,
            ready,
            stop: CancellationToken::new(),
            stop_admin: CancellationToken::new(),
            servers: TaskTracker::new(),
        };
        app.address = app.serve(listener, public, &app.stop).unwrap_or(app.address);
        app.admin_address = app.serve(admin_listener, admin, &app.stop_admin).unwrap_or(app.admin_address);
        tracing::info!(address = %app.address, admin = %app.admin_address, data = %config.data.dir.display(), "serving");
        Ok(app)
    }

    fn serve(
        &self,
        listener: TcpListener,
        router: Router,
        stop: &CancellationToken,
    ) -> io::Result<SocketAddr> {
        let address = listener.local_addr();
        self.servers.spawn(http_server::serve(listener, router, stop.clone()));
        address
    }

    /// Where REST, sockets and the web client are.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The domain.
    #[must_use]
    pub const fn chat(&self) -> &Arc<Chat> {
        &self.chat
    }

    /// The role `auth`.
    #[must_use]
    pub const fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// The role `gateway`.
    #[must_use]
    pub const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Leaves: not ready, sockets sent away over the drain window, requests finished, all within a bounded time.
    /// Answers whether all sockets went by themselves.
    pub async fn drain(self) -> bool {
        self.ready.store(false, Ordering::Release);
        let all_went = self.gateway.drain().await;
        self.stop.cancel();
        // The admin server still says "draining" while the last requests finish, then goes too.
        self.stop_admin.cancel();
        self.servers.close();
        self.servers.wait().await;
        all_went
    }
}

/// Opens the embedded store of a data folder, which is made if it is not there.
///
/// # Errors
/// When the folder cannot be made or the store not opened.
pub fn open_store(dir: &Path) -> Result<SqliteStore, StartError> {
    // Signing keys, password hashes and everybody's messages are nobody else's business.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| StartError::Data { dir: dir.to_owned(), source })?;
    SqliteStore::open(&dir.join("folkmoot.db"))
        .map_err(|source| StartError::Store { dir: dir.to_owned(), source })
}

fn open_blobs(dir: &Path) -> Result<Arc<dyn BlobStore>, StartError> {
    let dir = dir.join("files");
    match DiskBlobs::open(&dir) {
        Ok(blobs) => Ok(Arc::new(blobs)),
        Err(source) => Err(StartError::Blobs { dir, source }),
    }
}

fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A server that is started again must not wait for connections of the last one to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address, flag },
        _ => StartError::Listen { address, flag, source },
    })
}
