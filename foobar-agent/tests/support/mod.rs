//! What the balancer's tests are made of: a certificate authority, backends that can be
//! killed and brought back, clients that trust the authority, and a balancer between them.
//! Everything listens on loopback with ports that the kernel chooses.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper fails as the test does")]

pub mod backend;
pub mod client;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use foobar_agent::balancer::{Balancer, BalancerSnapshot};
use foobar_agent::config::model::{self, Algorithm, CertificateFiles, Pool, Site};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

use self::backend::Backend;

pub const HOST: &str = "www.foobar.com";

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("foobar-balancer-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate authority with a folder for what it issues.
pub struct Authority {
    pub folder: Folder,
    pub root: CertificateDer<'static>,
    root_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { folder: Folder::new(), root, root_pem, issuer: Issuer::new(params, key) }
    }

    /// The authority's own certificate, as a file.
    pub fn file(&self) -> PathBuf {
        self.folder.write("authority.pem", &self.root_pem)
    }

    /// A leaf for `names` with its key.
    pub fn issue(&self, names: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let file = names[0].replace('*', "_");
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        CertificateFiles {
            cert: self.folder.write(&format!("{file}.pem"), &certificate.pem()),
            key: self.folder.write(&format!("{file}.key"), &key.serialize_pem()),
        }
    }
}

/// Two cores, one TLS and one clear-text listener, one site whose pool is `backends`.
pub fn config(authority: &Authority, backends: &[&Backend]) -> model::Balancer {
    let backends = backends.iter().map(|backend| model::Backend {
        name: backend.name.clone(),
        address: backend.address,
        server_name: None,
        backup: false,
    });
    model::Balancer {
        http: vec!["127.0.0.1:0".parse().unwrap()],
        https: vec!["127.0.0.1:0".parse().unwrap()],
        workers: NonZeroUsize::new(2),
        certificates: vec![authority.issue(&[HOST])],
        sites: vec![Site { hosts: vec![HOST.to_owned()], pool: 0 }],
        pools: vec![Pool {
            name: "web".to_owned(),
            algorithm: Algorithm::RoundRobin,
            tls: None,
            backends: backends.collect(),
        }],
    }
}

/// A balancer that ends with its test.
pub struct Running(Option<Balancer>);

impl Running {
    pub fn start(config: &model::Balancer) -> Self {
        Self(Some(Balancer::start(config).unwrap()))
    }

    pub fn http(&self) -> SocketAddr {
        self.addresses()[0]
    }

    pub fn https(&self) -> SocketAddr {
        self.addresses()[1]
    }

    pub fn reload(&self, config: &model::Balancer) {
        self.commit(self.prepare(config).unwrap());
    }

    /// Waits until the counters and states say what `condition` wants.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&BalancerSnapshot) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(&self.snapshot()) {
            assert!(Instant::now() < deadline, "{what} did not happen: {:#?}", self.snapshot());
            std::thread::yield_now();
        }
    }

    /// Waits until a backend is up or down.
    pub fn wait_for_backend(&self, name: &str, up: bool) {
        self.wait_for(&format!("{name} up: {up}"), |snapshot| {
            snapshot.backends.iter().any(|backend| backend.backend == name && backend.up == up)
        });
    }

    /// Requests that `backend` answered with `code`.
    pub fn answered(&self, backend: &str, code: u16) -> u64 {
        let snapshot = self.snapshot();
        let counts = snapshot.requests.iter();
        counts.filter(|count| count.backend == backend && count.code == code).map(|count| count.count).sum()
    }

    pub fn stop(mut self, grace: Duration) {
        self.0.take().unwrap().shutdown(grace);
    }
}

impl std::ops::Deref for Running {
    type Target = Balancer;

    fn deref(&self) -> &Balancer {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(balancer) = self.0.take() {
            balancer.shutdown(Duration::ZERO);
        }
    }
}

/// Runs a test's client side.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_mins(1), future).await.expect("the test took too long")
    })
}
