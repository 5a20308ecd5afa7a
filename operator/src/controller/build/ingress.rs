//! The way in, by an Ingress controller.

use folkmoot_crds::IngressSpec;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressTLS, ServiceBackendPort,
};

use super::{
    meta::{child, metadata},
    paths::ROUTES,
    ports,
};
use crate::{
    kinds::{Child, ChildKind},
    names::Component,
    validate::ValidatedCluster,
};

/// The Ingress of a host.
pub(super) fn ingress(cluster: &ValidatedCluster, host: &str, spec: &IngressSpec) -> Child {
    let name = cluster.name();
    let mut metadata = metadata(cluster.identity(), name, Component::Shared);
    metadata.annotations = (!spec.annotations.is_empty()).then(|| spec.annotations.clone());
    let paths = ROUTES
        .iter()
        .map(|route| HTTPIngressPath {
            path: Some(route.path.to_owned()),
            path_type: if route.is_exact { "Exact" } else { "Prefix" }.to_owned(),
            backend: IngressBackend {
                service: Some(IngressServiceBackend {
                    name: route.service(name),
                    port: Some(ServiceBackendPort {
                        name: Some(ports::PUBLIC_NAME.to_owned()),
                        number: None,
                    }),
                }),
                resource: None,
            },
        })
        .collect();
    let tls = spec.tls_secret_name.as_ref().map(|secret| {
        vec![IngressTLS { hosts: Some(vec![host.to_owned()]), secret_name: Some(secret.clone()) }]
    });
    let object = Ingress {
        metadata,
        spec: Some(k8s_openapi::api::networking::v1::IngressSpec {
            ingress_class_name: spec.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(host.to_owned()),
                http: Some(HTTPIngressRuleValue { paths }),
            }]),
            tls,
            default_backend: None,
        }),
        status: None,
    };
    child(ChildKind::Ingress, &object)
}
