//! Start, reload, shutdown: what cannot work is said before anything runs, and what runs is
//! not disturbed.

mod support;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use foobar_agent::balancer::{Balancer, BalancerError};
use foobar_agent::config::model;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpStream;

use support::backend::{Answer, Backend, ok};
use support::client::{Client, Http};
use support::{Authority, Running, block_on, config};

fn refusal(config: &model::Balancer) -> BalancerError {
    let Err(error) = Balancer::start(config) else { panic!("must not start") };
    error
}

#[test]
fn a_port_in_use_is_named_and_nothing_stays_behind() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let mut config = config(&authority, &[&backend]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.http = vec![free];
    config.https = vec![taken.local_addr().unwrap()];
    let error = refusal(&config);
    assert!(matches!(error, BalancerError::PortInUse { address } if address == taken.local_addr().unwrap()));
    assert!(error.to_string().contains("in use"), "{error}");
    std::net::TcpListener::bind(free).expect("the other port is free again");
}

#[test]
fn two_balancers_do_not_share_a_port() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let mut config = config(&authority, &[&backend]);
    let first = Running::start(&config);
    config.https = vec![first.https()];
    assert!(matches!(refusal(&config), BalancerError::PortInUse { .. }));
}

#[test]
fn unusable_certificates_are_refused_with_their_path() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let good = config(&authority, &[&backend]);
    let (files, other) = (good.certificates[0].clone(), authority.issue(&["other.example"]));
    let start_with = |cert: &std::path::Path, key: &std::path::Path| {
        let mut config = good.clone();
        config.certificates = vec![model::CertificateFiles { cert: cert.to_owned(), key: key.to_owned() }];
        refusal(&config)
    };
    let absent = authority.folder.path().join("absent.pem");
    let empty = authority.folder.write("empty.pem", "no PEM here\n");
    let garbage = authority
        .folder
        .write("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");

    let error = start_with(&files.cert, &other.key);
    assert!(matches!(&error, BalancerError::KeyMismatch { key, .. } if *key == other.key), "{error}");
    let error = start_with(&absent, &files.key);
    assert!(matches!(&error, BalancerError::Read { path, .. } if *path == absent), "{error}");
    let error = start_with(&empty, &files.key);
    assert!(matches!(&error, BalancerError::CertificatePem { path, .. } if *path == empty), "{error}");
    let error = start_with(&garbage, &files.key);
    assert!(matches!(&error, BalancerError::CertificateInvalid { path, .. } if *path == garbage), "{error}");
    let error = start_with(&files.cert, &empty);
    assert!(matches!(&error, BalancerError::KeyPem { path, .. } if *path == empty), "{error}");
    let mut none = good.clone();
    none.certificates.clear();
    assert!(matches!(refusal(&none), BalancerError::NoCertificate));
}

#[test]
fn a_reload_changes_backends_and_keeps_connections_counters_and_health() {
    let authority = Authority::new();
    let (one, two) = (Backend::start("web1"), Backend::start("web2"));
    let mut three = Backend::start("web3");
    let balancer = Running::start(&config(&authority, &[&one, &three]));
    block_on(async {
        let mut first = Client::connect(balancer.https(), &authority, Http::One).await;
        let mut second = Client::connect(balancer.https(), &authority, Http::Two).await;
        for _ in 0..5 {
            assert_eq!(first.get("/").await.unwrap().0, 200);
            assert_eq!(second.get("/").await.unwrap().0, 200);
        }
        let opened = || balancer.snapshot().backends[0].connections_opened;
        let before = opened();
        three.kill();
        balancer.wait_for_backend("web3", false);

        let mut changed = config(&authority, &[&one, &two, &three]);
        changed.certificates = vec![authority.issue(&[support::HOST, "second.example"])];
        balancer.reload(&changed);
        let down: Vec<_> = balancer.snapshot().backends.iter().map(|backend| backend.up).collect();
        assert_eq!(down, [true, true, false], "what was down stays down");
        for _ in 0..10 {
            assert_eq!(first.get("/").await.unwrap().0, 200);
            assert_eq!(second.get("/").await.unwrap().0, 200);
        }
        assert_eq!(opened(), before, "idle connections to a backend that stays are kept");
    });
    assert_eq!((one.requests(), two.requests(), three.requests()), (15, 10, 5));
    assert_eq!(balancer.answered("web1", 200), 15);
    let snapshot = balancer.snapshot();
    assert_eq!(snapshot.listeners[1].connections_accepted, 2, "no connection was dropped");
    assert_eq!(snapshot.certificates[0].name, support::HOST);
}

#[test]
fn a_reload_opens_new_listeners_and_closes_old_ones() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let mut config = config(&authority, &[&backend]);
    let balancer = Running::start(&config);
    let old = balancer.https();
    block_on(async {
        let mut client = Client::connect(old, &authority, Http::One).await;
        assert_eq!(client.get("/").await.unwrap().0, 200);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        config.https = vec![free];
        balancer.reload(&config);
        assert_eq!(client.get("/").await.unwrap().0, 200, "a connection outlives its listener");
        let mut client = Client::connect(free, &authority, Http::Two).await;
        assert_eq!(client.get("/").await.unwrap().0, 200);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(old).await.is_ok() {
            assert!(Instant::now() < deadline, "the old listener is still open");
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_reload_that_cannot_work_changes_nothing() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let good = config(&authority, &[&backend]);
    let balancer = Running::start(&good);
    let mut workers = good.clone();
    workers.workers = NonZeroUsize::new(3);
    let error = balancer.prepare(&workers).expect_err("workers are fixed");
    assert!(matches!(error, BalancerError::WorkersChanged { running: 2, wanted: 3 }), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut port = good.clone();
    port.http.push(taken.local_addr().unwrap());
    assert!(matches!(balancer.prepare(&port), Err(BalancerError::PortInUse { .. })));
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::One).await;
        assert_eq!(client.get("/").await.unwrap().0, 200);
    });
}

#[test]
fn shutdown_finishes_what_is_under_way_and_accepts_nothing_more() {
    let authority = Authority::new();
    let (began, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let answer: Answer = Arc::new(move |_, seen| {
        if seen.path() == "/slow" {
            began.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
        Some(ok(b"done"))
    });
    let backend = Backend::with("web1", answer);
    let balancer = Running::start(&config(&authority, &[&backend]));
    let address = balancer.https();
    block_on(async {
        let mut idle = Client::connect(address, &authority, Http::One).await;
        assert_eq!(idle.get("/").await.unwrap().0, 200);
        let mut busy = Client::connect(address, &authority, Http::Two).await;
        let request = busy.request("/slow").body(Full::default()).unwrap();
        let response = tokio::spawn(async move { busy.send(request).await });
        let has_begun = tokio::task::spawn_blocking(move || has_begun.recv().unwrap());
        has_begun.await.unwrap();
        let ended = tokio::task::spawn_blocking(move || balancer.stop(Duration::from_secs(30)));
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!ended.is_finished(), "the request is still under way");
        release.send(()).unwrap();
        let response = response.await.unwrap().unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
        ended.await.unwrap();
        assert!(idle.get("/").await.is_err(), "an idle connection is closed");
    });
}

#[test]
fn shutdown_does_not_wait_longer_than_the_grace() {
    let authority = Authority::new();
    let (began, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let answer: Answer = Arc::new(move |_, _| {
        began.send(()).unwrap();
        let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(20));
        None
    });
    let backend = Backend::with("web1", answer);
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::One).await;
        let request = tokio::spawn(async move { client.get("/").await });
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        let started = Instant::now();
        tokio::task::spawn_blocking(move || balancer.stop(Duration::from_millis(200))).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(request.await.unwrap().is_err());
    });
    drop(release);
}
