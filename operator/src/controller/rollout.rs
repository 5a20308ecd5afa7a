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

impl RolloutPlan {
    /// Of a role.
    #[must_use]
    pub const fn of(&self, role: Role) -> Option<&Revision> {
        match role {
            Role::Auth => self.auth.as_ref(),
            Role::Api => self.api.as_ref(),
            Role::Gateway => self.gateway.as_ref(),
        }
    }
}

/// What each role is to run, and how far that is. `states` are those of auth, api and gateways, in this order.
///
/// - While the tables are not as the target needs them, no role begins to run it.
/// - When there is nothing yet, all roles are made at once. Otherwise one after the other is replaced, and one that does not get
///   ready holds those after it.
/// - A role that was deleted while others run comes back at once: with the target when the tables are ready for it, else with
///   what another role runs.
#[must_use]
pub fn plan(target: &Revision, schema_current: bool, states: [&RoleState; 3]) -> RolloutPlan {
    let _ = (target, schema_current, states);
    RolloutPlan { auth: None, api: None, gateway: None, step: RolloutStep::AwaitingSchema }
}
