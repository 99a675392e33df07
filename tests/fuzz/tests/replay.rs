//! Every file of the corpora, and mutations of them: always the same ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

use std::fs;
use std::path::Path;

use foobar_fuzz::{Mutator, capture, config, packet, prefixes};

/// What matters in a configuration.
const CONFIG_WORDS: [&str; 20] = [
    "\n",
    "\"",
    "[",
    "]",
    "[[firewall.rules]]\n",
    "[firewall.sets]\n",
    "=",
    ",",
    "!",
    "@set",
    "/",
    "-",
    "0-65535",
    "65536",
    "::/0",
    "0.0.0.0/0",
    "icmp_type = \"3/4\"\n",
    "tcp_flags = \"none/syn\"\n",
    "protocol = [\"tcp\", 58]\n",
    "\u{feff}",
];
/// What matters in a prefix file.
const PREFIX_WORDS: [&str; 16] = [
    "\n",
    "\r\n",
    "#",
    "/",
    "/0",
    "/32",
    "/128",
    "/33",
    "::",
    "::ffff:192.0.2.1",
    "255.255.255.255",
    "%eth0",
    "-",
    "\u{feff}",
    "/255.255.255.0",
    "192.0.2.3-192.0.2.9",
];

/// Puts every file and `mutations` others through a target; a panic names the input.
fn replay(name: &str, words: &[&str], mutations: usize, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "{} holds {} inputs", folder.display(), paths.len());
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    for (path, seed) in paths.iter().zip(&seeds) {
        run(&path.display().to_string(), seed, target);
    }
    let mut mutator = Mutator::new(7, &seeds, words);
    for number in 0..mutations {
        let input = mutator.input();
        run(&format!("mutation {number} of {name}"), &input, target);
    }
}

fn run(what: &str, input: &[u8], target: fn(&[u8])) {
    let held = std::panic::catch_unwind(|| target(input));
    assert!(held.is_ok(), "{what}: \"{}\"", input.escape_ascii());
}

#[test]
fn packets() {
    replay("packet", &[], 100_000, packet);
}

#[test]
fn configurations() {
    replay("config", &CONFIG_WORDS, 3000, config);
}

#[test]
fn prefix_files() {
    replay("prefixes", &PREFIX_WORDS, 3000, prefixes);
}

#[test]
fn captures() {
    replay("capture", &[], 20_000, capture);
}
