//! A host that refuses all that it did not ask for, and a server that it asks.

mod replies;
mod survive;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use foobar_tests::bpffs::Bpffs;
use foobar_tests::{Agent, Host, Link, agent};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// As long as nothing is waited for that must not come.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Nothing that arrives is asked for by a rule.
pub(crate) const CLOSED: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
"#;

/// As above, with the flows off.
pub(crate) const WITHOUT: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
flows = false
"#;

/// A host and a server on one link.
pub(crate) struct Bench {
    pub(crate) host: Host,
    pub(crate) server: Host,
    folder: PathBuf,
    _bpffs: Bpffs,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (host, server) = (Host::new("host").unwrap(), Host::new("server").unwrap());
        Link::between((&host, "eth0"), (&server, "eth0")).unwrap();
        for (end, number) in [(&host, 1), (&server, 2)] {
            end.address("eth0", &format!("192.0.2.{number}/24")).unwrap();
            end.address("eth0", &format!("2001:db8::{number}/64")).unwrap();
        }
        let folder = host.session().directory("flows").unwrap();
        Self { _bpffs: Bpffs::mount(&folder.join("bpf")).unwrap(), folder, host, server }
    }

    /// Starts an agent on the host; what an earlier one left is still there.
    pub(crate) fn start(&self, config: &str) -> Agent<'_> {
        Agent::start_in(&agent::binary().unwrap(), &self.host, &self.folder, None, config).unwrap()
    }

    pub(crate) fn pins(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("bpf/pins")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The server's addresses with a port.
pub(crate) fn server(port: u16) -> [SocketAddr; 2] {
    [format!("192.0.2.2:{port}"), format!("[2001:db8::2]:{port}")].map(|text| text.parse().unwrap())
}

/// The host's.
pub(crate) fn host(port: u16) -> [SocketAddr; 2] {
    [format!("192.0.2.1:{port}"), format!("[2001:db8::1]:{port}")].map(|text| text.parse().unwrap())
}

/// Listens on both families.
pub(crate) fn listen(host: &Host, port: u16) -> TcpListener {
    host.enter(|| TcpListener::bind(("::", port))).unwrap().unwrap()
}

/// Both ends of a connection, made by `from`.
pub(crate) fn connection(from: &Host, to: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let one = from.connect(to, LIMIT).unwrap();
    let (other, _) = listener.accept().unwrap();
    for end in [&one, &other] {
        end.set_read_timeout(Some(LIMIT)).unwrap();
    }
    (one, other)
}

/// Whether bytes get through both ways.
pub(crate) fn talks(one: &mut TcpStream, other: &mut TcpStream) -> bool {
    let says = |from: &mut TcpStream, to: &mut TcpStream| {
        let mut heard = [0; 4];
        from.write_all(b"ping").is_ok() && to.read_exact(&mut heard).is_ok() && heard == *b"ping"
    };
    says(one, other) && says(other, one)
}

/// A socket on a host.
pub(crate) fn udp(host: &Host, local: SocketAddr) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(local)).unwrap().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}
