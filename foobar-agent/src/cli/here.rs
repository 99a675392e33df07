//! What `check` looks at on this host, so that it can warn of what would hurt here: the names
//! and addresses of interfaces, and the SSH session in which it was typed.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::config::{Here, LocalInterface, SshSession};
use crate::net;

/// What sshd leaves in the environment: client's address and port, server's address and port.
const SSH_CONNECTION: &str = "SSH_CONNECTION";
/// Processes above this one that are asked; a chain of shells is shorter.
const MAX_PARENTS: usize = 64;

/// The host as it is now; what cannot be seen is left out.
pub(super) fn look() -> Here {
    Here { interfaces: interfaces(), session: session() }
}

fn interfaces() -> Option<Vec<LocalInterface>> {
    let mut by_name: BTreeMap<String, LocalInterface> = BTreeMap::new();
    for entry in getifaddrs().ok()? {
        // An IPv4 address may have a label of its own: `eth0:1` is an address of eth0.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        let loopback = entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let interface = by_name.entry(name.clone()).or_insert_with(|| LocalInterface {
            name,
            loopback,
            addresses: Vec::new(),
        });
        interface.addresses.extend(net::address_of(&entry));
    }
    Some(by_name.into_values().collect())
}

/// From this process's environment, or else its parents': `sudo` removes the variable from its
/// child's, while the shell above still has it. Other users' environments only root can read.
pub(super) fn session() -> Option<SshSession> {
    if let Ok(value) = std::env::var(SSH_CONNECTION) {
        return parse(&value);
    }
    let mut process = std::os::unix::process::parent_id();
    for _ in 0..MAX_PARENTS {
        if let Some(session) = session_of(&fs::read(format!("/proc/{process}/environ")).unwrap_or_default()) {
            return Some(session);
        }
        process = parent(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)?;
    }
    None
}

/// From an environment as /proc shows it: `NAME=value`, each ended by a zero byte.
fn session_of(environment: &[u8]) -> Option<SshSession> {
    environment.split(|&byte| byte == 0).find_map(|variable| {
        let variable = std::str::from_utf8(variable).ok()?;
        parse(variable.strip_prefix(SSH_CONNECTION)?.strip_prefix('=')?)
    })
}

/// The parent's number in /proc/PID/status; none above the first process.
fn parent(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|&process| process != 0)
}

fn parse(value: &str) -> Option<SshSession> {
    let mut words = value.split(' ');
    let mut end = || {
        // A link-local address has its interface behind it, which the rules do not ask for.
        let address = words.next()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address, words.next()?.parse().ok()?))
    };
    let (client, server) = (end()?, end()?);
    (client.is_ipv4() == server.is_ipv4()).then_some(SshSession { client, server })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_in_an_environment() {
        let environment = b"PATH=/bin\0XSSH_CONNECTION=x\0SSH_CONNECTION=203.0.113.9 51234 192.0.2.1 22\0A=";
        let session = session_of(environment).unwrap();
        assert_eq!(session.client, "203.0.113.9:51234".parse().unwrap());
        assert_eq!(session.server, "192.0.2.1:22".parse().unwrap());
        let link_local = parse("fe80::1%eth0 51234 fe80::2%eth0 22").unwrap();
        assert_eq!(link_local.server, "[fe80::2]:22".parse().unwrap());
        for damaged in ["", "UNKNOWN 65535 UNKNOWN 65535", "192.0.2.1 1 ::1 22", "192.0.2.1 1 192.0.2.2"] {
            assert_eq!(parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn the_first_process_has_no_parent() {
        assert_eq!(parent("Name:\tx\nPid:\t7\nPPid:\t3\n"), Some(3));
        assert_eq!(parent("Name:\tinit\nPid:\t1\nPPid:\t0\n"), None);
    }

    #[test]
    fn loopback_is_an_interface_with_its_address() {
        let interfaces = interfaces().unwrap();
        let lo = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.loopback && lo.addresses.contains(&"127.0.0.1".parse().unwrap()), "{lo:?}");
    }
}
