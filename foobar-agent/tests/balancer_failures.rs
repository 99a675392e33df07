//! Backends that fail: nothing that can be tried again is lost, nothing that is cut looks
//! complete, and traffic follows health.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};

use support::backend::{Answer, Backend, ok};
use support::client::{Client, Http};
use support::{Authority, Running, block_on, config};

#[test]
fn killing_a_backend_under_load_loses_no_idempotent_request() {
    let authority = Authority::new();
    let (one, mut two) = (Backend::start("web1"), Backend::start("web2"));
    let balancer = Running::start(&config(&authority, &[&one, &two]));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            block_on(async {
                let mut clients = Vec::new();
                for index in 0..16 {
                    let http = if index % 2 == 0 { Http::One } else { Http::Two };
                    clients.push(Client::connect(balancer.https(), &authority, http).await);
                }
                let requests = clients.iter_mut().map(async |client| {
                    while !stop.load(SeqCst) {
                        let (status, _) = client.get("/").await.expect("a request was cut");
                        assert_eq!(status, 200, "a request was lost");
                        done.fetch_add(1, SeqCst);
                    }
                });
                futures_util::future::join_all(requests).await;
            });
        });
        let passed = |count: u64| {
            let target = done.load(SeqCst) + count;
            while done.load(SeqCst) < target && !load.is_finished() {
                std::thread::yield_now();
            }
        };
        for _ in 0..5 {
            passed(300);
            two.kill();
            balancer.wait_for_backend("web2", false);
            passed(300);
            two.revive();
            balancer.wait_for_backend("web2", true);
            let before = two.requests();
            balancer.wait_for("traffic to web2", |_| two.requests() > before || load.is_finished());
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(balancer.answered("web1", 200) + balancer.answered("web2", 200), done.load(SeqCst));
    assert_eq!(balancer.answered("none", 502) + balancer.answered("none", 503), 0);
}

#[test]
fn a_backup_serves_while_the_others_are_down_and_gives_traffic_back() {
    let authority = Authority::new();
    let (mut one, two) = (Backend::start("web1"), Backend::start("web2"));
    let mut config = config(&authority, &[&one, &two]);
    config.pools[0].backends[1].backup = true;
    let balancer = Running::start(&config);
    let ask = || {
        block_on(async {
            let mut client = Client::connect(balancer.https(), &authority, Http::One).await;
            let mut bodies = Vec::new();
            for _ in 0..4 {
                bodies.push(client.get("/").await.unwrap().1);
            }
            bodies.dedup();
            bodies
        })
    };
    assert_eq!(ask(), ["web1"]);
    one.kill();
    assert_eq!(ask(), ["web2"], "the first request after the failure is not lost");
    one.revive();
    balancer.wait_for_backend("web1", true);
    assert_eq!(ask(), ["web1"]);
}

#[test]
fn with_all_backends_down_the_answer_is_503_until_one_is_back() {
    let authority = Authority::new();
    let mut backend = Backend::start("web1");
    let balancer = Running::start(&config(&authority, &[&backend]));
    backend.kill();
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::Two).await;
        let (status, body) = client.get("/").await.unwrap();
        assert_eq!((status, body.as_str()), (503, "Service Unavailable"));
    });
    backend.revive();
    balancer.wait_for_backend("web1", true);
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::Two).await;
        assert_eq!(client.get("/").await.unwrap().0, 200);
    });
}

#[test]
fn a_response_that_breaks_off_does_not_look_complete() {
    let authority = Authority::new();
    let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n";
    let answer: Answer = Arc::new(move |_, seen| {
        Some(if seen.path() == "/sized" { sized.to_vec() } else { chunked.to_vec() })
    });
    let backend = Backend::with("web1", answer);
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        for http in [Http::One, Http::Two] {
            for path in ["/sized", "/chunked"] {
                let mut client = Client::connect(balancer.https(), &authority, http).await;
                let request = client.request(path).body(Full::default()).unwrap();
                // The head may already be lost with the connection; what must not come is an end.
                if let Ok(response) = client.send(request).await {
                    assert_eq!(response.status(), 200);
                    assert!(response.into_body().collect().await.is_err(), "{http:?} {path}");
                }
            }
        }
    });
    let requests = backend.requests();
    assert_eq!(requests, 4, "a response that had begun is not asked for again");
}

#[test]
fn a_request_that_may_have_had_an_effect_is_not_sent_twice() {
    let authority = Authority::new();
    let cut: Answer = Arc::new(|_, _| None);
    let (one, two) = (Backend::with("web1", Arc::clone(&cut)), Backend::with("web2", cut));
    let balancer = Running::start(&config(&authority, &[&one, &two]));
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::Two).await;
        let post =
            client.request("/").method(Method::POST).body(Full::new(Bytes::from_static(b"1"))).unwrap();
        assert_eq!(client.send(post).await.unwrap().status(), 502);
        assert_eq!(one.requests() + two.requests(), 1);
        // A request that may be repeated goes to each backend once, and then no further.
        assert_eq!(client.get("/").await.unwrap().0, 502);
        assert_eq!(one.requests() + two.requests(), 3);
    });
    let retries: u64 = balancer.snapshot().backends.iter().map(|backend| backend.retries).sum();
    assert_eq!(retries, 1);
    // What breaks every connection may be the request's fault: nobody is taken out for it.
    assert!(balancer.snapshot().backends.iter().all(|backend| backend.up));
}

#[test]
fn a_connection_that_the_backend_closed_while_idle_costs_no_request_of_any_method() {
    let authority = Authority::new();
    let mut backend = Backend::with("web1", Arc::new(|_, seen| Some(ok(&seen.body))));
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::One).await;
        for round in 0..20_u8 {
            let body = Full::new(Bytes::copy_from_slice(&[round]));
            let request = client.request("/").method(Method::POST).body(body).unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), [round].as_slice());
            backend.kill();
            backend.revive();
            balancer.wait_for_backend("web1", true);
        }
    });
}
