//! What is done once: tables made or brought up to date, and a keyspace dropped.

use folkmoot_crds::{CassandraSpec, ChatCluster, ImageSpec, SchedulingSpec};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{
    config,
    meta::{child, metadata},
    mounts, pod,
};
use crate::{
    datastore::cassandra::migration::MigrationJob,
    identity::Identity,
    kinds::{Child, ChildKind},
    names::{self, Component},
    validate::ValidatedCluster,
};

/// Longer than any migration of tables takes; Cassandra agrees on a schema within seconds.
const DEADLINE_SECONDS: i64 = 300;
/// Long enough to see why one failed.
const KEEP_SECONDS: i32 = 3600;
/// The Job that drops a keyspace has no owner with which it would go, and what it did is in an event.
const KEEP_DROP_SECONDS: i32 = 30;

/// Makes the tables, or brings them up to date. It is tried again by another Job, since that one waits longer each time.
pub(super) fn migrate(cluster: &ValidatedCluster, migration: &MigrationJob) -> Child {
    let name = names::migrate_job(cluster.name(), &migration.hash);
    let subject = Subject {
        identity: cluster.identity(),
        cassandra: cluster.cassandra(),
        keyspace: cluster.keyspace(),
        scheduling: cluster.scheduling(),
        image: cluster.image(),
    };
    let replication = config::replication(cluster.cassandra());
    child(ChildKind::Job, &job(&subject, name, &["migrate", "--only", "cassandra"], replication, 0))
}

/// What Jobs need to know of a `ChatCluster`. One that is being deleted need not be valid.
struct Subject<'a> {
    identity: &'a Identity,
    cassandra: &'a CassandraSpec,
    keyspace: &'a str,
    scheduling: &'a SchedulingSpec,
    image: &'a ImageSpec,
}

/// Drops the keyspace. A deletion in the foreground, as Argo CD makes it, takes everything that is owned first: this one has no
/// owner, and goes by itself.
pub(super) fn drop_keyspace(cluster: &ChatCluster, image: &ImageSpec) -> Child {
    let (identity, keyspace) = (Identity::of(cluster), names::keyspace(cluster));
    let subject = Subject {
        identity: &identity,
        cassandra: &cluster.spec.cassandra,
        keyspace: &keyspace,
        scheduling: &cluster.spec.scheduling,
        image,
    };
    let mut job = job(&subject, names::drop_job(&identity), &["drop", "--confirm", &keyspace], None, 2);
    job.metadata.owner_references = None;
    if let Some(spec) = &mut job.spec {
        spec.ttl_seconds_after_finished = Some(KEEP_DROP_SECONDS);
    }
    if let Some(pod) = job.spec.as_mut().and_then(|spec| spec.template.spec.as_mut()) {
        // The default account of the namespace; its own may be gone.
        pod.service_account_name = None;
    }
    child(ChildKind::Job, &job)
}

fn job(
    subject: &Subject<'_>,
    name: String,
    args: &[&str],
    more: Option<(String, String)>,
    backoff_limit: i32,
) -> Job {
    let (identity, spec, image) = (subject.identity, subject.cassandra, subject.image);
    let mut variables = config::cassandra(spec, subject.keyspace);
    variables.extend(more);
    let login = spec.migration_credentials_secret_ref.as_ref().or(spec.credentials_secret_ref.as_ref());
    let secrets = mounts::of_cassandra(spec, login);
    if login.is_some() {
        variables
            .insert(config::variable("cassandra.password_file"), mounts::Path::CassandraPassword.in_pod());
    }
    let mut env = pod::values(variables);
    env.extend(pod::cassandra_user(login));
    let quantity = |key: &str, value: &str| (key.to_owned(), Quantity(value.to_owned()));
    let container = Container {
        args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
        env: Some(env),
        resources: Some(ResourceRequirements {
            requests: Some([quantity("cpu", "50m"), quantity("memory", "64Mi")].into()),
            limits: Some([quantity("memory", "256Mi")].into()),
            claims: None,
        }),
        ..Container::default()
    };
    let account = names::migrate(&identity.name);
    let pod = PodSpec {
        restart_policy: Some("Never".to_owned()),
        ..pod::pod(subject.scheduling, (&image.reference, image), account, &secrets, container)
    };
    Job {
        metadata: metadata(identity, name, Component::Migrate),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            backoff_limit: Some(backoff_limit),
            ttl_seconds_after_finished: Some(KEEP_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::labels(&identity.name, Component::Migrate)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}
