//! The configuration files of the three agents. Checks change them by their parts.

use super::authority::Authority;
use super::plan::{self, BACK, FRONT, METRICS_PORT, Net, SERVERS, SITE, SSH_PORT, Server, WEB_PORT};

/// The balancer host's configuration, and what a check may want different.
#[derive(Clone, Debug, Default)]
pub(crate) struct LbSettings {
    /// Address of each backend: 0 IPv4, 1 IPv6.
    pub(crate) families: [usize; 2],
    /// Whether the second server waits for the first to fail.
    pub(crate) backup: bool,
    /// Further rules, before all others.
    pub(crate) rules: String,
}

impl LbSettings {
    /// The file's text, without `[host]`.
    pub(crate) fn text(&self, authority: &Authority) -> String {
        let servers = list(SERVERS.iter().flat_map(|server| Net::Back.addresses(server.station)));
        let backends: Vec<String> = SERVERS
            .iter()
            .zip(self.families)
            .map(|(server, family)| {
                let address = server.sockets(WEB_PORT)[family];
                let backup = if self.backup && *server == SERVERS[1] { "backup = true\n" } else { "" };
                format!(
                    "\n[[balancer.pools.backends]]\nname = \"{}\"\naddress = \"{address}\"\n{backup}",
                    server.name
                )
            })
            .collect();
        format!(
            r#"# The balancer's host: the outside reaches 80 and 443, nothing else.
[firewall]
interfaces = ["{FRONT}", "{BACK}"]
default = "drop"

[firewall.sets]
servers = [{servers}]
{rules}
[[firewall.rules]]
name = "web"
action = "allow"
protocol = "tcp"
port = [80, 443]
interface = "{FRONT}"

# Temporary: until flows are tracked, the servers' answers pass by this stateless rule.
[[firewall.rules]]
name = "temporary-replies"
action = "allow"
from = ["@servers"]
protocol = "tcp"
from_port = {WEB_PORT}
tcp_flags = "ack/ack"
interface = "{BACK}"

[balancer]
http = ["0.0.0.0:80", "[::]:80"]
https = ["0.0.0.0:443", "[::]:443"]

[[balancer.certificates]]
cert = "{certificate}"
key = "{key}"

[[balancer.sites]]
hosts = ["{SITE}", "foobar.com"]
pool = "web"

[[balancer.pools]]
name = "web"
algorithm = "round-robin"
{backends}"#,
            backends = backends.concat(),
            rules = self.rules,
            certificate = authority.certificate.display(),
            key = authority.key.display(),
        )
    }
}

/// A server host's configuration, without `[host]`. Its agent serves metrics on the network too, so
/// that it is the firewall that keeps the outside from them and not the lack of a listener.
pub(crate) fn server(server: Server) -> String {
    let balancer = list(Net::Back.addresses(plan::LB));
    let [v4, v6] = server.sockets(METRICS_PORT);
    format!(
        r#"# A server's host: the balancer reaches the web port, nobody reaches anything else.
[firewall]
interfaces = ["{BACK}"]
default = "drop"

[firewall.sets]
balancer = [{balancer}]

[[firewall.rules]]
name = "balancer"
action = "allow"
from = ["@balancer"]
protocol = "tcp"
port = {WEB_PORT}

# What the policy would drop as well, in a counter of its own.
[[firewall.rules]]
name = "{SSH_RULE}"
action = "drop"
protocol = "tcp"
port = {SSH_PORT}

[monitor]
listen = ["127.0.0.1:{METRICS_PORT}", "{v4}", "{v6}"]

[[monitor.service]]
name = "nginx"
port = {WEB_PORT}
protocol = "http"
"#
    )
}

/// The servers' rule that counts who knocks at the SSH port.
pub(crate) const SSH_RULE: &str = "ssh";

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.to_string())).collect::<Vec<_>>().join(", ")
}
