//! Who is not banned, and what is said of it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Instant;

use super::{CLIENT, HOST, RULES, Site, ask, banned, refused};

#[test]
fn whom_the_configuration_names_and_what_looks_like_a_mistake() {
    let site = Site::new();
    let agent = site.start(RULES);
    for (subject, why) in [
        ("203.0.113.7", "firewall.never_ban"),
        ("203.0.113.128/25", "firewall.never_ban"),
        ("192.0.2.99", "firewall.never_ban"),
        (HOST[0], "an address of this host"),
        (HOST[1], "an address of this host"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("224.0.0.0/24", "multicast"),
        ("0.0.0.0/0", "a whole address family"),
        ("::/0", "a whole address family"),
    ] {
        let (code, said) = refused(&agent, &["ban", "add", subject]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(subject) && said.contains(why), "{said}");
    }
    for (subject, why) in
        [("192.0.2.7/24", "host bits"), ("example.org", "neither"), ("::ffff:192.0.2.1", "IPv4-mapped")]
    {
        let (code, said) = refused(&agent, &["ban", "add", subject]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(refused(&agent, &["ban", "add", "192.0.2.1", "--for", "10"]).0, Some(2));
    // Those beside are banned.
    let (_, said) = refused(&agent, &["ban", "add", "203.0.113.7", CLIENT[0]]);
    assert!(said.contains("203.0.113.7"), "{said}");
    assert_eq!(banned(&agent), [CLIENT[0]]);
    ask(&agent, &["ban", "add", HOST[0], "--force"]);
    let (_, said) = refused(&agent, &["ban", "add", "203.0.113.7", "--force"]);
    assert!(said.contains("never_ban"), "{said}");
    let (_, said) = refused(&agent, &["ban", "remove", "198.51.100.1"]);
    assert!(said.contains("not banned: 198.51.100.1"), "{said}");
    // An IPv6 prefix around the place of IPv4 is no IPv4.
    ask(&agent, &["ban", "remove", CLIENT[0], HOST[0]]);
    ask(&agent, &["ban", "add", "::/8"]);
    assert!(site.reaches(0));
}

#[test]
fn a_new_list_lifts_what_it_forbids() {
    let site = Site::new();
    let agent = site.start(RULES);
    ask(&agent, &["ban", "add", CLIENT[0], "192.0.2.0/28", "192.0.2.0/24"]);
    assert!(!site.reaches(0));
    agent.write(&RULES.replace("192.0.2.99", "192.0.2.0/28")).unwrap();
    agent.reload().unwrap();
    assert_eq!(banned(&agent), ["192.0.2.0/24"]);
    assert!(site.reaches(0));
    assert!(refused(&agent, &["ban", "add", CLIENT[0]]).1.contains("never_ban"));
    // As before: who was exempt is banned with its prefix again.
    agent.write(RULES).unwrap();
    agent.reload().unwrap();
    assert!(!site.reaches(0));
    assert!(agent.stop().unwrap().success());
    let agent = site.start(&RULES.replace("192.0.2.99", "192.0.2.0/24"));
    assert_eq!(banned(&agent), [] as [&str; 0]);
    assert!(site.reaches(0));
}

/// As lists of others are long. Prints how long it took.
#[test]
fn a_million_come_from_a_file() {
    const MILLION: u32 = 1_000_000;
    let site = Site::new();
    let agent = site.start(RULES);
    let path = site.folder.join("million.txt");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "# a million addresses, every other one of 10.0.0.0/8\n").unwrap();
    for number in 0..MILLION {
        writeln!(file, "{}", std::net::Ipv4Addr::from(0x0a00_0000 + 2 * number)).unwrap();
    }
    file.flush().unwrap();
    let start = Instant::now();
    let said = ask(&agent, &["ban", "add", "--file", path.to_str().unwrap(), "--for", "1h"]);
    println!("a million bans from a file: {:?}", start.elapsed());
    assert_eq!(said, "banned 1000000 sources\n");
    site.client.address("eth0", "10.0.0.2/32").unwrap();
    site.host.ip("route add 10.0.0.0/8 via 192.0.2.1").unwrap();
    site.client.address("eth0", "10.0.0.3/32").unwrap();
    assert!(!site.reaches_from("10.0.0.2") && site.reaches_from("10.0.0.3") && site.reaches(0));
    let found = ask(&agent, &["ban", "list", "10.0.0.2"]);
    assert!(found.contains("10.0.0.2") && found.lines().count() == 2, "{found}");
    let rss = agent.metrics().unwrap().count("foobar_process_resident_memory_bytes", &[]);
    println!("resident with a million: {} MiB", rss >> 20);
    let start = Instant::now();
    assert!(agent.stop().unwrap().success());
    let agent = site.start(RULES);
    println!("restart with a million: {:?}", start.elapsed());
    assert!(!site.reaches_from("10.0.0.2"));
    let start = Instant::now();
    assert_eq!(ask(&agent, &["ban", "list", "--json"]).lines().count(), 1_000_002);
    println!("a list of a million: {:?}", start.elapsed());
    let start = Instant::now();
    ask(&agent, &["ban", "remove", "--file", path.to_str().unwrap()]);
    println!("a million lifted: {:?}", start.elapsed());
    assert!(site.reaches_from("10.0.0.2") && banned(&agent).is_empty());
}
