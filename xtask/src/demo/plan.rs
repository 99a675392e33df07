//! Names and addresses of the demo: who is where. Only addresses reserved for documentation (RFC 5737,
//! RFC 3849), so that no mistake can reach a real network.
//!
//! ```text
//!  client .100   dns .53   lb .10          front: 192.0.2.0/24, 2001:db8:1::/64
//!     │            │         │
//!  ───┴────────────┴────┬────┴───
//!                     router .1            routes between both networks, as a provider's does
//!  ───┬────────────┬────┴────┬───
//!     │            │         │
//!  web1 .11     web2 .12   lb .10          back: 198.51.100.0/24, 2001:db8:2::/64
//! ```
//!
//! The outside thus has a path to the servers that does not lead through the balancer: only the
//! servers' own firewalls keep it out.

use std::net::{IpAddr, SocketAddr};

/// The name that users type.
pub(crate) const SITE: &str = "www.foobar.com";
/// The balancer's own name, to which the site's name is an alias.
pub(crate) const BALANCER: &str = "lb1.foobar.com";
/// The interface of each host on the front network.
pub(crate) const FRONT: &str = "front0";
/// The interface of each host on the back network.
pub(crate) const BACK: &str = "back0";

/// The web port of the servers.
pub(crate) const WEB_PORT: u16 = 80;
/// Where somebody listens on each server as an SSH daemon would.
pub(crate) const SSH_PORT: u16 = 22;
/// Where each agent serves its metrics.
pub(crate) const METRICS_PORT: u16 = 9977;

/// Source ports of packets that are made by hand begin here, below those that the kernel gives out.
pub(crate) const FIRST_PORT: u16 = 20_000;

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// Where the outside is.
    Front,
    /// Where the servers are.
    Back,
}

impl Net {
    /// The address of the station with this number, in each family.
    pub(crate) fn addresses(self, station: u8) -> [IpAddr; 2] {
        let (v4, v6) = match self {
            Self::Front => ([192, 0, 2, station], 1),
            Self::Back => ([198, 51, 100, station], 2),
        };
        // Stations are numbered alike in both families as people write them: .11 and ::11.
        let digits = u16::from(station) + 6 * u16::from(station / 10) + 96 * u16::from(station / 100);
        [IpAddr::from(v4), IpAddr::from([0x2001, 0xdb8, v6, 0, 0, 0, 0, digits])]
    }

    /// The same with prefix lengths, as `ip address` takes them.
    pub(crate) fn prefixes(self, station: u8) -> [String; 2] {
        let [v4, v6] = self.addresses(station);
        [format!("{v4}/24"), format!("{v6}/64")]
    }
}

/// Number of the router on both networks.
pub(crate) const ROUTER: u8 = 1;
/// Number of the balancer's host on both networks.
pub(crate) const LB: u8 = 10;
/// Number of the name server.
pub(crate) const DNS: u8 = 53;
/// Number of the client.
pub(crate) const CLIENT: u8 = 100;

/// A server host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// The host's name, which is also its backend's.
    pub(crate) name: &'static str,
    /// Its number on the back network.
    pub(crate) station: u8,
}

/// Both servers.
pub(crate) const SERVERS: [Server; 2] =
    [Server { name: "web1", station: 11 }, Server { name: "web2", station: 12 }];

impl Server {
    /// Its addresses with a port, IPv4 first.
    pub(crate) fn sockets(self, port: u16) -> [SocketAddr; 2] {
        Net::Back.addresses(self.station).map(|address| SocketAddr::new(address, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_read_alike_in_both_families() {
        for (station, v6) in [(1, "::1"), (10, "::10"), (53, "::53"), (100, "::100"), (254, "::254")] {
            let [v4, found] = Net::Front.addresses(station);
            assert_eq!(v4.to_string(), format!("192.0.2.{station}"));
            assert_eq!(found, format!("2001:db8:1{v6}").parse::<IpAddr>().unwrap());
        }
    }
}
