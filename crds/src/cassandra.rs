//! Where the system of record is.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::secrets::{CredentialsRef, SecretKeyRef};

fn local_datacenter() -> String {
    "dc1".into()
}

/// Apache Cassandra. The operator makes the keyspace and its tables; it does not run Cassandra.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.keyspace) == has(oldSelf.keyspace) && (!has(self.keyspace) || self.keyspace == oldSelf.keyspace)")
        .message("keyspace must stay as it was: messages do not move to another keyspace; make another ChatCluster for that"),
    validation = Rule::new("!has(self.replication) || size(self.replication) == 0 || self.localDatacenter in self.replication")
        .message("replication must name localDatacenter, since quorums are formed there"),
    validation = Rule::new("!has(self.migrationCredentialsSecretRef) || has(self.credentialsSecretRef)")
        .message("migrationCredentialsSecretRef needs credentialsSecretRef: without it the processes could not log in")
)]
pub struct CassandraSpec {
    /// `host:port` of some nodes; the others are found through them.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(max = 260), regex(pattern = r"^[A-Za-z0-9._:\[\]-]+:[0-9]{1,5}$"))
    )]
    pub contact_points: Vec<String>,
    /// The datacenter whose nodes are asked; quorums are formed in it.
    #[serde(default = "local_datacenter")]
    #[schemars(length(min = 1, max = 128))]
    pub local_datacenter: String,
    /// Name of the keyspace. Without it, one of the namespace and name of the `ChatCluster`. It never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 48), regex(pattern = "^[a-z][a-z0-9_]{0,47}$"))]
    pub keyspace: Option<String>,
    /// How many copies which datacenter keeps, for making the keyspace; without it three in the local one. The copies of a
    /// keyspace that exists are left as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "integer", "format": "uint32", "minimum": 1, "maximum": 9}))]
    pub replication: BTreeMap<String, u32>,
    /// Login of the processes; it may `SELECT` and `MODIFY` in the keyspace. A change rolls the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsRef>,
    /// Login of migrations, which also need `CREATE` and `ALTER` (and `DROP` with `deletionPolicy: Delete`); without it they
    /// use the login of the processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_credentials_secret_ref: Option<CredentialsRef>,
    /// PEM bundle with the authorities that vouch for the nodes; turns TLS on. A change rolls the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}
