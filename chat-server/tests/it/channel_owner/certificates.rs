//! A cluster's own authority.

use std::{fs, path::Path};

use chat_cluster::tls::{CERTIFICATE_NAME, CertificateFiles};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate by which processes know each other.
    pub(crate) fn issue(&self, dir: &Path) -> CertificateFiles {
        self.issue_for(CERTIFICATE_NAME, dir)
    }

    pub(crate) fn issue_for(&self, name: &str, dir: &Path) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        fs::create_dir_all(dir).unwrap();
        let write = |file: &str, content: &str| {
            let path = dir.join(file);
            fs::write(&path, content).unwrap();
            path
        };
        CertificateFiles {
            ca: write("ca.pem", &self.pem),
            cert: write("cert.pem", &cert.pem()),
            key: write("key.pem", &key.serialize_pem()),
        }
    }
}
