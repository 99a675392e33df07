//! The endpoint over real sockets: what strangers may ask, and what they may not hold up.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::monitor::Source;
use crate::monitor::endpoint::Limits;
use crate::monitor::endpoint::{answer, serve};
use crate::monitor::fixture::scenario;
use crate::monitor::server::{LIMITS, Server};
use crate::monitor::snapshot::Snapshot;

/// An agent whose counters can be read, or not.
struct Fake {
    readable: bool,
}

impl Source for Fake {
    async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        if self.readable { Ok(scenario()) } else { Err(anyhow::anyhow!("the map is gone")) }
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

fn server() -> Server<Fake> {
    Server::new(Rc::new(Fake { readable: true }), Registry::new()).unwrap()
}

fn listen(server: &Server<Fake>, address: &str) -> SocketAddr {
    server.commit(server.prepare(&[address.parse().unwrap()]).unwrap());
    server.addresses()[0]
}

/// Sends the text and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let response = exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn metrics_are_served_with_their_version() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let address = listen(&server, ANY_PORT);
            let (status, head, body) = ask(address, "GET", "/metrics").await;
            assert_eq!(status, 200);
            assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
            assert!(body.contains("foobar_build_info{version=\"0.1.0\""), "{body}");
        })
        .await;
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let address = listen(&server, ANY_PORT);
            let (_, _, body) = ask(address, "GET", "/metrics").await;
            let (status, head, nothing) = ask(address, "HEAD", "/metrics").await;
            assert_eq!((status, nothing.as_str()), (200, ""));
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        })
        .await;
}

#[tokio::test]
async fn only_what_is_there_can_be_read_and_only_read() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let address = listen(&server, ANY_PORT);
            assert_eq!(ask(address, "GET", "/healthz").await.2, "ok\n");
            assert!(ask(address, "GET", "/").await.2.contains("href=\"/metrics\""));
            assert_eq!(ask(address, "GET", "/metrics/").await.0, 404);
            assert_eq!(ask(address, "POST", "/nowhere").await.0, 404);
            let (status, head, _) = ask(address, "POST", "/metrics").await;
            assert_eq!(status, 405);
            assert!(head.contains("allow: get, head"), "{head}");
        })
        .await;
}

#[tokio::test]
async fn unreadable_counters_are_an_error_and_not_zeros() {
    LocalSet::new()
        .run_until(async {
            let server = Server::new(Rc::new(Fake { readable: false }), Registry::new()).unwrap();
            let address = listen(&server, ANY_PORT);
            let (status, _, body) = ask(address, "GET", "/metrics").await;
            assert_eq!(status, 500);
            assert!(!body.contains("foobar_"), "{body}");
            assert_eq!(ask(address, "GET", "/healthz").await.0, 200);
        })
        .await;
}

/// The clock is paused: it jumps to the next deadline as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_ends_its_request_is_cut() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let address = listen(&server, ANY_PORT);
            let start = tokio::time::Instant::now();
            for beginning in ["", "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
                assert_eq!(exchange(address, beginning).await, "");
            }
            assert!(start.elapsed().as_secs() <= 11, "cut after {:?}", start.elapsed());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_not_waited_for() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let address = listen(&server, ANY_PORT);
            let request = "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
            assert!(exchange(address, request).await.starts_with("HTTP/1.1 405 "));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut() {
    /// More than the kernel's buffers on both sides take.
    const BODY_BYTES: usize = 64 << 20;
    LocalSet::new()
        .run_until(async {
            let listener = TcpListener::bind(ANY_PORT).await.unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let limits = Limits { connections: 1, ..LIMITS };
            let (stop, stopped) = oneshot::channel();
            let handler = async |_| answer(StatusCode::OK, "text/plain", vec![b'x'; BODY_BYTES]);
            let serving = tokio::task::spawn_local(serve(Rc::new(listener), limits, stopped, handler));
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            stream.readable().await.unwrap();
            drop(stop);
            let start = tokio::time::Instant::now();
            // Ends only when the connection has: at its deadline, since nobody reads.
            serving.await.unwrap();
            assert!(start.elapsed() <= LIMITS.connection, "cut after {:?}", start.elapsed());
            let mut response = Vec::new();
            let end = stream.read_to_end(&mut response).await;
            assert!(response.len() < BODY_BYTES, "{end:?}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_hoards_connections_loses_the_oldest() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let address = listen(&server, ANY_PORT);
            let start = tokio::time::Instant::now();
            let mut hoard = Vec::new();
            for _ in 0..LIMITS.connections {
                hoard.push(TcpStream::connect(address).await.unwrap());
            }
            assert_eq!(ask(address, "GET", "/healthz").await.0, 200);
            let mut byte = [0];
            let end = hoard[0].read(&mut byte).await;
            assert!(matches!(end, Ok(0) | Err(_)), "the oldest connection still lives");
            assert!(start.elapsed() < LIMITS.head, "it ended by itself");
        })
        .await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_remedy_and_nothing_changes() {
    LocalSet::new()
        .run_until(async {
            let taken = std::net::TcpListener::bind(ANY_PORT).unwrap().local_addr();
            let holder = std::net::TcpListener::bind(taken.unwrap()).unwrap();
            let taken = holder.local_addr().unwrap();
            let server = server();
            let held = listen(&server, ANY_PORT);
            let error = server.prepare(&[ANY_PORT.parse().unwrap(), taken]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&taken.to_string()) && text.contains("ss -ltnp"), "{text}");
            assert_eq!(server.addresses(), [held]);
            assert_eq!(ask(held, "GET", "/healthz").await.0, 200);
        })
        .await;
}

#[tokio::test]
async fn a_reload_moves_the_listeners() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let old = listen(&server, ANY_PORT);
            let prepared = server.prepare(&["[::1]:0".parse().unwrap()]).unwrap();
            assert_eq!(ask(old, "GET", "/healthz").await.0, 200, "prepared only");
            server.commit(prepared);
            let new = server.addresses()[0];
            assert_eq!(ask(new, "GET", "/healthz").await.0, 200);
            // The old listener ends in a task of its own.
            let closed = async {
                while let Ok(stream) = TcpStream::connect(old).await {
                    drop(stream);
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the old listener ends");
        })
        .await;
}

#[tokio::test]
async fn a_listener_can_become_wider_and_narrower_on_its_port() {
    LocalSet::new()
        .run_until(async {
            let server = server();
            let free = std::net::TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
            let narrow = listen(&server, &free.to_string());
            let wide = SocketAddr::from(([0, 0, 0, 0], narrow.port()));
            server.commit(server.prepare(&[wide]).unwrap());
            assert_eq!(server.addresses(), [wide]);
            // So that the task of the old listener closes it: what it had not accepted would be reset.
            tokio::task::yield_now().await;
            assert_eq!(ask(narrow, "GET", "/healthz").await.0, 200);
            assert!(std::net::TcpListener::bind(narrow).is_err(), "the port is shared with a stranger");
            server.commit(server.prepare(&[narrow]).unwrap());
            assert_eq!(server.addresses(), [narrow]);
            tokio::task::yield_now().await;
            assert_eq!(ask(narrow, "GET", "/healthz").await.0, 200);
        })
        .await;
}
