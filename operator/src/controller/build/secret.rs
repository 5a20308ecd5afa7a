//! What the operator keeps secret.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::{
    BuildInput,
    meta::{child, metadata},
};
use crate::{
    keys::{SecretData, certificates},
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// The keys that sign access tokens.
pub(super) fn signing_keys(input: &BuildInput<'_>) -> Child {
    secret(input, names::signing_keys(input.cluster.name()), input.keys, BTreeMap::new())
}

/// The certificates by which processes know each other.
pub(super) fn internal_tls(input: &BuildInput<'_>) -> Child {
    let expires = certificates::expires_at(input.certificates)
        .map(|at| (names::EXPIRES.to_owned(), at.to_string()))
        .into_iter()
        .collect();
    secret(input, names::internal_tls(input.cluster.name()), input.certificates, expires)
}

/// The token by which gateways are ordered to drain.
pub(super) fn admin_token(input: &BuildInput<'_>) -> Child {
    secret(input, names::admin_token(input.cluster.name()), input.admin_token, BTreeMap::new())
}

fn secret(
    input: &BuildInput<'_>,
    name: String,
    data: &SecretData,
    annotations: BTreeMap<String, String>,
) -> Child {
    let mut metadata = metadata(input.cluster.identity(), name, Component::Shared);
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    child(
        ChildKind::Secret,
        &Secret {
            metadata,
            type_: Some("Opaque".to_owned()),
            data: Some(
                data.iter().map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).collect(),
            ),
            ..Secret::default()
        },
    )
}
