//! A host with a listener, a client, and somebody who floods.

mod clients;
mod settings;
mod wire;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use foobar_tests::frame::{Frame, Packet, Transport};
use foobar_tests::wire::Wire;
use foobar_tests::{Agent, Host, Link, Metrics};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The port that rules allow.
pub(crate) const OPEN: u16 = 80;

/// Where a veth end has an XDP program of its own it also takes frames that the other end sends by
/// XDP; the client's agent judges nothing.
pub(crate) const ATTACHED: &str = "[firewall]\ninterfaces = [\"eth0\"]\ndefault = \"allow\"\n\
                                   syn_cookies = { mode = \"off\" }\n";

/// The host's rules, with these keys of `[firewall.syn_cookies]`.
pub(crate) fn rules(cookies: &str) -> String {
    format!(
        "[firewall]\ninterfaces = [\"eth0\"]\ndefault = \"drop\"\n[firewall.syn_cookies]\n{cookies}\n\
         [[firewall.rules]]\nname = \"web\"\naction = \"allow\"\nprotocol = \"tcp\"\nport = [80, 8080]\n"
    )
}

pub(crate) fn hosts() -> (Host, Host) {
    let (client, host) = (Host::new("client").unwrap(), Host::new("host").unwrap());
    Link::between((&client, "eth0"), (&host, "eth0")).unwrap();
    for (end, number) in [(&client, 1), (&host, 2)] {
        end.address("eth0", &format!("192.0.2.{number}/24")).unwrap();
        end.address("eth0", &format!("2001:db8::{number}/64")).unwrap();
    }
    // Where answers to the flood go: nobody there answers in turn.
    host.ip("route add 198.18.0.0/15 via 192.0.2.1").unwrap();
    host.ip("route add 2001:db8:f::/48 via 2001:db8::1").unwrap();
    (client, host)
}

/// The host's addresses.
pub(crate) fn targets(port: u16) -> [SocketAddr; 2] {
    [format!("192.0.2.2:{port}"), format!("[2001:db8::2]:{port}")].map(|text| text.parse().unwrap())
}

/// Listens on a port of both families, and sends back what comes.
pub(crate) fn listen(host: &Host, port: u16) {
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, port).into();
    let listener = host.enter(|| TcpListener::bind(any)).unwrap().unwrap();
    // They end with the test's process.
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(bytes @ 1..) = connection.read(&mut buffer) {
                    if connection.write_all(&buffer[..bytes]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Connects, and has `bytes` sent there and back.
pub(crate) fn exchange(client: &Host, to: SocketAddr, bytes: usize) -> TcpStream {
    let mut stream = client.connect(to, LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let sent: Vec<u8> = (0..=u8::MAX).cycle().step_by(7).take(bytes).collect();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&sent).unwrap());
        let mut received = vec![0; bytes];
        stream.read_exact(&mut received).unwrap();
        assert!(sent == received, "{to}");
    });
    stream
}

/// SYNs of spoofed sources to the open port, as fast as packet sockets make them, as long as a function runs.
pub(crate) fn flooded<T>(client: &Host, host: &Host, during: impl FnOnce() -> T) -> T {
    let stations = Frame::new(client.mac("eth0").unwrap(), host.mac("eth0").unwrap());
    let frames: Vec<Vec<u8>> = (0..8192u16).map(|n| stations.packet(&spoofed(n))).collect();
    let done = AtomicBool::new(false);
    let wire = Wire::open(client, "eth0").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for frame in frames.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                // A full queue of the link is as fast as it goes.
                let _ = wire.send(frame);
            }
        });
        // The flood ends also where the function fails.
        let result = panic::catch_unwind(AssertUnwindSafe(during));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|failure| panic::resume_unwind(failure))
    })
}

fn spoofed(n: u16) -> Packet {
    let transport = Transport::syn(1024 + n, OPEN);
    let [high, low] = n.to_be_bytes();
    let (from, to): (IpAddr, IpAddr) = if n.is_multiple_of(2) {
        (Ipv4Addr::new(198, 18, high, low).into(), "192.0.2.2".parse().unwrap())
    } else {
        (Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, n).into(), "2001:db8::2".parse().unwrap())
    };
    Packet::new(from, to, transport)
}

/// A setting below `/proc/sys/net/ipv4`.
pub(crate) fn setting(host: &Host, name: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/{name}");
    host.enter(|| std::fs::read_to_string(path)).unwrap().unwrap().trim().to_owned()
}

/// What cookies need: `tcp_syncookies` and `tcp_timestamps`.
pub(crate) fn settings(host: &Host) -> [String; 2] {
    ["tcp_syncookies", "tcp_timestamps"].map(|name| setting(host, name))
}

/// The stack's counters of a host: `TcpExt` of `/proc/net/netstat`.
pub(crate) fn netstat(host: &Host) -> HashMap<String, u64> {
    let text = host.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat")).unwrap().unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let values = values.split_whitespace().map(|value| value.parse().unwrap());
    names.split_whitespace().map(str::to_owned).zip(values).collect()
}

pub(crate) fn syns(metrics: &Metrics, outcome: &str) -> u64 {
    metrics.count("foobar_syn_cookies_syns_total", &[("outcome", outcome)])
}

pub(crate) fn is_armed(metrics: &Metrics) -> bool {
    metrics.count("foobar_syn_cookies_armed", &[]) == 1
}

pub(crate) fn until_armed(agent: &Agent<'_>, armed: bool) -> Metrics {
    let what = format!("cookies are armed: {armed}");
    agent.metrics_until(&what, LIMIT, |metrics| is_armed(metrics) == armed).unwrap()
}
