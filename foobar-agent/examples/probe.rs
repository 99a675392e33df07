use foobar_agent::config;
use foobar_agent::firewall::{compile::compile, numbers::InterfaceNumbers};
use foobar_agent::kernel::offline::Bed;
use std::time::Instant;
fn main() {
    let p = std::env::args().nth(1).unwrap();
    let t = Instant::now();
    let c = config::load(p.as_ref()).unwrap_or_else(|e| panic!("{e}")).config;
    let load = t.elapsed();
    let mut n = InterfaceNumbers::default();
    let t = Instant::now();
    let g = match compile(c.firewall.ruleset.as_ref(), &[], &mut n) {
        Ok(g) => g,
        Err(e) => {
            println!("{p} load {load:?} compile {:?} ERR {e}", t.elapsed());
            return;
        }
    };
    let comp = t.elapsed();
    let t = Instant::now();
    if let Some(r) = &c.firewall.ruleset {
        let t = Instant::now();
        let f = foobar_agent::firewall::findings::find(r);
        println!("findings {:?}: {} shadowed {} redundant", t.elapsed(), f.shadowed.len(), f.redundant.len());
        let t = Instant::now();
        let mut m = foobar_agent::firewall::meaning::Meanings::default();
        println!("meaning {:?} {:?}", m.of_ruleset(r).is_ok(), t.elapsed());
    }
    let mut bed = Bed::new(&g).unwrap();
    let inst = t.elapsed();
    println!(
        "{p}: load {load:?} compile {comp:?} bed {inst:?} image {} KiB diagrams {} verified {}",
        g.image_bytes().len() / 1024,
        g.diagrams,
        bed.verified_instructions().unwrap()
    );
    use foobar_tests::frame::{Frame, Mac, Packet, Transport};
    let f = Frame::new(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    for (s, d) in [("10.1.2.3", "192.0.2.1"), ("203.0.113.9", "192.0.2.1"), ("2001:db8:f::7", "2001:db8::1")]
    {
        let fr = f.packet(&Packet::new(s.parse().unwrap(), d.parse().unwrap(), Transport::syn(40000, 443)));
        let (mut a, mut b) = (vec![], vec![]);
        for _ in 0..7 {
            a.push(bed.run(&fr, 300000).unwrap().duration.as_nanos());
            b.push(bed.run_empty(&fr, 300000).unwrap().duration.as_nanos());
        }
        a.sort();
        b.sort();
        println!("   {s}: {} above empty (min {} max {})", a[3] - b[3], a[0] - b[0], a[6] - b[0]);
    }
}
