//! Requests through the balancer: protocols, spreading, what the backend and the client get
//! to see of each other, and what is refused.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::backend::{Backend, ok};
use support::client::{Client, Http, connect_tls, tls, version_name};
use support::{Authority, HOST, Running, block_on, config};

#[test]
fn every_pair_of_tls_and_http_version_is_served_and_resumed() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        for http in [Http::One, Http::Two] {
            for version in [&TLS12, &TLS13] {
                let tls = tls(&authority, http, &[version]);
                for _ in 0..2 {
                    let stream = connect_tls(balancer.https(), &tls, HOST).await.unwrap();
                    assert_eq!(version_name(&stream), Some(version.version));
                    let mut client = Client::over(stream, http).await;
                    assert_eq!(client.get("/").await.unwrap(), (200, "web1".to_owned()));
                }
            }
        }
    });
    let handshakes = &balancer.snapshot().listeners[1].handshakes;
    for version in ["TLSv1.2", "TLSv1.3"] {
        for resumed in [false, true] {
            let of_kind = |count: &&foobar_agent::balancer::HandshakeCount| {
                count.version == version && count.resumed == resumed
            };
            assert_eq!(handshakes.iter().find(of_kind).unwrap().count, 2, "{version} {resumed}");
        }
    }
}

#[test]
fn a_thousand_requests_are_spread_exactly_in_half_over_all_cores() {
    let authority = Authority::new();
    let (one, two) = (Backend::start("web1"), Backend::start("web2"));
    let balancer = Running::start(&config(&authority, &[&one, &two]));
    block_on(async {
        let mut answers = HashMap::<String, u32>::new();
        let mut clients = Vec::new();
        for index in 0..20 {
            let http = if index % 2 == 0 { Http::One } else { Http::Two };
            clients.push(Client::connect(balancer.https(), &authority, http).await);
        }
        for _ in 0..50 {
            let gets = clients.iter_mut().map(|client| client.get("/"));
            for answer in futures_util::future::join_all(gets).await {
                let (status, body) = answer.unwrap();
                assert_eq!(status, 200);
                *answers.entry(body).or_default() += 1;
            }
        }
        assert_eq!(answers, HashMap::from([("web1".to_owned(), 500), ("web2".to_owned(), 500)]));
    });
    assert_eq!((one.requests(), two.requests()), (500, 500));
    assert_eq!((balancer.answered("web1", 200), balancer.answered("web2", 200)), (500, 500));
    let snapshot = balancer.snapshot();
    assert_eq!(snapshot.durations[0].count, 1000);
    assert_eq!(snapshot.listeners[1].connections_accepted, 20);
}

#[test]
fn the_backend_learns_who_asked_from_us_alone() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        for http in [Http::One, Http::Two] {
            let mut client = Client::connect(balancer.https(), &authority, http).await;
            let request = client
                .request("/a?b=c")
                .header("x-forwarded-for", "10.0.0.1")
                .header("x-forwarded-proto", "http")
                .header("x-forwarded-host", "evil.example")
                .header("forwarded", "for=10.0.0.1")
                .header("x-request-id", "mine")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("accept-language", "tlh");
            let response = client.send(request.body(Full::default()).unwrap()).await.unwrap();
            let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
            response.into_body().collect().await.unwrap();

            let seen = backend.last();
            assert_eq!(seen.line, "GET /a?b=c HTTP/1.1", "{http:?}");
            assert_eq!(seen.field("host"), [HOST]);
            assert_eq!(seen.field("x-forwarded-for"), ["127.0.0.1"]);
            assert_eq!(seen.field("x-forwarded-proto"), ["https"]);
            assert_eq!(seen.field("x-request-id"), [id.as_str()]);
            assert_eq!(seen.field("cookie"), ["a=1; b=2"]);
            assert_eq!(seen.field("accept-language"), ["tlh"]);
            assert!(seen.field("forwarded").is_empty() && seen.field("x-forwarded-host").is_empty());
            assert_eq!(id.len(), 32);
        }
    });
}

#[test]
fn fields_of_one_hop_do_not_pass_in_either_direction() {
    let authority = Authority::new();
    let answer =
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
        Transfer-Encoding: chunked\r\nX-Kept: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let backend = Backend::with("web1", Arc::new(|_, _| Some(answer.to_vec())));
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        let mut client = Client::connect(balancer.https(), &authority, Http::One).await;
        let request = client
            .request("/")
            .header("connection", "x-secret, upgrade")
            .header("x-secret", "1")
            .header("upgrade", "websocket")
            .header("te", "trailers")
            .header("proxy-authorization", "Basic eA==");
        let response = client.send(request.body(Full::default()).unwrap()).await.unwrap();
        for name in ["x-inner", "keep-alive", "connection"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert_eq!(response.headers()["x-kept"], "1");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    });
    let seen = backend.last();
    for name in ["x-secret", "upgrade", "te", "proxy-authorization", "connection"] {
        assert!(seen.field(name).is_empty(), "{name}: {seen:?}");
    }
}

#[test]
fn large_bodies_stream_both_ways_with_either_version() {
    let authority = Authority::new();
    let backend = Backend::with("web1", Arc::new(|_, seen| Some(ok(&seen.body))));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let body: Bytes = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    block_on(async {
        for http in [Http::One, Http::Two] {
            let mut client = Client::connect(balancer.https(), &authority, http).await;
            for method in [Method::POST, Method::PUT] {
                let request = client.request("/").method(method).body(Full::new(body.clone())).unwrap();
                let response = client.send(request).await.unwrap();
                assert_eq!(response.status(), 200);
                assert!(response.into_body().collect().await.unwrap().to_bytes() == body, "{http:?}");
            }
        }
    });
}

#[test]
fn head_keeps_the_length_and_has_no_body() {
    let authority = Authority::new();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let backend = Backend::with("web1", Arc::new(|_, _| Some(head.to_vec())));
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        for http in [Http::One, Http::Two] {
            let mut client = Client::connect(balancer.https(), &authority, http).await;
            for _ in 0..3 {
                let request = client.request("/").method(Method::HEAD).body(Full::default()).unwrap();
                let response = client.send(request).await.unwrap();
                assert_eq!(response.headers()["content-length"], "1000", "{http:?}");
                assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
            }
        }
    });
    let opened = balancer.snapshot().backends[0].connections_opened;
    assert!(opened <= 2, "a core opens one connection and uses it again: {opened}");
}

#[expect(clippy::unwrap_used, reason = "a test's helper fails as the test does")]
/// Sends raw bytes over TLS and reads to the end.
async fn raw(balancer: &Running, authority: &Authority, request: &str) -> String {
    let tls = tls(authority, Http::One, rustls::DEFAULT_VERSIONS);
    let mut stream = connect_tls(balancer.https(), &tls, HOST).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open after {request:.80?}");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_ambiguous_or_not_ours_is_refused_and_never_forwarded() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let cases = [
        ("GET / HTTP/1.1\r\nHost: other.example\r\n", "421"),
        ("GET http://other.example/ HTTP/1.1\r\nHost: www.foobar.com\r\n", "421"),
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: www.foobar.com\r\nHost: www.foobar.com\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: www.foobar.com, x\r\n", "400"),
        ("CONNECT www.foobar.com:443 HTTP/1.1\r\nHost: www.foobar.com\r\n", "501"),
        ("POST / HTTP/1.1\r\nHost: www.foobar.com\r\nTransfer-Encoding: gzip, chunked\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: www.foobar.com\r\nTransfer-Encoding: chunked, chunked\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: www.foobar.com\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"),
        ("POST / HTTP/1.0\r\nHost: www.foobar.com\r\nTransfer-Encoding: chunked\r\n", "400"),
    ];
    block_on(async {
        for (head, status) in cases {
            let answer = raw(&balancer, &authority, &format!("{head}Connection: close\r\n\r\n")).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}"))
                    || answer.starts_with(&format!("HTTP/1.0 {status}")),
                "{head:?}: {answer}"
            );
        }
        let many = "X-A: 1\r\n".repeat(101);
        let answer =
            raw(&balancer, &authority, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{many}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let long = "a".repeat(40_000);
        let answer =
            raw(&balancer, &authority, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-A: {long}\r\n\r\n"))
                .await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    });
    assert_eq!(backend.requests(), 0);
}

/// A body of unknown length belongs to the request, whatever the method says of bodies.
#[test]
fn a_chunked_body_of_a_get_arrives() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n"
    );
    let answer = block_on(raw(&balancer, &authority, &request));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = backend.last();
    assert_eq!(seen.field("transfer-encoding"), ["chunked"]);
    assert!(String::from_utf8_lossy(&seen.body).contains("hello"), "{seen:?}");
}

/// Of two framings of a request one is taken, the connection ends after it, and what may have been
/// smuggled behind it is never served.
#[test]
fn a_message_framed_twice_is_the_last_on_its_connection() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
    );
    let answer = block_on(raw(&balancer, &authority, &request));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(backend.requests() <= 1 && backend.last().path() == "/", "{:?}", backend.last());
}

/// A backend's length beside its chunks would cut the body at the client, and look whole.
#[test]
fn a_length_beside_chunks_does_not_cut_the_answer() {
    let authority = Authority::new();
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let backend = Backend::with("web1", Arc::new(|_, _| Some(answer.to_vec())));
    let balancer = Running::start(&config(&authority, &[&backend]));
    block_on(async {
        for http in [Http::One, Http::Two] {
            let mut client = Client::connect(balancer.https(), &authority, http).await;
            assert_eq!(client.get("/").await.unwrap(), (200, "hello".to_owned()), "{http:?}");
        }
    });
}

/// Gateways take `_` for `-`: what looks like a field of ours must not come from a client.
#[test]
fn names_with_underscores_do_not_reach_the_backend() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let request =
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX_Forwarded_For: 10.0.0.1\r\nConnection: close\r\n\r\n");
    assert!(block_on(raw(&balancer, &authority, &request)).starts_with("HTTP/1.1 200"));
    let seen = backend.last();
    assert!(seen.fields.iter().all(|(name, _)| !name.contains('_')), "{seen:?}");
    assert_eq!(seen.field("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn an_old_client_gets_an_answer_it_understands() {
    let authority = Authority::new();
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let backend = Backend::with("web1", Arc::new(|_, _| Some(answer.to_vec())));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let answer = block_on(raw(&balancer, &authority, "GET / HTTP/1.0\r\nHost: WWW.foobar.com.\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("chunked"), "{answer}");
}

#[test]
fn a_connection_is_not_used_for_a_host_that_its_certificate_does_not_cover() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let mut config = config(&authority, &[&backend]);
    config.sites[0].hosts.extend(["a.wild.example".to_owned(), "b.wild.example".to_owned()]);
    config.certificates.push(authority.issue(&["*.wild.example"]));
    let balancer = Running::start(&config);
    block_on(async {
        let tls = tls(&authority, Http::One, rustls::DEFAULT_VERSIONS);
        for (asked, host, status) in [
            (HOST, HOST, 200),
            (HOST, "a.wild.example", 421),
            ("a.wild.example", "b.wild.example", 200),
            ("a.wild.example", HOST, 421),
        ] {
            let stream = connect_tls(balancer.https(), &tls, asked).await.unwrap();
            let mut client = Client::over(stream, Http::One).await;
            let request = Request::builder().uri("/").header("host", host).body(Full::default()).unwrap();
            assert_eq!(client.send(request).await.unwrap().status(), status, "{asked} {host}");
        }
    });
}

#[test]
fn clear_text_is_redirected_to_our_own_hosts_only() {
    let (authority, backend) = (Authority::new(), Backend::start("web1"));
    let balancer = Running::start(&config(&authority, &[&backend]));
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(balancer.http()).await.unwrap();
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    block_on(async {
        let answer = ask("POST /a?b=c HTTP/1.1\r\nHost: WWW.FOOBAR.COM:80\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        let location = format!("location: https://{HOST}:{}/a?b=c\r\n", balancer.https().port());
        assert!(answer.contains(&location), "{answer}");
        let answer = ask("GET // HTTP/1.1\r\nHost: evil.example\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 421") && !answer.contains("location"), "{answer}");
    });
    assert_eq!(backend.requests(), 0);
    assert_eq!(balancer.answered("none", 308), 1);
}
