//! Built-in names of ports, so that a configuration means the same on every host: those of
//! IANA's "Service Name and Transport Protocol Port Number Registry" that people type, with
//! the aliases that `/etc/services` usually has. Knows no files.

/// Transport protocols that a name is assigned for, as their names in `/etc/services`.
type Of = &'static [&'static str];

const TCP: Of = &["tcp"];
const UDP: Of = &["udp"];
const BOTH: Of = &["tcp", "udp"];
const SCTP_TOO: Of = &["tcp", "udp", "sctp"];

/// Name, port, protocols. Of several names for a port, the registered one is first.
const SERVICES: &[(&str, u16, Of)] = &[
    ("echo", 7, BOTH),
    ("discard", 9, BOTH),
    ("systat", 11, BOTH),
    ("daytime", 13, BOTH),
    ("qotd", 17, BOTH),
    ("chargen", 19, BOTH),
    ("ftp-data", 20, SCTP_TOO),
    ("ftp", 21, SCTP_TOO),
    ("ssh", 22, SCTP_TOO),
    ("telnet", 23, BOTH),
    ("smtp", 25, BOTH),
    ("mail", 25, BOTH),
    ("time", 37, BOTH),
    ("nicname", 43, BOTH),
    ("whois", 43, BOTH),
    ("tacacs", 49, BOTH),
    ("domain", 53, BOTH),
    ("bootps", 67, BOTH),
    ("bootpc", 68, BOTH),
    ("tftp", 69, BOTH),
    ("gopher", 70, BOTH),
    ("finger", 79, BOTH),
    ("http", 80, SCTP_TOO),
    ("www", 80, SCTP_TOO),
    ("kerberos", 88, BOTH),
    ("pop3", 110, BOTH),
    ("sunrpc", 111, BOTH),
    ("portmapper", 111, BOTH),
    ("rpcbind", 111, BOTH),
    ("ident", 113, TCP),
    ("auth", 113, BOTH),
    ("nntp", 119, BOTH),
    ("ntp", 123, BOTH),
    ("epmap", 135, BOTH),
    ("netbios-ns", 137, BOTH),
    ("netbios-dgm", 138, BOTH),
    ("netbios-ssn", 139, BOTH),
    ("imap", 143, BOTH),
    ("imap2", 143, BOTH),
    ("snmp", 161, BOTH),
    ("snmptrap", 162, BOTH),
    ("bgp", 179, SCTP_TOO),
    ("irc", 194, BOTH),
    ("ptp-event", 319, BOTH),
    ("ptp-general", 320, BOTH),
    ("rpki-rtr", 323, TCP),
    ("rpki-rtr-tls", 324, TCP),
    ("ldap", 389, BOTH),
    ("https", 443, SCTP_TOO),
    ("microsoft-ds", 445, BOTH),
    ("kpasswd", 464, BOTH),
    ("submissions", 465, TCP),
    ("isakmp", 500, BOTH),
    ("exec", 512, TCP),
    ("biff", 512, UDP),
    ("login", 513, TCP),
    ("who", 513, UDP),
    ("shell", 514, TCP),
    // Registered for UDP alone; servers listen on both.
    ("syslog", 514, BOTH),
    ("printer", 515, BOTH),
    ("talk", 517, BOTH),
    ("ntalk", 518, BOTH),
    ("router", 520, UDP),
    ("route", 520, UDP),
    ("ripng", 521, BOTH),
    ("dhcpv6-client", 546, BOTH),
    ("dhcpv6-server", 547, BOTH),
    ("rtsp", 554, BOTH),
    ("nntps", 563, BOTH),
    ("submission", 587, BOTH),
    ("ipp", 631, BOTH),
    ("ldaps", 636, BOTH),
    ("ldp", 646, BOTH),
    ("kerberos-adm", 749, BOTH),
    ("netconf-ssh", 830, BOTH),
    ("domain-s", 853, BOTH),
    ("iscsi", 860, BOTH),
    ("rsync", 873, BOTH),
    ("ftps-data", 989, BOTH),
    ("ftps", 990, BOTH),
    ("telnets", 992, BOTH),
    ("imaps", 993, TCP),
    ("pop3s", 995, BOTH),
    ("socks", 1080, BOTH),
    ("openvpn", 1194, BOTH),
    ("ms-sql-s", 1433, BOTH),
    ("ms-sql-m", 1434, BOTH),
    ("ncube-lm", 1521, BOTH),
    ("l2tp", 1701, BOTH),
    ("h323hostcall", 1720, SCTP_TOO),
    ("pptp", 1723, BOTH),
    ("radius", 1812, BOTH),
    ("radius-acct", 1813, BOTH),
    ("mqtt", 1883, BOTH),
    ("ssdp", 1900, BOTH),
    ("nfs", 2049, SCTP_TOO),
    ("gtp-control", 2123, BOTH),
    ("gtp-user", 2152, BOTH),
    ("docker", 2375, TCP),
    ("docker-s", 2376, TCP),
    ("etcd-client", 2379, TCP),
    ("etcd-server", 2380, TCP),
    ("cvspserver", 2401, BOTH),
    ("iscsi-target", 3260, BOTH),
    ("mysql", 3306, BOTH),
    ("ms-wbt-server", 3389, BOTH),
    ("stun", 3478, BOTH),
    ("turn", 3478, BOTH),
    ("nut", 3493, BOTH),
    ("svn", 3690, BOTH),
    ("bfd-control", 3784, BOTH),
    ("bfd-echo", 3785, BOTH),
    ("sieve", 4190, TCP),
    ("epmd", 4369, BOTH),
    ("ntske", 4460, TCP),
    ("ipsec-nat-t", 4500, BOTH),
    ("vxlan", 4789, UDP),
    ("munin", 4949, BOTH),
    ("sip", 5060, SCTP_TOO),
    ("sips", 5061, SCTP_TOO),
    ("xmpp-client", 5222, TCP),
    ("xmpp-server", 5269, TCP),
    ("stuns", 5349, BOTH),
    ("turns", 5349, BOTH),
    ("mdns", 5353, BOTH),
    ("llmnr", 5355, BOTH),
    ("postgresql", 5432, BOTH),
    ("amqps", 5671, BOTH),
    ("amqp", 5672, SCTP_TOO),
    ("coap", 5683, BOTH),
    ("coaps", 5684, BOTH),
    ("rfb", 5900, BOTH),
    ("geneve", 6081, UDP),
    ("redis", 6379, TCP),
    ("syslog-tls", 6514, BOTH),
    ("ircs-u", 6697, TCP),
    ("http-alt", 8080, BOTH),
    ("puppet", 8140, TCP),
    ("pcsync-https", 8443, BOTH),
    ("secure-mqtt", 8883, BOTH),
    ("bacula-dir", 9101, BOTH),
    ("bacula-fd", 9102, BOTH),
    ("bacula-sd", 9103, BOTH),
    ("git", 9418, BOTH),
    ("zabbix-agent", 10050, BOTH),
    ("zabbix-trapper", 10051, BOTH),
    ("memcache", 11211, BOTH),
    ("mongodb", 27017, BOTH),
    ("mysqlx", 33060, TCP),
];

/// What people say, and the name that is registered. Only for hints: nowhere a name of a port.
const SPOKEN: &[(&str, &str)] = &[
    ("dns", "domain"),
    ("dot", "domain-s"),
    ("dhcp", "bootps"),
    ("dhcpv6", "dhcpv6-server"),
    ("rdp", "ms-wbt-server"),
    ("vnc", "rfb"),
    ("smb", "microsoft-ds"),
    ("cifs", "microsoft-ds"),
    ("mssql", "ms-sql-s"),
    ("oracle", "ncube-lm"),
    ("postgres", "postgresql"),
    ("mongo", "mongodb"),
    ("memcached", "memcache"),
    ("smtps", "submissions"),
    ("ike", "isakmp"),
    ("rip", "router"),
];

/// The port of a name that is built in, for a transport protocol by its name.
pub(super) fn port(name: &str, protocol: &str) -> Option<u16> {
    let of_name = SERVICES.iter().filter(|(known, ..)| *known == name);
    of_name.filter(|(.., of)| of.contains(&protocol)).map(|&(_, port, _)| port).next()
}

/// The registered name of what people call otherwise.
pub(super) fn registered(spoken: &str) -> Option<&'static str> {
    SPOKEN.iter().find(|(known, _)| *known == spoken).map(|&(_, name)| name)
}

/// Every built-in name.
pub(super) fn names<'n>() -> impl Iterator<Item = &'n str> {
    SERVICES.iter().map(|&(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_there_once_in_the_order_of_ports_and_could_be_no_number() {
        let mut seen = BTreeSet::new();
        for pair in SERVICES.windows(2) {
            assert!(pair[0].1 <= pair[1].1, "{pair:?}");
        }
        for &(name, ..) in SERVICES {
            assert!(seen.insert(name), "{name} twice");
            // RFC 6335, section 5.1.
            assert!(name.len() <= 15 && name.bytes().any(|byte| byte.is_ascii_lowercase()), "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
        }
        for (spoken, name) in SPOKEN {
            assert!(seen.contains(name) && !seen.contains(spoken), "{spoken}");
        }
    }
}
