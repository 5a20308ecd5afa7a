//! Which role runs what, while one image or configuration replaces another: first the tables, then auth, api and gateways, each
//! ready before the next begins.

/// A role of chat-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Checks passwords, issues tokens.
    Auth,
    /// REST, files, the web client.
    Api,
    /// Sockets.
    Gateway,
}

impl Role {
    /// All, in the order in which they are replaced.
    pub const ALL: [Self; 3] = [Self::Auth, Self::Api, Self::Gateway];

    /// As chat-server and our labels say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Api => "api",
            Self::Gateway => "gateway",
        }
    }
}

/// What a role runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Reference of the image.
    pub image: String,
    /// Hash of the configuration, which is also the suffix of the name of its ConfigMap.
    pub config: String,
}

/// What is known of a role's Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleState {
    /// There is none.
    Missing,
    /// There is one.
    Running {
        /// What its template says.
        revision: Revision,
        /// Whether all of its pods are of that template and take traffic.
        settled: bool,
        /// Why it does not get on, when it gave up.
        stalled: Option<String>,
    },
}

/// How far a roll-out is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutStep {
    /// The tables are not there, or not as the target needs them.
    AwaitingSchema,
    /// This role is being made or replaced.
    Replacing(Role),
    /// This role does not get ready; those after it stay as they are.
    Stalled {
        /// Which.
        role: Role,
        /// Why, as its Deployment says.
        why: String,
    },
    /// All roles run the target.
    Settled,
}

/// What each role is to run now; `None`: it is not to be made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Of auth.
    pub auth: Option<Revision>,
    /// Of api.
    pub api: Option<Revision>,
    /// Of gateways.
    pub gateway: Option<Revision>,
    /// How far it is.
    pub step: RolloutStep,
}
