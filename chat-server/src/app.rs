//! The composition: store, bus and blobs below, the domain on them, the three roles in front.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, middleware};
use chat_api::ApiState;
use chat_auth::Auth;
use chat_cluster::{
    Cluster, ClusterOptions,
    hop::{Hop, HopError, HopOptions, Live},
    listen,
    metrics::ClusterMetrics,
    process::{Listener, Process},
};
use chat_domain::{
    bus::CommittedEvent,
    chat::{Chat, Files},
    store::Store,
};
use chat_follow::{FollowOptions, Follower, Processes};
use chat_gateway::{Feed, Gateway, metrics::GatewayMetrics};
use chat_guard::{Guarded, LimitBounds};
use chat_http::{
    HardenOptions, TrustedProxies,
    connection::{Admission, AdmissionLimits, ConnectionMetrics},
    forward::{self, ForwardMetrics, ForwardOptions, Forwarder, NotAnUpstream},
    harden,
};
use chat_protocol::Generation;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, AdminState},
    config::{Config, StoreEngine},
    consumers,
    engines::{EngineError, Engines},
    http_server,
    metrics::Metrics,
};

/// How long a process waits for its signing keys when it starts.
const AUTH_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store, the bus or the place for files cannot be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Keys and sessions cannot be read.
    #[error(transparent)]
    Auth(#[from] chat_auth::OpenError),
    /// Other processes of the cluster cannot be spoken to.
    #[error(transparent)]
    Hop(#[from] HopError),
    /// A process to hand requests to is not named as it should be.
    #[error("{setting} does not name processes with the role")]
    Upstream {
        /// Name of the setting.
        setting: &'static str,
        /// What was expected.
        source: NotAnUpstream,
    },
    /// Somebody else has the address.
    #[error("{address} is in use; choose another address with {flag}")]
    AddressInUse {
        /// Address to listen on.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// The address cannot be had.
    #[error("failed to listen on {address}, which is given with {flag}")]
    Listen {
        /// Address to listen on.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Holds sockets and delivers events to them.
    Gateway,
    /// Serves REST, files and the web client.
    Api,
    /// Makes accounts and issues tokens.
    Auth,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Api, Self::Auth];
}

/// A running server.
pub struct App {
    store: Arc<dyn Store>,
    chat: Arc<Chat>,
    auth: Arc<Auth>,
    process: Arc<Process>,
    gateway: Option<Arc<Gateway>>,
    files: Option<Arc<Files>>,
    follower: Arc<Follower>,
    hop: Hop,
    address: SocketAddr,
    admin_address: SocketAddr,
    ready: Arc<AtomicBool>,
    /// Ends the public server.
    stop: CancellationToken,
    /// Ends the admin server, which outlives the other.
    stop_admin: CancellationToken,
    public: TaskTracker,
    admin: TaskTracker,
}

impl App {
    /// Starts all roles in this process.
    ///
    /// # Errors
    /// As [`App::start_roles`].
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_roles(config, &Role::ALL).await
    }

    /// Opens the engines, starts these roles and listens.
    ///
    /// # Errors
    /// When an engine or an address cannot be had.
    pub async fn start_roles(config: &Config, roles: &[Role]) -> Result<Self, StartError> {
        // Addresses first: when the server runs already, that is what one wants to know.
        let listener = listen(config.server.listen, "--listen")?;
        let admin_listener = listen(config.server.admin_listen, "--admin-listen")?;

        let metrics = Arc::new(Metrics::new());
        let gateway_metrics = Arc::new(GatewayMetrics::default());
        let cluster_metrics = Arc::new(ClusterMetrics::default());
        let connection_metrics = Arc::new(ConnectionMetrics::default());
        metrics.register(|registry| {
            gateway_metrics.register(registry);
            cluster_metrics.register(registry);
            connection_metrics.register(registry);
            chat_http::register_refusals(registry);
        });
        let Engines { store, follow, bus, blobs } = Engines::open(config, &metrics).await?;
        let store = guarded(config, store, &metrics);
        let has = |role| roles.contains(&role);

        let chat = Chat::with(Arc::clone(&store), bus, &config.chat());
        let auth = open_auth(&chat, &store, config).await?;
        let limits = connection_limits(config);
        let mut gateway_options = config.gateway.clone();
        gateway_options.max_sockets = gateway_options.max_sockets.min(limits.sockets);
        if gateway_options.name.is_empty() {
            gateway_options.name = made_up_name();
        }
        gateway_options.recent_of_all = has(Role::Api);
        let hop = Hop::open(HopOptions::new(&config.cluster)?, Arc::clone(&cluster_metrics)).await?;
        let cluster = Cluster::new(ClusterOptions {
            name: gateway_options.name.clone(),
            address: hop.address().map(str::to_owned),
            owner: has(Role::Gateway),
            ..ClusterOptions::default()
        });
        let processes: Arc<dyn Processes> = Arc::<Cluster>::clone(&cluster);
        let follower = Follower::start(consumers::all(), &follow, &processes, &FollowOptions::default());
        let owners = Arc::clone(&cluster);
        let live = move || Live { nodes: owners.owners(), generation: owners.generation() };
        chat.set_owners(hop.owners(Arc::clone(cluster.name()), Arc::new(live)));
        hop.serve(Arc::clone(&chat));
        // Every process follows the bus: what others committed outdates what this one remembers.
        let mut listeners: Vec<Arc<dyn Listener>> = vec![Arc::new(Committed(Arc::clone(&follower)))];
        let mut routes = Router::new();
        let mut gateway = None::<Arc<Gateway>>;
        if has(Role::Gateway) {
            let (cluster, metrics) = (Arc::clone(&cluster), Arc::clone(&gateway_metrics));
            let made = Gateway::new(Arc::clone(&chat), auth.verifier(), cluster, gateway_options, metrics);
            made.spawn();
            routes = routes.merge(made.router());
            listeners.push(Arc::<Gateway>::clone(&made));
            gateway = Some(made);
        } else if has(Role::Api) {
            listeners.push(Feed::new(&chat, &gateway_metrics, &gateway_options));
        }
        let process = Process::spawn(Arc::clone(&chat), cluster, cluster_metrics, listeners);
        if has(Role::Auth) {
            auth.spawn();
            routes = routes.merge(chat_auth::router(Arc::clone(&auth)).split_for_parts().0);
        }
        let files = has(Role::Api).then(|| Files::new(Arc::clone(&chat), blobs, config.file_limits()));
        if let Some(files) = &files {
            files.spawn();
            routes = routes.merge(chat_api::router(ApiState {
                chat: Arc::clone(&chat),
                verifier: auth.verifier(),
                files: Arc::clone(files),
                auth: Arc::clone(&auth),
                max_file_bytes: config.files.max_bytes,
                uploads_at_once: config.files.uploads_at_once,
            }));
        }
        let routes = chat_api::stamped(routes, Arc::clone(&chat));
        let recognised = middleware::from_fn_with_state(auth.verifier(), chat_auth::recognise);
        let public = harden(
            routes.merge(elsewhere(config, roles, &metrics)?.layer(recognised)),
            &HardenOptions {
                allowed_origins: config.gateway.allowed_origins.clone(),
                trusted_proxies: config.server.proxies(),
            },
        );

        let ready = Arc::new(AtomicBool::new(true));
        let admin = admin::router(AdminState {
            store: Arc::clone(&store),
            metrics,
            ready: Arc::clone(&ready),
            clock: follower.clock().clone(),
            token_file: config.server.admin_token_file.as_path().into(),
            gateway: gateway.clone(),
        });
        let mut app = Self {
            store,
            chat,
            auth,
            process,
            gateway,
            files,
            follower,
            hop,
            address: config.server.listen,
            admin_address: config.server.admin_listen,
            ready,
            stop: CancellationToken::new(),
            stop_admin: CancellationToken::new(),
            public: TaskTracker::new(),
            admin: TaskTracker::new(),
        };
        let admitted = Admission::new(limits, config.server.proxies(), connection_metrics);
        app.address = serve(&app.public, listener, public, admitted, &app.stop).unwrap_or(app.address);
        // Descriptors of its own: whatever the public does, it can be asked.
        let admitted = Admission::new(AdmissionLimits::admin(), TrustedProxies::default(), Arc::default());
        let served = serve(&app.admin, admin_listener, admin, admitted, &app.stop_admin);
        app.admin_address = served.unwrap_or(app.admin_address);
        tracing::info!(address = %app.address, admin = %app.admin_address, ?roles, "serving");
        Ok(app)
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

    /// The system of record, as the roles see it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The domain's operations.
    #[must_use]
    pub const fn chat(&self) -> &Arc<Chat> {
        &self.chat
    }

    /// The role `auth`.
    #[must_use]
    pub const fn auth(&self) -> &Arc<Auth> {
        &self.auth
    }

    /// The role `gateway`, if this process has it.
    #[must_use]
    pub const fn gateway(&self) -> Option<&Arc<Gateway>> {
        self.gateway.as_ref()
    }

    /// The files, if this process has the role `api`.
    #[must_use]
    pub const fn files(&self) -> Option<&Arc<Files>> {
        self.files.as_ref()
    }

    /// Leaves: not ready, sockets sent away over the drain window, requests finished, all within a bounded time.
    /// A drain that was asked for on the admin address is carried on with, and costs nothing more when it is over.
    /// Answers whether all sockets went by themselves.
    pub async fn drain(self) -> bool {
        self.ready.store(false, Ordering::Release);
        let all_went = match &self.gateway {
            Some(gateway) => gateway.drain().await,
            None => true,
        };
        // Others need not wait for its silence.
        self.process.leave().await;
        self.stop.cancel();
        // By now others know that this process owns nothing any more.
        self.hop.stop().await;
        self.follower.stop().await;
        // The admin server says "draining" until the last requests have finished, then goes too.
        self.public.close();
        self.public.wait().await;
        self.stop_admin.cancel();
        self.admin.close();
        self.admin.wait().await;
        all_went
    }
}

fn serve(
    servers: &TaskTracker,
    listener: TcpListener,
    router: Router,
    admission: Admission,
    stop: &CancellationToken,
) -> io::Result<SocketAddr> {
    let address = listener.local_addr();
    servers.spawn(http_server::serve(listener, router, admission, stop.clone()));
    address
}

/// Wakes consumers when events are committed.
struct Committed(Arc<Follower>);

impl Listener for Committed {
    fn committed(&self, event: &Arc<CommittedEvent>) {
        self.0.committed(event.channel, event.seq);
    }

    fn missed(&self) {
        self.0.missed();
    }

    fn begins(&self, _generation: Option<Generation>) {
        self.0.forget();
    }
}

/// How many connections and sockets there may be, by the files that the process may have open.
fn connection_limits(config: &Config) -> AdmissionLimits {
    let open_files = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1_024, |(soft, _)| soft);
    let (wanted, per_address) = (config.gateway.max_sockets, config.server.max_strangers_per_address);
    let limits = AdmissionLimits::public(open_files, wanted, per_address);
    if limits.sockets < wanted {
        let sockets = limits.sockets;
        tracing::warn!(open_files, sockets, "fewer sockets than gateway.max_sockets: few files may be open");
    }
    limits
}

/// The routes of roles that this process lacks, and knows where to find.
fn elsewhere(config: &Config, roles: &[Role], metrics: &Metrics) -> Result<Router, StartError> {
    let counted = ForwardMetrics::default();
    let to = |lacking: Role, role, setting, url: &str| -> Result<Option<Forwarder>, StartError> {
        if url.is_empty() || roles.contains(&lacking) {
            return Ok(None);
        }
        let options = ForwardOptions::new(role, url, config.server.proxies());
        let options = options.map_err(|source| StartError::Upstream { setting, source })?;
        Ok(Some(Forwarder::new(options, &counted)))
    };
    let auth = to(Role::Auth, "auth", "server.auth_url", &config.server.auth_url)?.map(forward::auth_routes);
    let api = to(Role::Api, "api", "server.api_url", &config.server.api_url)?.map(forward::api_routes);
    let routes = [auth, api].into_iter().flatten().reduce(Router::merge);
    if routes.is_some() {
        metrics.register(|registry| counted.register(registry));
    }
    Ok(routes.unwrap_or_default())
}

/// The store as the roles see it. SQLite has bounded queues and deadlines of its own, and no network before it.
fn guarded(config: &Config, store: Arc<dyn Store>, metrics: &Metrics) -> Arc<dyn Store> {
    match config.store {
        StoreEngine::Sqlite => store,
        StoreEngine::Cassandra => {
            let bounds = LimitBounds { appends: config.cassandra.appends_at_once, ..LimitBounds::default() };
            let guarded = Guarded::new(store, bounds);
            metrics.register(|registry| guarded.register(registry));
            Arc::new(guarded)
        }
    }
}

/// Reads the signing keys. A store that has just started may take longer for it than a request may.
async fn open_auth(
    chat: &Arc<Chat>,
    store: &Arc<dyn Store>,
    config: &Config,
) -> Result<Arc<Auth>, chat_auth::OpenError> {
    let give_up = Instant::now() + AUTH_TIMEOUT;
    loop {
        match Auth::new(Arc::clone(chat), Arc::clone(store), config.auth.clone()).await {
            Err(chat_auth::OpenError::Store(error)) if error.code.retryable() && Instant::now() < give_up => {
                tracing::warn!(%error, "signing keys cannot be read yet, trying again");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            done => return done,
        }
    }
}

fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, StartError> {
    listen::listen(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address, flag },
        _ => StartError::Listen { address, flag, source },
    })
}

/// The host's name (in Kubernetes, the pod's) and a random part, since a host may run several processes.
fn made_up_name() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    format!("{}-{:06x}", host.as_deref().unwrap_or("folkmoot"), rand::random::<u32>() & 0xff_ffff)
}
