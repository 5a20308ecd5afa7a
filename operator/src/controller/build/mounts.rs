//! What of which Secret is a file in pods, and where.

use folkmoot_crds::{CassandraSpec, CredentialsRef};
use k8s_openapi::api::core::v1::{
    KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeMount, VolumeProjection,
};

use crate::{
    keys::{admin, certificates, signing},
    names,
    role::Role,
    validate::{Files, ValidatedCluster},
};

const VOLUME: &str = "secrets";
const FOLDER: &str = "/etc/folkmoot/secrets";
/// Readable by the group that [`super::pod`] runs processes in, and by nobody else.
const MODE: i32 = 0o440;

/// A mounted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    CassandraPassword,
    CassandraCa,
    PulsarToken,
    PulsarCa,
    S3Credentials,
    SigningKeys,
    InternalCa,
    InternalCertificate,
    InternalKey,
    AdminToken,
}

impl Path {
    const fn in_volume(self) -> &'static str {
        match self {
            Self::CassandraPassword => "cassandra/password",
            Self::CassandraCa => "cassandra/ca.crt",
            Self::PulsarToken => "pulsar/token",
            Self::PulsarCa => "pulsar/ca.crt",
            Self::S3Credentials => "s3/credentials",
            Self::SigningKeys => "signing/keys.json",
            Self::InternalCa => "internal/ca.crt",
            Self::InternalCertificate => "internal/tls.crt",
            Self::InternalKey => "internal/tls.key",
            Self::AdminToken => "admin/token",
        }
    }

    /// Path of the file in a pod.
    pub(super) fn in_pod(self) -> String {
        format!("{FOLDER}/{}", self.in_volume())
    }
}

/// A key of a Secret that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    secret: String,
    key: String,
    path: Path,
}

impl Mount {
    fn new(secret: &str, key: &str, path: Path) -> Self {
        Self { secret: secret.to_owned(), key: key.to_owned(), path }
    }

    /// Which key of which Secret it is, for a hash.
    pub(super) fn identity(&self) -> String {
        format!("{}={}/{}", self.path.in_volume(), self.secret, self.key)
    }
}

/// The files of a role.
pub(super) fn of_role(cluster: &ValidatedCluster, role: Role) -> Vec<Mount> {
    let mut mounts = of_roles(cluster);
    if role == Role::Gateway {
        mounts.push(Mount::new(&names::admin_token(cluster.name()), admin::TOKEN, Path::AdminToken));
    }
    mounts
}

/// The files that all roles have.
pub(super) fn of_roles(cluster: &ValidatedCluster) -> Vec<Mount> {
    let (name, pulsar) = (cluster.name(), cluster.pulsar());
    let mut mounts = of_cassandra(cluster.cassandra(), cluster.cassandra().credentials_secret_ref.as_ref());
    let s3 = match cluster.files() {
        Files::Cassandra => None,
        Files::S3(s3) => Some(&s3.credentials_secret_ref),
    };
    for (reference, path) in [
        (pulsar.token_secret_ref.as_ref(), Path::PulsarToken),
        (pulsar.ca_secret_ref.as_ref(), Path::PulsarCa),
        (s3, Path::S3Credentials),
    ] {
        mounts.extend(reference.map(|reference| Mount::new(&reference.name, &reference.key, path)));
    }
    mounts.push(Mount::new(&names::signing_keys(name), signing::FILE, Path::SigningKeys));
    let internal = names::internal_tls(name);
    mounts.extend([
        Mount::new(&internal, certificates::AUTHORITIES, Path::InternalCa),
        Mount::new(&internal, certificates::CERTIFICATE, Path::InternalCertificate),
        Mount::new(&internal, certificates::KEY, Path::InternalKey),
    ]);
    mounts
}

/// The files of a process that speaks only to Cassandra, with this login.
pub(super) fn of_cassandra(spec: &CassandraSpec, login: Option<&CredentialsRef>) -> Vec<Mount> {
    let password = login.map(|login| Mount::new(&login.name, "password", Path::CassandraPassword));
    let ca = spec.ca_secret_ref.as_ref().map(|ca| Mount::new(&ca.name, &ca.key, Path::CassandraCa));
    [password, ca].into_iter().flatten().collect()
}

/// The one volume that has them all, and where it is mounted. None for none. A projected volume follows its Secrets, which a
/// `subPath` would not.
pub(super) fn volume(mounts: &[Mount]) -> Option<(Volume, VolumeMount)> {
    let sources: Vec<VolumeProjection> = mounts
        .iter()
        .map(|mount| VolumeProjection {
            secret: Some(SecretProjection {
                name: mount.secret.clone(),
                items: Some(vec![KeyToPath {
                    key: mount.key.clone(),
                    path: mount.path.in_volume().to_owned(),
                    ..KeyToPath::default()
                }]),
                optional: None,
            }),
            ..VolumeProjection::default()
        })
        .collect();
    if sources.is_empty() {
        return None;
    }
    let projected = ProjectedVolumeSource {
        default_mode: Some(MODE),
        sources: Some(sources),
        ..ProjectedVolumeSource::default()
    };
    let volume = Volume { name: VOLUME.to_owned(), projected: Some(projected), ..Volume::default() };
    let mount = VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: FOLDER.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    Some((volume, mount))
}
