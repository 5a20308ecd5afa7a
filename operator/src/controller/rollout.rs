//! Which role runs what, while one image or configuration replaces another: first the tables, then auth, api and gateways, each
//! ready before the next begins.

use crate::{live::DeploymentState, role::Role};

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
        /// Whether there are pods of it, of whatever template (`status.replicas` is above 0).
        has_pods: bool,
        /// Whether all of its pods are of that template and take traffic.
        settled: bool,
        /// Why it does not get on, when it gave up (`Progressing` is false with `ProgressDeadlineExceeded`).
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
        /// The role that does not get ready.
        role: Role,
        /// Why, as its Deployment says.
        why: String,
    },
    /// All roles run the target.
    Settled,
}

/// What a role is to run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePlan {
    /// What its template says.
    pub revision: Revision,
    /// Whether it waits for its turn. Its Deployment is paused then: what else changes in the spec, such as resources, must not
    /// replace its pods now and the target replace them again.
    pub held: bool,
}

impl RolePlan {
    /// Whether a Deployment has the template of this plan.
    #[must_use]
    pub fn is_in(&self, live: &DeploymentState) -> bool {
        self.revision.image == live.image && self.revision.config == live.config
    }
}

/// What each role is to run now; `None`: it is not to be made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutPlan {
    /// Plan for auth.
    pub auth: Option<RolePlan>,
    /// Plan for api.
    pub api: Option<RolePlan>,
    /// Plan for gateways.
    pub gateway: Option<RolePlan>,
    /// How far it is.
    pub step: RolloutStep,
}

impl RolloutPlan {
    /// Plan of a role.
    #[must_use]
    pub const fn of(&self, role: Role) -> Option<&RolePlan> {
        match role {
            Role::Auth => self.auth.as_ref(),
            Role::Api => self.api.as_ref(),
            Role::Gateway => self.gateway.as_ref(),
        }
    }

    /// Whether the template of gateways is about to change from that of their Deployment.
    #[must_use]
    pub fn is_replacing_gateways(&self, live: &DeploymentState) -> bool {
        self.gateway.as_ref().is_some_and(|plan| !plan.held && !plan.is_in(live))
    }

    /// Holds gateways back: while some are pressed (`is_held`), and while some are being emptied (`is_draining`),
    /// since who is sent away by a scale-down and by a roll-out would move twice.
    pub fn hold_gateways(&mut self, live: &DeploymentState, is_held: bool, is_draining: bool) {
        let is_replacing = self.is_replacing_gateways(live);
        let Some(gateway) = &mut self.gateway else { return };
        if is_draining && is_replacing {
            gateway.revision = Revision { image: live.image.clone(), config: live.config.clone() };
        }
        gateway.held |= live.replicas > 0 && (is_held || is_draining);
    }

    /// Whether a role runs, or is to run, this configuration: then its ConfigMap is needed.
    #[must_use]
    pub fn needs_config(&self, hash: &str) -> bool {
        Role::ALL.iter().filter_map(|role| self.of(*role)).any(|plan| plan.revision.config == hash)
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
pub fn plan(target: &Revision, schema_current: bool, states: &[RoleState; 3]) -> RolloutPlan {
    let (plans, step) = if schema_current {
        one_after_another(target, states)
    } else {
        (as_they_are(target, states), RolloutStep::AwaitingSchema)
    };
    let [auth, api, gateway] = plans;
    RolloutPlan { auth, api, gateway, step }
}

fn one_after_another(target: &Revision, states: &[RoleState; 3]) -> ([Option<RolePlan>; 3], RolloutStep) {
    // That of the first role that is not where it should be; those after it wait.
    let mut step = RolloutStep::Settled;
    let plans = [0, 1, 2].map(|index| {
        let (role, state) = (Role::ALL[index], &states[index]);
        let is_its_turn = step == RolloutStep::Settled;
        let RoleState::Running { revision, settled, stalled, .. } = state else {
            if is_its_turn {
                step = RolloutStep::Replacing(role);
            }
            return Some(to_be(target));
        };
        if revision != target && !is_its_turn {
            return Some(as_it_is(target, state, revision));
        }
        if is_its_turn && (revision != target || !settled) {
            step = match stalled {
                Some(why) if revision == target => RolloutStep::Stalled { role, why: why.clone() },
                _ => RolloutStep::Replacing(role),
            };
        }
        Some(to_be(target))
    });
    (plans, step)
}

fn as_they_are(target: &Revision, states: &[RoleState; 3]) -> [Option<RolePlan>; 3] {
    let running = || {
        states.iter().filter_map(|state| match state {
            RoleState::Running { revision, .. } => Some(revision),
            RoleState::Missing => None,
        })
    };
    let stand_in = running().find(|revision| *revision != target).or_else(|| running().next());
    [0, 1, 2].map(|index| match &states[index] {
        RoleState::Running { revision, .. } => Some(as_it_is(target, &states[index], revision)),
        RoleState::Missing => stand_in.map(to_be),
    })
}

fn to_be(revision: &Revision) -> RolePlan {
    RolePlan { revision: revision.clone(), held: false }
}

fn as_it_is(target: &Revision, state: &RoleState, revision: &Revision) -> RolePlan {
    // A Deployment that is paused before it has pods never gets any.
    let held = revision != target && matches!(state, RoleState::Running { has_pods: true, .. });
    RolePlan { revision: revision.clone(), held }
}

#[cfg(test)]
mod tests;
