//! A client and a host with one link between them, and an agent that lets port 80 pass.

mod cut;
mod last;
mod refuse;

use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use foobar_tests::bpffs::Bpffs;
use foobar_tests::{Agent, Host, Link, Metrics, agent};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// For an answer on an idle link, where most likely none comes.
const PATIENCE: Duration = Duration::from_millis(500);
/// A port that rules let pass and where nobody listens.
const UNUSED: u16 = 82;

/// Both ends of a connection give up soon.
const USER_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) const RULES: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
never_ban = ["@office", "192.0.2.99"]
[firewall.sets]
office = ["203.0.113.0/24", "2001:db8:99::/64"]
[[firewall.rules]]
name = "web"
action = "allow"
protocol = "tcp"
port = [80, 81, 82]
"#;

/// The client's addresses, and those of the host.
pub(crate) const CLIENT: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
pub(crate) const HOST: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

pub(crate) struct Site {
    pub(crate) client: Host,
    pub(crate) host: Host,
    pub(crate) folder: PathBuf,
    _bpffs: Bpffs,
}

impl Site {
    pub(crate) fn new() -> Self {
        let (client, host) = (Host::new("client").unwrap(), Host::new("host").unwrap());
        Link::between((&client, "eth0"), (&host, "eth0")).unwrap();
        for (end, addresses) in [(&client, CLIENT), (&host, HOST)] {
            end.address("eth0", &format!("{}/24", addresses[0])).unwrap();
            end.address("eth0", &format!("{}/64", addresses[1])).unwrap();
        }
        let folder = host.session().directory("bans").unwrap();
        let bpffs = Bpffs::mount(&folder.join("bpf")).unwrap();
        Self { client, host, folder, _bpffs: bpffs }
    }

    /// Starts an agent in the site's folder; what an earlier one left there is still there.
    pub(crate) fn start(&self, config: &str) -> Agent<'_> {
        Agent::start_in(&agent::binary().unwrap(), &self.host, &self.folder, None, config).unwrap()
    }

    /// A server that sends to whoever connects, without end; what comes out of it tells how each ended.
    pub(crate) fn serve(&self, port: u16) -> Receiver<ErrorKind> {
        let listener = self.host.enter(|| TcpListener::bind(("::", port))).unwrap().unwrap();
        let (ended, ends) = mpsc::channel();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                SockRef::from(&stream).set_tcp_user_timeout(Some(USER_TIMEOUT)).unwrap();
                let ended = ended.clone();
                thread::spawn(move || {
                    let block = [b'x'; 1 << 14];
                    let mut sent = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
                    while sent.is_ok() {
                        sent = stream.write_all(&block);
                    }
                    let _ = ended.send(sent.unwrap_err().kind());
                });
            }
        });
        ends
    }

    /// Whether the client gets an answer of the host.
    pub(crate) fn reaches(&self, family: usize) -> bool {
        self.reaches_from(CLIENT[family])
    }

    /// Whether an address of the client gets one: nobody listens at the port, and the host says so.
    pub(crate) fn reaches_from(&self, source: &str) -> bool {
        let source: IpAddr = source.parse().unwrap();
        let to = target(usize::from(source.is_ipv6()), UNUSED);
        let answer = self.client.enter(|| {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect_timeout(&to.into(), PATIENCE)
        });
        match answer.unwrap().unwrap_err().kind() {
            ErrorKind::ConnectionRefused => true,
            // A banned neighbour cannot even ask for a hardware address in IPv6.
            ErrorKind::TimedOut | ErrorKind::HostUnreachable => false,
            other => panic!("{source} to {to}: {other}"),
        }
    }
}

/// The host's address of a family, with a port.
pub(crate) fn target(family: usize, port: u16) -> SocketAddr {
    SocketAddr::new(HOST[family].parse().unwrap(), port)
}

/// A command that must go well; what it said.
pub(crate) fn ask(agent: &Agent<'_>, command: &[&str]) -> String {
    let output = agent.control(command).unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A command that must fail; its exit code and what it said.
pub(crate) fn refused(agent: &Agent<'_>, command: &[&str]) -> (Option<i32>, String) {
    let output = agent.control(command).unwrap();
    assert!(!output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Everybody who is banned.
pub(crate) fn list(agent: &Agent<'_>) -> Vec<Value> {
    serde_json::from_str(&ask(agent, &["ban", "list", "--json"])).unwrap()
}

/// Their addresses and prefixes.
pub(crate) fn banned(agent: &Agent<'_>) -> Vec<String> {
    list(agent).iter().map(|ban| ban["subject"].as_str().unwrap().to_owned()).collect()
}

/// Packets that bans have dropped.
pub(crate) fn dropped(metrics: &Metrics) -> u64 {
    metrics.count("foobar_firewall_drops_total", &[("reason", "ban")])
}

/// A connection from the client, without waiting long.
pub(crate) fn connect(site: &Site, to: SocketAddr) -> Option<TcpStream> {
    site.client.connect(to, PATIENCE).ok()
}
