//! Certificates and the one TLS server configuration of a balancer. A reload replaces the
//! certificates behind the resolver, never the configuration, so that session tickets
//! survive it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::counters::HandshakeFailure;
use super::error::BalancerError;
use super::state::State;
use crate::config::model::CertificateFiles;
use crate::desk;

/// ALPN name of HTTP/2.
pub(super) const ALPN_H2: &[u8] = b"h2";
/// ALPN name of HTTP/1.1.
pub(super) const ALPN_HTTP11: &[u8] = b"http/1.1";

/// One certificate with its key, ready to sign.
#[derive(Debug)]
pub(super) struct Certificate {
    /// First DNS name, or the subject if it has none.
    pub(super) name: String,
    /// Seconds since 1970-01-01 UTC.
    pub(super) not_after: i64,
    pub(super) key: Arc<CertifiedKey>,
}

/// All certificates by the names that they are for.
#[derive(Debug, Default)]
pub(super) struct CertificateStore {
    pub(super) certificates: Vec<Certificate>,
    /// Lower-case DNS name to indices in file order.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// `*.example.com` under `example.com`: a wildcard stands for one label.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl CertificateStore {
    /// Reads all files; the first one that is not usable is the error.
    pub(super) fn load(files: &[CertificateFiles]) -> Result<Self, BalancerError> {
        let provider = aws_lc_rs::default_provider();
        let mut store = Self::default();
        for files in files {
            let (certificate, names) = load_certificate(files, &provider)?;
            let index = store.certificates.len();
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut store.wildcard, parent),
                    None => (&mut store.exact, name.as_str()),
                };
                map.entry(name.into()).or_default().push(index);
            }
            store.certificates.push(certificate);
        }
        Ok(store)
    }

    /// Certificates for a lower-case name: those that name it, then wildcards, then the first of all.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        let named = name.and_then(|name| {
            let parent = || name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(name).or_else(|| self.wildcard.get(parent()?))
        });
        named.map_or(&[0], Vec::as_slice)
    }

    /// Whether a client that asked for `sni` was shown a certificate that also speaks for `host`.
    pub(super) fn speaks_for(&self, sni: &str, host: &str) -> bool {
        self.candidates(Some(sni)).iter().any(|index| self.candidates(Some(host)).contains(index))
    }

    /// The first candidate whose key can sign what the client can verify.
    fn resolve(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut candidates =
            self.candidates(hello.server_name()).iter().filter_map(|&index| self.certificates.get(index));
        let first = candidates.clone().next()?;
        let fits = |certificate: &&Certificate| {
            certificate.key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        Some(Arc::clone(&candidates.find(fits).unwrap_or(first).key))
    }
}

/// Reads a chain and its key, with the DNS names that the leaf bears.
pub(super) fn load_certificate(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<(Certificate, Vec<String>), BalancerError> {
    let unreadable = |path: &Path, source| BalancerError::Read { path: path.to_owned(), source };
    let no_certificate = |source| BalancerError::CertificatePem { path: files.cert.clone(), source };
    let text = desk::read(&files.cert).map_err(|source| unreadable(&files.cert, source))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(no_certificate)?;
    let leaf = chain.first().ok_or_else(|| no_certificate(pem::Error::NoItemsFound))?;
    let (mut names, not_after, subject) = describe(leaf).map_err(|reason| {
        BalancerError::CertificateInvalid { path: files.cert.clone(), reason: reason.to_string() }
    })?;
    names.sort_by_key(|name| name.starts_with("*."));
    let name = names.first().cloned().unwrap_or(subject);

    let text = desk::read(&files.key).map_err(|source| unreadable(&files.key, source))?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|source| BalancerError::KeyPem { path: files.key.clone(), source })?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            BalancerError::KeyMismatch { cert: files.cert.clone(), key: files.key.clone() }
        }
        source => BalancerError::KeyInvalid { path: files.key.clone(), source },
    })?;
    warn_of_age(&files.cert, not_after);
    Ok((Certificate { name, not_after, key: Arc::new(key) }, names))
}

/// DNS names in lower case, end of validity, subject.
fn describe(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, i64, String), x509_parser::error::X509Error> {
    let (_, certificate) =
        X509Certificate::from_der(leaf).map_err(|_| x509_parser::error::X509Error::InvalidCertificate)?;
    let names = certificate.subject_alternative_name()?.map_or_else(Vec::new, |extension| {
        let dns_name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        extension.value.general_names.iter().filter_map(dns_name).collect()
    });
    Ok((names, certificate.validity().not_after.timestamp(), certificate.subject().to_string()))
}

/// An expired certificate still serves: clients that pin or skip dates go on, the others see why.
fn warn_of_age(path: &Path, not_after: i64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    if not_after < i64::try_from(now.as_secs()).unwrap_or(i64::MAX) {
        tracing::warn!(certificate = %path.display(), not_after, "the certificate has expired; renew it");
    }
}

/// Finds the certificate in the configuration that holds at the moment of the handshake.
#[derive(Debug)]
struct Resolver(Arc<ArcSwap<State>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().certificates.resolve(&hello)
    }
}

/// The TLS side of every https listener, from start to end of the balancer.
pub(super) fn server_config(state: &Arc<ArcSwap<State>>) -> Result<Arc<ServerConfig>, BalancerError> {
    let failed = |source| BalancerError::Tls { source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(failed)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(Arc::clone(state))));
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP11.to_vec()];
    // Tickets hold no state here and resume on any core; the default store has a mutex and 256 entries.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// The metric label of a failed handshake.
pub(super) fn failure_reason(error: &io::Error) -> HandshakeFailure {
    use rustls::Error::{AlertReceived, InappropriateHandshakeMessage, InappropriateMessage};
    use rustls::Error::{InvalidMessage, PeerIncompatible};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(AlertReceived(_)) => HandshakeFailure::Alert,
        Some(PeerIncompatible(_)) => HandshakeFailure::Incompatible,
        Some(InvalidMessage(_) | InappropriateMessage { .. } | InappropriateHandshakeMessage { .. }) => {
            HandshakeFailure::NotTls
        }
        Some(_) => HandshakeFailure::Other,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => HandshakeFailure::Closed,
            _ => HandshakeFailure::Other,
        },
    }
}
