//! What is to be done so that Pulsar has what it should.

use std::fmt;

use super::desired::{Desired, Found, Policies};

/// One write to Pulsar's admin interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulsarAction {
    /// Make the tenant.
    MakeTenant,
    /// Make the namespace.
    MakeNamespace,
    /// Set how long and how much is retained.
    SetRetention,
    /// Set after which time messages that nobody acknowledged are dropped.
    SetMessageTtl,
    /// Set how much a forgotten subscription holds back.
    SetBacklogQuota,
    /// Keep topics while nobody uses them.
    KeepTopics,
    /// Make the topic of events.
    MakeEvents {
        /// Number of partitions.
        partitions: u32,
    },
    /// Give the topic of events more partitions.
    GrowEvents {
        /// It has this many.
        from: u32,
        /// It should have this many.
        to: u32,
    },
    /// Make the topic of presence and typing.
    MakeEphemeral,
    /// Let the processes produce and consume.
    Grant,
}

impl fmt::Display for PulsarAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeTenant => f.write_str("made the tenant"),
            Self::MakeNamespace => f.write_str("made the namespace"),
            Self::SetRetention => f.write_str("set the retention"),
            Self::SetMessageTtl => f.write_str("set the life of unacknowledged messages"),
            Self::SetBacklogQuota => f.write_str("set the quota of backlogs"),
            Self::KeepTopics => f.write_str("kept topics that nobody uses from being deleted"),
            Self::MakeEvents { partitions } => {
                write!(f, "made the topic events with {partitions} partitions")
            }
            Self::GrowEvents { from, to } => {
                write!(f, "grew the topic events from {from} to {to} partitions")
            }
            Self::MakeEphemeral => f.write_str("made the topic ephemeral"),
            Self::Grant => f.write_str("allowed the role of the processes to produce and consume"),
        }
    }
}

/// The writes, in the order in which they succeed; none when all is as it should be. Policies that are not ours and partitions
/// beyond those that are needed are left alone.
#[must_use]
pub fn plan(desired: &Desired, found: &Found) -> Vec<PulsarAction> {
    let mut actions = Vec::new();
    let nothing = Policies::default();
    let (policies, partitions, ephemeral, granted) = match found {
        Found::Nothing { tenant } => {
            if !tenant {
                actions.push(PulsarAction::MakeTenant);
            }
            actions.push(PulsarAction::MakeNamespace);
            (&nothing, 0, false, false)
        }
        Found::Namespace { policies, partitions, ephemeral, granted } => {
            (policies, *partitions, *ephemeral, *granted)
        }
    };
    actions.extend(policies_to_set(&desired.policies, policies));
    match partitions {
        0 => actions.push(PulsarAction::MakeEvents { partitions: desired.partitions }),
        from if from < desired.partitions => {
            actions.push(PulsarAction::GrowEvents { from, to: desired.partitions });
        }
        _ => {}
    }
    if !ephemeral {
        actions.push(PulsarAction::MakeEphemeral);
    }
    if desired.role.is_some() && !granted {
        actions.push(PulsarAction::Grant);
    }
    actions
}

fn policies_to_set(desired: &Policies, found: &Policies) -> Vec<PulsarAction> {
    let mut actions = Vec::new();
    if found.retention != desired.retention {
        actions.push(PulsarAction::SetRetention);
    }
    if found.backlog_quota != desired.backlog_quota {
        actions.push(PulsarAction::SetBacklogQuota);
    }
    // At no time may the quota reach what is retained: Pulsar refuses that.
    if let (Some(quota), Some(retention)) = (&found.backlog_quota, &desired.retention)
        && quota.bytes >> 20 >= retention.mebibytes
    {
        actions.reverse();
    }
    if found.message_ttl != desired.message_ttl {
        actions.push(PulsarAction::SetMessageTtl);
    }
    if found.inactive_topics != desired.inactive_topics {
        actions.push(PulsarAction::KeepTopics);
    }
    actions
}

#[cfg(test)]
mod tests {
    use PulsarAction::{
        Grant, GrowEvents, KeepTopics, MakeEphemeral, MakeEvents, MakeNamespace, MakeTenant, SetBacklogQuota,
        SetMessageTtl, SetRetention,
    };

    use super::{
        super::desired::{BacklogQuota, Retention, desired},
        *,
    };

    #[test]
    fn what_is_missing_is_made_and_what_differs_is_put_right() {
        let spec =
            serde_json::json!({ "url": "pulsar://p:6650", "adminUrl": "http://p:8080", "partitions": 4 });
        let desired = desired(&serde_json::from_value(spec).unwrap(), "chat", None);
        let is = || desired.policies.clone();
        let found = |policies, partitions, ephemeral| Found::Namespace {
            policies,
            partitions,
            ephemeral,
            granted: false,
        };
        let quota = |mebibytes: i64| {
            Some(BacklogQuota { bytes: mebibytes << 20, policy: "consumer_backlog_eviction".into() })
        };
        let retention = |mebibytes| Some(Retention { minutes: 15, mebibytes });
        let fresh = [
            SetRetention,
            SetBacklogQuota,
            SetMessageTtl,
            KeepTopics,
            MakeEvents { partitions: 4 },
            MakeEphemeral,
        ];
        for (name, found, expected) in [
            (
                "nothing",
                Found::Nothing { tenant: false },
                [&[MakeTenant, MakeNamespace], &fresh[..]].concat(),
            ),
            ("a tenant", Found::Nothing { tenant: true }, [&[MakeNamespace], &fresh[..]].concat()),
            ("a namespace", found(Policies::default(), 0, false), fresh.to_vec()),
            ("all", found(is(), 4, true), vec![]),
            ("more partitions stay", found(is(), 9, true), vec![]),
            ("fewer grow", found(is(), 3, true), vec![GrowEvents { from: 3, to: 4 }]),
            ("no events", found(is(), 0, true), vec![MakeEvents { partitions: 4 }]),
            ("no presence", found(is(), 4, false), vec![MakeEphemeral]),
            ("no ttl", found(Policies { message_ttl: None, ..is() }, 4, true), vec![SetMessageTtl]),
            ("topics go", found(Policies { inactive_topics: None, ..is() }, 4, true), vec![KeepTopics]),
            (
                "less is kept",
                found(Policies { retention: retention(600), ..is() }, 4, true),
                vec![SetRetention],
            ),
            ("for ever", found(Policies { retention: retention(-1), ..is() }, 4, true), vec![SetRetention]),
            ("quota", found(Policies { backlog_quota: quota(100), ..is() }, 4, true), vec![SetBacklogQuota]),
            (
                "both were smaller",
                found(Policies { retention: retention(100), backlog_quota: quota(50), ..is() }, 4, true),
                vec![SetRetention, SetBacklogQuota],
            ),
            (
                "both were larger",
                found(Policies { retention: retention(9000), backlog_quota: quota(5000), ..is() }, 4, true),
                vec![SetBacklogQuota, SetRetention],
            ),
        ] {
            assert_eq!(plan(&desired, &found), expected, "{name}");
            // The role of the processes is another one: it gets its rights last, when all is there.
            let other = Desired { role: Some("chat".into()), ..desired.clone() };
            assert_eq!(plan(&other, &found), [expected, vec![Grant]].concat(), "{name}, for another role");
        }
        let granted = Found::Namespace { policies: is(), partitions: 4, ephemeral: true, granted: true };
        assert_eq!(plan(&Desired { role: Some("chat".into()), ..desired.clone() }, &granted), []);
    }
}
