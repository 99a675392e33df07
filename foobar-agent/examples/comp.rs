use foobar_agent::config;
use foobar_agent::firewall::{compile::compile, numbers::InterfaceNumbers};
use std::time::Instant;
fn main() {
    let p = std::env::args().nth(1).unwrap();
    let t = Instant::now();
    let c = config::load(p.as_ref()).unwrap_or_else(|e| panic!("{e}")).config;
    println!("load {:?}", t.elapsed());
    for _ in 0..10 {
        let mut n = InterfaceNumbers::default();
        let t = Instant::now();
        let g = compile(c.firewall.ruleset.as_ref(), &[], &mut n).unwrap();
        println!("{:?} {}", t.elapsed(), g.image.len() * 32);
    }
}
