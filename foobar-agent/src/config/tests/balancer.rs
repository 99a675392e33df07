//! `[balancer]` and `[monitor]`: each error and warning.

use super::*;

/// A balancer with one certificate, site and pool; `keys` are line 3.
fn balancer(keys: &str, more: &str) -> String {
    format!(
        "[balancer]\nhttps = '0.0.0.0:443'\n{keys}\n\
         [[balancer.sites]]\nhosts = 'foobar.com'\npool = 'web'\n\
         [[balancer.pools]]\nname = 'web'\n\
         [[balancer.pools.backends]]\nname = 'web1'\naddress = '192.0.2.11:80'\n\
         {more}\n[[balancer.certificates]]\ncert = '/dev/null'\nkey = '/dev/null'\n"
    )
}

#[test]
fn listeners() {
    let listen = |addresses: &str| balancer(&format!("http = {addresses}"), "");
    check(&[
        (&balancer("", ""), &[]),
        (&listen("[]"), &["3:8 error: `http` is an empty list"]),
        (&listen("80"), &["3:8 error: `http` takes a string, not an integer"]),
        (&listen("'0.0.0.0'"), &["3:8 error: `0.0.0.0` is not an address with a port"]),
        (&listen("'*:80'"), &["3:8 error: `*:80` is not an address with a port"]),
        (&listen("'localhost:80'"), &["3:8 error: `localhost:80` is not an address with a port"]),
        (&listen("'::1:80'"), &["3:8 error: `::1:80` is not an address with a port"]),
        (&listen("'0.0.0.0:0'"), &["3:8 error: `0.0.0.0:0` has port 0"]),
        (&listen("'[fe80::1%3]:80'"), &["3:8 error: `[fe80::1%3]:80` has a zone id"]),
        (&listen("'[::ffff:192.0.2.1]:80'"), &["3:8 error: `[::ffff:192.0.2.1]:80` is an IPv4-mapped"]),
        (
            &listen("['0.0.0.0:443', '[::]:80', '[0::0]:80']"),
            &[
                "2:9 error: `0.0.0.0:443` is listened on already, by line 3",
                "3:35 error: `[::]:80` is listened on already, by line 3",
            ],
        ),
        (&balancer("workers = 0", ""), &["3:11 error: `workers` is out of range"]),
        (&balancer("workers = 'all'", ""), &["3:11 error: `workers` takes an integer from 1 to 1024"]),
        (&balancer("worker = 2", ""), &["3:1 error: unknown key `worker` in [balancer]"]),
    ]);
}

#[test]
fn what_listeners_need() {
    let site = "[[balancer.sites]]\nhosts = 'a.b'\npool = 'p'\n[[balancer.pools]]\nname = 'p'\n\
                [[balancer.pools.backends]]\nname = 'x'\naddress = '192.0.2.1:80'\n";
    let certificate = "[[balancer.certificates]]\ncert = '/dev/null'\nkey = '/dev/null'\n";
    check(&[
        (&format!("[balancer]\n{site}"), &["1:1 error: [balancer] listens nowhere"]),
        (&format!("[balancer]\nhttps = '[::]:443'\n{site}"), &["2:9 error: `https` needs a certificate"]),
        (
            &format!("[balancer]\nhttp = '[::]:80'\n{site}"),
            &["2:8 warning: `http` redirects to https, which nothing"],
        ),
        (
            &format!("[balancer]\nhttp = '[::]:80'\n{site}{certificate}"),
            &["1:1 warning: there are certificates, but no `https`"],
        ),
        (
            &format!("[balancer]\nhttps = '[::]:443'\n{certificate}"),
            &["1:1 warning: [balancer] has no site: it refuses every request"],
        ),
        (
            &format!("[balancer]\nhttps = '[::]:443'\n{site}[[balancer.certificates]]\ncert = 'gone.pem'\n"),
            &[
                "11:1 error: [[balancer.certificates]] lacks `key`",
                "12:8 warning: there is no file `/nonexistent/gone.pem`",
            ],
        ),
    ]);
}

#[test]
fn sites() {
    let site = |keys: &str| balancer("", &format!("[[balancer.sites]]\n{keys}"));
    let host = |host: &str| site(&format!("hosts = '{host}'\npool = 'web'"));
    check(&[
        (
            &site(""),
            &["12:1 error: [[balancer.sites]] lacks `hosts`", "12:1 error: [[balancer.sites]] lacks `pool`"],
        ),
        (&site("hosts = 'a.b'\npool = 'wbe'"), &["14:8 error: there is no pool `wbe`"]),
        (&site("hosts = []\npool = 'web'"), &["13:9 error: `hosts` is an empty list"]),
        (&host("FooBar.com"), &["13:9 error: `foobar.com` has a site already, on line 5"]),
        (
            &site("hosts = ['a.b', 'A.B']\npool = 'web'"),
            &["13:17 error: `a.b` has a site already, on line 13"],
        ),
        (&host("*.foobar.com"), &["13:9 error: `*.foobar.com` is a wildcard"]),
        (&host("https://a.b"), &["13:9 error: `https://a.b` is a URL"]),
        (&host("a.b:443"), &["13:9 error: `a.b:443` has a port"]),
        (&host("münchen.de"), &["13:9 error: `münchen.de` is not ASCII"]),
        (&host("a.b."), &["13:9 error: `a.b.` ends with a dot"]),
        (&host(""), &["13:9 error: `` is no host name"]),
        (&host("a..b"), &["13:9 error: `a..b` is no host name"]),
        (&host("-a.b"), &["13:9 error: `-a.b` is no host name"]),
        (&host("a b"), &["13:9 error: `a b` is no host name"]),
        (&host(&"a".repeat(64)), &["13:9 error: `aaa"]),
        (&host(&"a.".repeat(127).replace("a.a.", "aaa.")), &["13:9 error: `aaa."]),
    ]);
}

#[test]
fn tls_to_backends() {
    let tls = |keys: &str| balancer("", &format!("[balancer.pools.tls]\n{keys}"));
    check(&[
        (&tls(""), &[]),
        (&tls("ca = 'system'"), &[]),
        (&tls("ca = '/dev/null'\nserver_name = 'web.internal'"), &[]),
        (&tls("ca = 'gone.pem'"), &["13:6 warning: there is no file `/nonexistent/gone.pem`"]),
        (&tls("server_name = 'https://web'"), &["13:15 error: `https://web` is a URL"]),
        (&tls("cert = '/dev/null'"), &["13:8 error: `cert` needs its private key"]),
        (&tls("key = '/dev/null'"), &["13:7 error: `key` needs its certificate"]),
        (&tls("verify = false"), &["13:1 error: unknown key `verify` in [balancer.pools.tls]"]),
        (
            &balancer("", "server_name = 'web1.internal'"),
            &["12:15 error: `server_name` is for TLS, which the pool does not speak"],
        ),
    ]);
}

#[test]
fn pools() {
    let backend = "[[balancer.pools.backends]]\nname = 'b'\naddress = '192.0.2.12:80'\n";
    let pool = |keys: &str| balancer("", &format!("[[balancer.pools]]\n{keys}"));
    let second = |keys: &str| balancer("", &format!("[[balancer.pools.backends]]\n{keys}"));
    check(&[
        (&pool(backend), &["12:1 error: [[balancer.pools]] lacks `name`"]),
        (&pool(&format!("name = 'api'\n{backend}")), &["13:8 warning: no site uses the pool `api`"]),
        (
            &pool("name = 'web'"),
            &["12:1 error: the pool has no backend", "13:8 error: duplicate pool `web`, first on line 8"],
        ),
        (
            &pool(&format!("name = 'api'\nalgorithm = 'leastconn'\n{backend}")),
            &["14:13 error: `algorithm` knows no `leastconn`"],
        ),
        (
            &second("name = 'web1'\naddress = '192.0.2.12:80'"),
            &["13:8 error: duplicate backend `web1`, first on line 10"],
        ),
        (
            &second("name = 'b'\naddress = '192.0.2.11:80'"),
            &["14:11 warning: `192.0.2.11:80` is the backend `web1` too"],
        ),
        (
            &second("name = 'b'\naddress = 'web2:80'"),
            &["14:11 error: `web2:80` is not an address with a port"],
        ),
        (&second("name = 'b'\naddress = '[::]:80'"), &["14:11 error: nothing can be reached at `[::]:80`"]),
        (
            &second("name = 'b'\naddress = '192.0.2.12:80'\nbackup = 'true'"),
            &["15:10 error: `backup` takes true or false"],
        ),
        (&second("name = 'b'"), &["12:1 error: [[balancer.pools.backends]] lacks `address`"]),
        (&second("name = 'b'\naddress = '192.0.2.12:80'\nweight = 2"), &["15:1 error: unknown key `weight`"]),
        (&second("name = 'b'\naddress = '192.0.2.12:80'\nbackup = true"), &[]),
    ]);
    let backup = balancer("", "backup = true");
    check(&[(&backup, &["7:1 warning: every backend of the pool is a backup, so that none is"])]);
}

#[test]
fn monitor() {
    let service = |keys: &str| format!("[[monitor.service]]\nname = 'n'\n{keys}\n");
    check(&[
        ("[monitor]\nlisten = '127.0.0.1'\n", &["2:10 error: `127.0.0.1` is not an address with a port"]),
        ("[monitor]\nlisten = ['[::1]:1', '[::1]:1']\n", &["2:22 error: `[::1]:1` is listened on already"]),
        ("[monitor]\nport = 3\n", &["2:1 error: unknown key `port` in [monitor]"]),
        ("[monitor.service]\nname = 'a'\n", &["1:1 error: `service` is a list of tables"]),
        (
            &service(""),
            &[
                "1:1 error: [[monitor.service]] lacks `port`",
                "1:1 error: [[monitor.service]] lacks `protocol`",
            ],
        ),
        (&service("port = 0\nprotocol = 'http'"), &["3:8 error: `port` is out of range"]),
        (&service("port = 80\nprotocol = 'mysql'"), &["4:12 error: `mysql` is counted by a later version"]),
        (&service("port = 80\nprotocol = 'htpt'"), &["4:12 error: `protocol` knows no `htpt`"]),
        (
            &format!("{0}{0}", service("port = 80\nprotocol = 'http'")),
            &[
                "6:8 error: duplicate service `n`, first on line 2",
                "7:8 error: port 80 is a service already, on line 3",
            ],
        ),
        (
            &balancer("", "[monitor]\nlisten = '0.0.0.0:443'"),
            &["13:10 error: `0.0.0.0:443` is listened on already, by line 2"],
        ),
    ]);
    assert_eq!(read_text("[monitor]\nlisten = []\n").unwrap().config.monitor.listen, []);
}
