//! The proof that a life has no gaps: numbered packets, allowed ones and refused ones, arrive at a steady rate
//! while agents are killed at random moments, stop and start, take over the datapath of other versions, and
//! reload, a hundred times each. Every allowed packet must come through, and no refused one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use foobar_ebpf::abi::DATAPATH_VERSION;
use foobar_tests::frame::{Frame, Packet, Transport};
use foobar_tests::wire::Wire;
use foobar_tests::{Process, agent, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Bench, LIMIT, rule};

/// How often each thing happens.
const TIMES: u32 = 100;

/// One of each kind in this time.
const PACE: Duration = Duration::from_millis(1);

/// Frames that wait for a reader that the machine lets wait.
const BUFFER_BYTES: usize = 64 << 20;

const ALLOWED: u16 = 7;
const REFUSED: u16 = 9;

const RULES: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
[[firewall.rules]]
name = "echo"
action = "allow"
protocol = "udp"
port = 7
"#;

/// Where the number is in a frame: behind Ethernet, IPv4 and UDP.
const NUMBER_OFFSET: usize = 14 + 20 + 8;
const PORT_OFFSET: usize = 14 + 20 + 2;

/// What is sent, and what has come through.
struct Traffic {
    sent: AtomicU32,
    /// How often each allowed number arrived.
    arrived: Mutex<Vec<u8>>,
    /// Numbers of refused packets that arrived.
    slipped: Mutex<Vec<u32>>,
    ends: AtomicBool,
    /// Nothing more is sent.
    ended: AtomicBool,
}

impl Traffic {
    fn send(&self, frame: &Frame, sender: &Wire) {
        while !self.ends.load(Ordering::Relaxed) {
            let number = self.sent.load(Ordering::Relaxed);
            for port in [ALLOWED, REFUSED] {
                sender.send(&numbered(frame, port, number)).unwrap();
            }
            self.sent.store(number + 1, Ordering::Relaxed);
            thread::sleep(PACE);
        }
        self.ended.store(true, Ordering::Relaxed);
    }

    fn receive(&self, receiver: &Wire) {
        let mut last = Instant::now();
        // Until nothing has come for a while after the last was sent.
        while !self.ended.load(Ordering::Relaxed) || last.elapsed() < Duration::from_secs(1) {
            let note = |frame: &[u8]| {
                if self.note(frame) {
                    last = Instant::now();
                }
                false
            };
            receiver.receive(Duration::from_millis(200), note).unwrap();
        }
    }

    fn note(&self, frame: &[u8]) -> bool {
        let (Some(port), Some(number)) =
            (frame.get(PORT_OFFSET..PORT_OFFSET + 2), frame.get(NUMBER_OFFSET..NUMBER_OFFSET + 4))
        else {
            return false;
        };
        let number = u32::from_be_bytes(number.try_into().unwrap());
        match u16::from_be_bytes(port.try_into().unwrap()) {
            ALLOWED => {
                let mut arrived = self.arrived.lock().unwrap();
                let index = number as usize;
                if arrived.len() <= index {
                    arrived.resize(index + 1, 0);
                }
                arrived[index] += 1;
            }
            REFUSED => self.slipped.lock().unwrap().push(number),
            _ => return false,
        }
        true
    }
}

fn numbered(frame: &Frame, port: u16, number: u32) -> Vec<u8> {
    let transport = Transport::udp(40_000, port, &number.to_be_bytes());
    let packet = Packet::new("198.51.100.7".parse().unwrap(), "192.0.2.1".parse().unwrap(), transport);
    frame.packet(&packet)
}

/// Numbers that look like chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Gives what one version left another version's number, unless both are there: then a takeover has been cut
/// off. Whether it did.
fn change_version(bench: &Bench, to: u32) -> bool {
    let (pins, state) = (bench.folder.join("bpf/foobar"), bench.folder.join("state"));
    let folders: Vec<PathBuf> = fs::read_dir(&pins).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [only] = folders.as_slice() else { return false };
    if *only != pins.join(format!("datapath-v{DATAPATH_VERSION}")) {
        return false;
    }
    fs::rename(only, pins.join(format!("datapath-v{to}"))).unwrap();
    fs::rename(ledger(&state, DATAPATH_VERSION), ledger(&state, to)).unwrap();
    true
}

fn ledger(state: &Path, version: u32) -> PathBuf {
    state.join(format!("datapath-v{version}.json"))
}

fn other_version(chance: &mut Chance) -> u32 {
    if chance.below(2) == 0 { DATAPATH_VERSION - 1 } else { DATAPATH_VERSION + 1 }
}

fn spawn(bench: &Bench) -> Process {
    let mut command = bench.host.command(agent::binary().unwrap()).unwrap();
    command.args(["run", "--config"]).arg(bench.folder.join("foobar.toml"));
    Process::spawn("agent", command, &bench.folder.join("agent.log")).unwrap()
}

/// Kills an agent, its kernel process, or both, and waits until neither is left.
fn kill_somehow(agent: &mut Process, chance: &mut Chance) {
    let id = agent.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let kernel: Option<i32> = children.split_whitespace().next().and_then(|id| id.parse().ok());
    let what = chance.below(3);
    if let Some(kernel) = kernel.filter(|_| what != 0) {
        let _ = kill(Pid::from_raw(kernel), Signal::SIGKILL);
    }
    if what != 1 || kernel.is_none() {
        agent.kill().unwrap();
    }
    wait::until("the agent ends", LIMIT, || agent.ended()).unwrap();
    let gone =
        || Ok(kernel.is_none_or(|id| !Path::new(&format!("/proc/{id}/ns/net")).exists()).then_some(()));
    wait::until("its kernel process ends", LIMIT, gone).unwrap();
}

/// Agents that die at any moment of their start and of a takeover.
fn kills(bench: &Bench, chance: &mut Chance) -> u32 {
    let mut takeovers = 0;
    for _ in 0..TIMES {
        if chance.below(2) == 0 {
            let version = other_version(chance);
            takeovers += u32::from(change_version(bench, version));
        }
        let mut agent = spawn(bench);
        thread::sleep(Duration::from_millis(chance.below(500)));
        kill_somehow(&mut agent, chance);
    }
    takeovers
}

/// Agents that stop politely, each over what another version left.
fn upgrades(bench: &Bench, chance: &mut Chance) {
    for _ in 0..TIMES {
        let version = other_version(chance);
        assert!(change_version(bench, version), "the last one had finished");
        let agent = bench.start(RULES);
        assert!(agent.output().contains("taken over from"), "{}", agent.output());
        assert!(agent.stop().unwrap().success());
    }
}

fn restarts(bench: &Bench) {
    for _ in 0..TIMES {
        assert!(bench.start(RULES).stop().unwrap().success());
    }
}

fn reloads(bench: &Bench) {
    let agent = bench.start(RULES);
    for number in 0..TIMES {
        agent.write(&RULES.replace("port = 7", &format!("port = [7, {}]", 1000 + number))).unwrap();
        agent.reload().unwrap();
    }
    agent.write(RULES).unwrap();
    agent.reload().unwrap();
    assert!(agent.stop().unwrap().success());
}

#[test]
fn no_packet_is_lost_and_none_slips_through() {
    let bench = Bench::new();
    assert!(bench.start(RULES).stop().unwrap().success());
    let traffic = Traffic {
        sent: AtomicU32::new(0),
        arrived: Mutex::default(),
        slipped: Mutex::default(),
        ends: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    };
    let sender = Wire::open(bench.peer(), "eth0").unwrap();
    let receiver = Wire::open(&bench.host, "eth0").unwrap().keep(BUFFER_BYTES).unwrap();
    let frame = bench.frame().clone();
    let takeovers = thread::scope(|scope| {
        scope.spawn(|| traffic.send(&frame, &sender));
        scope.spawn(|| traffic.receive(&receiver));
        let chance = &mut Chance(1);
        // Ends the traffic also where one of them fails.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let takeovers = timed("killed", || kills(&bench, chance));
            assert!(bench.start(RULES).stop().unwrap().success());
            timed("upgraded", || upgrades(&bench, chance));
            timed("restarted", || restarts(&bench));
            timed("reloaded", || reloads(&bench));
            takeovers
        }));
        traffic.ends.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let sent = traffic.sent.load(Ordering::Relaxed);
    let arrived = traffic.arrived.into_inner().unwrap();
    let slipped = traffic.slipped.into_inner().unwrap();
    let came = |times: u8| arrived.iter().filter(|count| **count == times).count();
    println!(
        "{sent} allowed and {sent} refused packets sent; {} allowed arrived once, {} did not, {} refused did; \
         {TIMES} kills ({takeovers} of them in or after a takeover), {TIMES} upgrades and downgrades, {TIMES} stops \
         and starts, {TIMES} reloads",
        came(1),
        sent as usize - came(1),
        slipped.len()
    );
    assert_eq!(slipped, Vec::<u32>::new(), "refused packets that arrived");
    let lost: Vec<usize> = (0..sent as usize).filter(|number| arrived.get(*number) != Some(&1)).collect();
    assert_eq!(lost, Vec::<usize>::new(), "allowed packets that did not arrive once");
    let agent = bench.start(RULES);
    let now = agent.metrics().unwrap();
    assert_eq!((rule(&now, "echo"), rule(&now, "policy")), (sent.into(), sent.into()), "{now}");
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what} {TIMES} times in {:.1} s", start.elapsed().as_secs_f64());
    done
}
