//! Events on a `ChatCluster`: on transitions only.

use folkmoot_crds::ChatCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource as _,
    runtime::events::{Event, EventType},
};

use super::{Controller, status};
use crate::scaling::{decide::Scaling, machine::Step, policy::Decision};

/// Longest text of an event, in bytes (events.k8s.io/v1).
const MAX_NOTE: usize = 1_000;

/// Something worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether a person should look.
    pub warning: bool,
    /// Reason for a program.
    pub reason: &'static str,
    /// Note for a person.
    pub note: String,
}

impl Notice {
    /// An event that is nothing to worry about.
    #[must_use]
    pub fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, note: note.into() }
    }

    /// An event that a person should look at.
    #[must_use]
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, reason, note: note.into() }
    }
}

/// What is worth an event once a change of the number of gateways is done.
#[must_use]
pub fn of_scaling(scaling: &Scaling, decision: Option<&Decision>) -> Vec<Notice> {
    let to = scaling.plan.replicas;
    let why = decision.map(|decision| format!(": {}", decision.plan.why()));
    let why = why.unwrap_or_default();
    match &scaling.plan.step {
        Step::Grow { from } => vec![Notice::normal("ScaledUp", format!("gateways: {from} -> {to}{why}"))],
        Step::Lower { from, occupied: 0 } => {
            vec![Notice::normal(
                "ScaledDown",
                format!("gateways: {from} -> {to}; those that went were empty"),
            )]
        }
        Step::Lower { from, occupied } => vec![Notice::normal(
            "ScaledDown",
            format!(
                "gateways: {from} -> {to}; {occupied} of those that went had sockets left after their time, which \
                 they send away while they end"
            ),
        )],
        Step::Forgo { from } => {
            vec![Notice::normal("ScaledDown", format!("gateways: {from} -> {to}; those had not begun"))]
        }
        _ => Vec::new(),
    }
}

/// What changed from one status to the next: conditions with another status or another reason.
#[must_use]
pub fn transitions(before: &[Condition], now: &[Condition]) -> Vec<(bool, String, String)> {
    let changed = now.iter().filter(|condition| {
        let last = before.iter().find(|last| last.type_ == condition.type_);
        last.is_none_or(|last| last.status != condition.status || last.reason != condition.reason)
    });
    changed
        .filter(|condition| {
            before.iter().any(|last| last.type_ == condition.type_) || condition.status == "True"
        })
        .map(|condition| {
            let note = format!("{} is {}: {}", condition.type_, condition.status, condition.message);
            (status::is_trouble(condition), condition.reason.clone(), note)
        })
        .collect()
}

impl Controller {
    /// Publishes events. One that cannot be published is logged and given up: the status says the same.
    pub(super) async fn publish(&self, cluster: &ChatCluster, events: Vec<(bool, String, String)>) {
        let about = cluster.object_ref(&());
        for (warning, reason, note) in events {
            if self.leadership.check().is_err() {
                return;
            }
            let event = Event {
                type_: if warning { EventType::Warning } else { EventType::Normal },
                reason,
                note: Some(shortened(note)),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            let published = self.recorder.publish(&event, &about);
            match tokio::time::timeout(crate::lease::WRITE_WITHIN, published).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "an event was not published");
                }
                Err(_) => tracing::warn!("an event was not published in time"),
            }
        }
    }
}

fn shortened(mut note: String) -> String {
    if note.len() > MAX_NOTE {
        let end = (0..=MAX_NOTE).rev().find(|at| note.is_char_boundary(*at)).unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    note
}
