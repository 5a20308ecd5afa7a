//! Which path leads to which role, for whatever routes by path.

use crate::{names, role::Role};

/// A path, and who serves it.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// Whether only the path itself is meant, and nothing below it.
    pub(super) is_exact: bool,
    pub(super) role: Role,
}

impl Route {
    /// Name of the Service that leads there. To gateways it is that of the whole chat: while some are being replaced it leads to
    /// those that stay, and the role's own one to all of them, for whatever reads metrics.
    pub(super) fn service(&self, cluster: &str) -> String {
        if self.role == Role::Gateway { cluster.to_owned() } else { names::role(cluster, self.role) }
    }
}

/// Longer paths first.
pub(super) const ROUTES: [Route; 4] = [
    Route { path: "/v1/ws", is_exact: false, role: Role::Gateway },
    Route { path: "/v1/auth", is_exact: false, role: Role::Auth },
    Route { path: "/.well-known/jwks.json", is_exact: true, role: Role::Auth },
    Route { path: "/", is_exact: false, role: Role::Api },
];
