//! `docs/configuration.md` says what the reader does.

use super::super::{icmp, protocols, services};
use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn every_example_loads() {
    let examples: Vec<&str> =
        DOCUMENT.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        if let Err(errors) = read_text(example) {
            panic!("{example}\n{errors}");
        }
    }
}

#[test]
fn every_key_and_name_is_documented() {
    let keys = super::full::FULL.lines().filter_map(|line| line.split_once(" =")).map(|(key, _)| key.trim());
    let sets = ["office", "trusted", "blocklist"];
    let keys = keys.filter(|key| !key.starts_with('#') && !sets.contains(key));
    for word in keys.chain(protocols::names()).chain(services::names()).chain(icmp::all_names()) {
        let british = word.replace("neighbor-", "neighbour-");
        assert!(DOCUMENT.contains(&format!("`{british}`")), "`{word}` is not documented");
    }
}
