//! A certificate authority made for one run of the demo. The client trusts it and nothing else, so
//! that what it accepts was really verified.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::plan::{BALANCER, SITE};

/// Certificates of the demo live as long as a demo might be left running.
const LIFETIME: Duration = Duration::from_hours(30 * 24);
/// Clocks of client and server are the same here; a little slack costs nothing.
const SLACK: Duration = Duration::from_hours(1);

/// The files of the authority and of the certificate that it signed.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    /// The authority's own certificate, for `curl --cacert`.
    pub(crate) root: PathBuf,
    /// The site's certificate.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes keys and certificates in a folder.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let mut root = params(&[], "foobar demo authority")?;
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_key = KeyPair::generate().context("cannot make a key")?;
        let root_pem = root.self_signed(&root_key).context("cannot sign the authority")?.pem();

        let mut leaf = params(&[SITE, "foobar.com", BALANCER], SITE)?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf_key = KeyPair::generate().context("cannot make a key")?;
        let issuer = Issuer::new(root, root_key);
        let leaf_pem = leaf.signed_by(&leaf_key, &issuer).context("cannot sign the certificate")?.pem();

        let authority = Self {
            root: folder.join("authority.pem"),
            certificate: folder.join("fullchain.pem"),
            key: folder.join("key.pem"),
        };
        for (path, text) in [
            (&authority.root, root_pem),
            (&authority.certificate, leaf_pem),
            (&authority.key, leaf_key.serialize_pem()),
        ] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(authority)
    }
}

fn params(names: &[&str], common_name: &str) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).context("not a name for a certificate")?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - SLACK).into();
    params.not_after = (now + LIFETIME).into();
    Ok(params)
}
