//! Reads the Secrets that a `ChatCluster` refers to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use parking_lot::Mutex;

use super::{ReconcileError, context::ask};
use crate::{
    keys::SecretData,
    live::Live,
    secrets::{Secrets, data_of},
};

/// Reads Secrets once for each version of them.
#[derive(Debug, Default)]
pub(super) struct SecretReader {
    /// By namespace and name: the version, and what is in it.
    known: Mutex<HashMap<(String, String), (String, SecretData)>>,
}

impl SecretReader {
    /// What is in these Secrets; those that are not there are absent.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub(super) async fn read(
        &self,
        client: &Client,
        live: &Live,
        namespace: &str,
        names: &BTreeSet<String>,
    ) -> Result<Secrets, ReconcileError> {
        let mut found: Secrets = BTreeMap::new();
        for name in names {
            let place = (namespace.to_owned(), name.clone());
            let Some(version) = live.secret_version(namespace, name) else {
                self.known.lock().remove(&place);
                continue;
            };
            let remembered = self.known.lock().get(&place).filter(|(of, _)| *of == version).cloned();
            let data = match remembered {
                Some((_, data)) => data,
                None => {
                    let Some(data) = self.fetch(client, namespace, name).await? else { continue };
                    self.known.lock().insert(place, (version, data.clone()));
                    data
                }
            };
            found.insert(name.clone(), data);
        }
        Ok(found)
    }

    async fn fetch(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SecretData>, ReconcileError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let found = ask(format!("give the Secret {name}"), api.get_opt(name)).await?;
        Ok(found.map(|secret| data_of(&secret)))
    }
}
