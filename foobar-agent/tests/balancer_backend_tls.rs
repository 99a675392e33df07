//! TLS to the backends: who is not the backend gets no request, whatever it is that is wrong.
#![expect(clippy::unwrap_used, reason = "a test's helper fails as the test does")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use foobar_agent::balancer::{Balancer, BalancerError};
use foobar_agent::config::model::{self, CertificateFiles, PoolTls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use support::backend::Backend;
use support::client::{Client, Http};
use support::{Authority, Running, block_on, config};

const NAME: &str = "web.internal";

/// A backend's side of TLS, with or without asking who connects.
fn server(files: &CertificateFiles, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.root.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_file_iter(&files.cert).unwrap().collect::<Result<_, _>>().unwrap();
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap()
}

/// The pool's TLS: this authority, this name.
fn tls(authority: &Authority, name: Option<&str>) -> PoolTls {
    PoolTls { ca: Some(authority.file()), server_name: name.map(str::to_owned), client: None }
}

fn with_tls(authority: &Authority, backends: &[&Backend], tls: PoolTls) -> model::Balancer {
    let mut config = config(authority, backends);
    config.pools[0].tls = Some(tls);
    config
}

fn ask(balancer: &Running, authority: &Authority) -> u16 {
    block_on(async {
        let mut client = Client::connect(balancer.https(), authority, Http::One).await;
        client.get("/").await.unwrap().0
    })
}

#[test]
fn requests_reach_a_verified_backend_over_connections_that_are_kept() {
    let authority = Authority::new();
    let backend = Backend::secured("web1", server(&authority.issue(&[NAME]), None));
    let balancer = Running::start(&with_tls(&authority, &[&backend], tls(&authority, Some(NAME))));
    for http in [Http::One, Http::Two] {
        block_on(async {
            let mut client = Client::connect(balancer.https(), &authority, http).await;
            for _ in 0..20 {
                let (status, body) = client.get("/").await.unwrap();
                assert_eq!((status, &*body), (200, "web1"));
            }
        });
    }
    assert_eq!((backend.requests(), balancer.answered("web1", 200)), (40, 40));
    let opened = balancer.snapshot().backends[0].connections_opened;
    assert!(opened <= 4, "40 requests took {opened} connections");
}

#[test]
fn without_a_name_the_certificate_must_bear_the_address() {
    let authority = Authority::new();
    let backend = Backend::secured("web1", server(&authority.issue(&["127.0.0.1"]), None));
    let balancer = Running::start(&with_tls(&authority, &[&backend], tls(&authority, None)));
    assert_eq!(ask(&balancer, &authority), 200);
    drop(balancer);
    let named = Backend::secured("web2", server(&authority.issue(&[NAME]), None));
    let balancer = Running::start(&with_tls(&authority, &[&named], tls(&authority, None)));
    balancer.wait_for_backend("web2", false);
    assert_eq!((ask(&balancer, &authority), named.requests()), (503, 0));
}

#[test]
fn who_is_not_the_backend_gets_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let impostors = [
        // Of an authority that is not ours; under another name; not in TLS at all.
        Backend::secured("stranger", server(&stranger.issue(&[NAME]), None)),
        Backend::secured("misnamed", server(&authority.issue(&["other.internal"]), None)),
        Backend::start("clear"),
    ];
    for impostor in &impostors {
        let config = with_tls(&authority, &[impostor], tls(&authority, Some(NAME)));
        let balancer = Running::start(&config);
        balancer.wait_for_backend(&impostor.name, false);
        assert_eq!((ask(&balancer, &authority), impostor.requests()), (503, 0), "{}", impostor.name);
    }
}

#[test]
fn a_backend_that_asks_for_it_gets_the_balancers_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let backend = Backend::secured("web1", server(&authority.issue(&[NAME]), Some(&clients)));
    let mut shown = tls(&authority, Some(NAME));
    let config = with_tls(&authority, &[&backend], shown.clone());
    let balancer = Running::start(&config);
    assert_eq!(ask(&balancer, &authority) / 100, 5, "a client without a certificate was served");
    assert_eq!(backend.requests(), 0);
    shown.client = Some(clients.issue(&["balancer.internal"]));
    balancer.reload(&with_tls(&authority, &[&backend], shown));
    balancer.wait_for_backend("web1", true);
    assert_eq!(ask(&balancer, &authority), 200);
}

#[test]
fn a_reload_to_tls_leaves_no_clear_connection_in_use() {
    let authority = Authority::new();
    let clear = Backend::start("web1");
    let before = config(&authority, &[&clear]);
    let balancer = Running::start(&before);
    assert_eq!(ask(&balancer, &authority), 200);
    let mut after = before;
    after.pools[0].tls = Some(tls(&authority, Some(NAME)));
    balancer.reload(&after);
    balancer.wait_for_backend("web1", false);
    assert_eq!((ask(&balancer, &authority), clear.requests()), (503, 1));
}

#[test]
fn what_cannot_be_trusted_is_refused_at_the_start() {
    let authority = Authority::new();
    let refuse = |ca: PathBuf| {
        let tls = PoolTls { ca: Some(ca), server_name: None, client: None };
        Balancer::start(&with_tls(&authority, &[&Backend::start("web1")], tls)).unwrap_err()
    };
    let empty = authority.folder.write("empty.pem", "");
    assert!(matches!(refuse(empty), BalancerError::CertificatePem { .. }));
    assert!(matches!(refuse(authority.folder.path().join("gone.pem")), BalancerError::Read { .. }));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = authority.folder.write("broken.pem", broken);
    assert!(matches!(refuse(broken), BalancerError::CertificateInvalid { .. }));
}
