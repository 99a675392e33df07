//! A backend: a raw HTTP/1.1 server, in clear text or in TLS, whose every byte the test decides.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    /// Names in lower case, in order.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn field(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// Decides what to answer; `None` cuts the connection.
pub type Answer = Arc<dyn Fn(&str, &Seen) -> Option<Vec<u8>> + Send + Sync>;

pub struct Backend {
    pub name: String,
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    name: String,
    answer: Answer,
    tls: Option<Arc<ServerConfig>>,
    stop: AtomicBool,
    requests: AtomicU64,
    last: Mutex<Option<Seen>>,
    connections: Mutex<HashMap<SocketAddr, TcpStream>>,
}

/// 200 with the backend's name.
pub fn name_answer() -> Answer {
    Arc::new(|name, _| Some(ok(name.as_bytes())))
}

pub fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

impl Backend {
    pub fn start(name: &str) -> Self {
        Self::with(name, name_answer())
    }

    /// Speaks TLS only.
    pub fn secured(name: &str, tls: ServerConfig) -> Self {
        Self::speaking(name, name_answer(), Some(Arc::new(tls)))
    }

    pub fn with(name: &str, answer: Answer) -> Self {
        Self::speaking(name, answer, None)
    }

    fn speaking(name: &str, answer: Answer, tls: Option<Arc<ServerConfig>>) -> Self {
        let (requests, last) = (AtomicU64::new(0), Mutex::new(None));
        let (stop, connections) = (AtomicBool::new(true), Mutex::default());
        let state = State { name: name.to_owned(), answer, tls, stop, requests, last, connections };
        let address = "127.0.0.1:0".parse().unwrap();
        let mut backend = Self { name: name.to_owned(), address, state: Arc::new(state), thread: None };
        backend.revive();
        backend
    }

    /// Listens again, on the port it had.
    pub fn revive(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&self.address.into()).unwrap();
        socket.listen(1024).unwrap();
        let listener = TcpListener::from(socket);
        self.address = listener.local_addr().unwrap();
        self.state.stop.store(false, SeqCst);
        let state = Arc::clone(&self.state);
        self.thread = Some(std::thread::spawn(move || accept(&listener, &state)));
    }

    /// Resets every connection and refuses new ones, as a killed process does.
    pub fn kill(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.state.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        thread.join().unwrap();
        for (_, stream) in self.state.connections.lock().unwrap().drain() {
            let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn requests(&self) -> u64 {
        self.state.requests.load(SeqCst)
    }

    pub fn last(&self) -> Seen {
        self.state.last.lock().unwrap().clone().expect("no request has come")
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((stream, peer)) = listener.accept() {
        if state.stop.load(SeqCst) {
            return;
        }
        stream.set_nodelay(true).unwrap();
        state.connections.lock().unwrap().insert(peer, stream.try_clone().unwrap());
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let _ = match &state.tls {
                None => serve(&stream, &state),
                Some(tls) => {
                    let session = ServerConnection::new(Arc::clone(tls)).unwrap();
                    serve(StreamOwned::new(session, &stream), &state)
                }
            };
            let _ = stream.shutdown(Shutdown::Both);
            state.connections.lock().unwrap().remove(&peer);
        });
    }
}

fn serve(stream: impl Read + Write, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader)? {
        state.requests.fetch_add(1, SeqCst);
        *state.last.lock().unwrap() = Some(seen.clone());
        let Some(answer) = (state.answer)(&state.name, &seen) else { return Ok(()) };
        reader.get_mut().write_all(&answer)?;
        if !is_complete(&answer, seen.line.starts_with("HEAD")) {
            return Ok(());
        }
    }
    Ok(())
}

/// An answer shorter than it says, so that the connection must be cut after it.
fn is_complete(answer: &[u8], head: bool) -> bool {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let fields = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        Some(length) => head || answer.len() - end == length,
        None => !fields.contains("chunked") || answer.ends_with(b"0\r\n\r\n"),
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Seen>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let field = |line: &String| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let fields: Vec<_> = lines[1..].iter().map(field).collect();
    let mut seen = Seen { line: lines[0].clone(), fields, body: Vec::new() };
    if let Some(length) = seen.field("content-length").first() {
        seen.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut seen.body)?;
    } else if seen.field("transfer-encoding") == ["chunked"] {
        seen.body = read_chunks(reader)?;
    }
    Ok(Some(seen))
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..length]);
        if length == 0 {
            return Ok(body);
        }
    }
}
