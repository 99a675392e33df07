//! The way to one backend: TCP, and TLS on it where the pool asks for that. What TLS connects to
//! is verified always: there is no switch for "any certificate".

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::BalancerError;
use super::tls::{ALPN_HTTP11, load_certificate};
use crate::config::model;
use crate::desk;

/// How to reach one backend.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    address: SocketAddr,
    tls: Option<Secured>,
}

/// TLS to one backend.
#[derive(Clone)]
struct Secured {
    connector: TlsConnector,
    /// What its certificate must bear; a DNS name is sent as SNI too.
    name: ServerName<'static>,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secured").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Hop {
    /// The ways to a pool's backends, as ordered there.
    pub(super) fn of_pool(pool: &model::Pool) -> Result<Vec<Self>, BalancerError> {
        let connector = pool.tls.as_ref().map(connector).transpose()?;
        let hop = |backend: &model::Backend| {
            let tls = pool.tls.as_ref().zip(connector.clone());
            let tls = tls.map(|(tls, connector)| {
                let name = backend.server_name.as_ref().or(tls.server_name.as_ref());
                Ok(Secured { connector, name: server_name(name, backend.address.ip())? })
            });
            Ok(Self { address: backend.address, tls: tls.transpose()? })
        };
        pool.backends.iter().map(hop).collect()
    }

    /// Opens a connection that is ready for requests.
    ///
    /// # Errors
    /// Where nobody answers, or who answers is not the backend.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Stream::Clear(stream),
            Some(Secured { connector, name }) => {
                Stream::Tls(Box::new(connector.connect(name.clone(), stream).await?))
            }
        })
    }
}

fn server_name(name: Option<&String>, address: IpAddr) -> Result<ServerName<'static>, BalancerError> {
    let Some(name) = name else { return Ok(ServerName::from(address)) };
    ServerName::try_from(name.clone()).map_err(|_| BalancerError::ServerName { name: name.clone() })
}

fn connector(tls: &model::PoolTls) -> Result<TlsConnector, BalancerError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let failed = |source| BalancerError::Tls { source };
    let roots = Arc::new(match &tls.ca {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    });
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| BalancerError::Authorities { reason: error.to_string() })?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(failed)?
        .with_webpki_verifier(verifier);
    let mut config = match &tls.client {
        None => config.with_no_client_auth(),
        Some(files) => {
            let (certificate, _) = load_certificate(files, &provider)?;
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.key)))
        }
    };
    config.alpn_protocols = vec![ALPN_HTTP11.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The authorities of a PEM file; one that cannot be used is an error, not left out.
fn authorities(path: &std::path::Path) -> Result<RootCertStore, BalancerError> {
    let broken = |source| BalancerError::CertificatePem { path: path.to_owned(), source };
    let text = desk::read(path).map_err(|source| BalancerError::Read { path: path.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        roots.add(certificate.map_err(broken)?).map_err(|error| BalancerError::CertificateInvalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    if roots.is_empty() {
        return Err(broken(pem::Error::NoItemsFound));
    }
    Ok(roots)
}

/// What the system trusts. One certificate that cannot be used is the distribution's business.
fn system_authorities() -> Result<RootCertStore, BalancerError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let reason = if reasons.is_empty() { "none is installed".to_owned() } else { reasons.join("; ") };
        return Err(BalancerError::Authorities { reason });
    }
    Ok(roots)
}

/// A connection to a backend.
#[derive(Debug)]
pub(super) enum Stream {
    Clear(TcpStream),
    /// Boxed: its state is thirty times as large as a socket, and moves with the connection.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls one method on whichever stream it is.
macro_rules! on_either {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_either!(self, poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_either!(self, poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_either!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, poll_shutdown(cx))
    }
}
