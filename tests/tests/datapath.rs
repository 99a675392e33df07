//! first light
#[test]
fn first_light() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(
        &path,
        r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
[[firewall.rules]]
name = "web"
action = "allow"
protocol = "tcp"
port = [80, 443]
[[firewall.rules]]
name = "office"
action = "allow"
from = ["192.0.2.0/24", "2001:db8::/32"]
protocol = "tcp"
port = 22
"#,
    )
    .unwrap();
    let loaded = foobar_agent::config::load(&path).unwrap();
    let mut numbers = Default::default();
    let generation =
        foobar_agent::firewall::compile::compile(loaded.config.firewall.ruleset.as_ref(), &[], &mut numbers)
            .unwrap();
    let mut bed = foobar_agent::kernel::offline::Bed::new(&generation).unwrap_or_else(|e| panic!("{e}"));
    println!("verified {}", bed.verified_instructions().unwrap());
    use foobar_tests::frame::*;
    let f = Frame::new("02:00:00:00:00:01".parse().unwrap(), "02:00:00:00:00:02".parse().unwrap());
    let frames = [
        f.packet(&Packet::new(
            "198.51.100.1".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            Transport::syn(4000, 80),
        )),
        f.packet(&Packet::new(
            "198.51.100.1".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
            Transport::syn(4000, 81),
        )),
        f.packet(&Packet::new(
            "2001:db9::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
            Transport::syn(4000, 81),
        )),
    ];
    for frame in &frames {
        for _ in 0..3 {
            println!("{:?}", bed.run(frame, 1_000_000).unwrap());
        }
    }
    println!("{:?} {:?}", bed.outcomes(0).unwrap(), bed.rules().unwrap());
}
