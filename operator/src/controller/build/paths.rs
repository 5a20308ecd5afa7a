//! Which path leads to which role, for whatever routes by path.

use crate::controller::rollout::Role;

/// A path, and who serves it.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// Whether only the path itself is meant, and nothing below it.
    pub(super) is_exact: bool,
    pub(super) role: Role,
}

/// Longer paths first.
pub(super) const ROUTES: [Route; 4] = [
    Route { path: "/v1/ws", is_exact: false, role: Role::Gateway },
    Route { path: "/v1/auth", is_exact: false, role: Role::Auth },
    Route { path: "/.well-known/jwks.json", is_exact: true, role: Role::Auth },
    Route { path: "/", is_exact: false, role: Role::Api },
];
