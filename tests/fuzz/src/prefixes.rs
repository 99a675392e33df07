//! Prefix files: any bytes are read or refused, every error has its place, and a file that is taken
//! means what its lines say.

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use foobar_agent::config;
use tempfile::TempDir;

use crate::{check_positions, refuses};

const BYTES_MAX: usize = 64 * 1024;

const CONFIG: &str = r#"
[firewall]
interfaces = ["eth0"]
default = "drop"
[firewall.sets]
set = { file = "set.txt" }
[[firewall.rules]]
name = "set"
action = "allow"
from = ["@set"]
"#;

struct Place {
    config: PathBuf,
    set: PathBuf,
    _folder: TempDir,
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(place());
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let (config, set) = (folder.path().join("foobar.toml"), folder.path().join("set.txt"));
    fs::write(&config, CONFIG).unwrap_or_else(|error| panic!("{error}"));
    Place { config, set, _folder: folder }
}

/// The content of a prefix file.
///
/// # Panics
/// If what may never happen does.
pub fn prefixes(content: &[u8]) {
    if content.len() > BYTES_MAX {
        return;
    }
    PLACE.with_borrow(|place| {
        fs::write(&place.set, content).unwrap_or_else(|error| panic!("{error}"));
        let files = [(place.config.as_path(), CONFIG.as_bytes()), (place.set.as_path(), content)];
        match config::load(&place.config) {
            Ok(loaded) => {
                assert!(!refuses(&loaded.warnings), "taken with errors:\n{}", loaded.warnings);
                check_positions(&loaded.warnings, &files);
                check_members(content, &loaded.config);
            }
            Err(errors) => {
                assert!(refuses(&errors), "refused without an error:\n{errors}");
                check_positions(&errors, &files);
            }
        }
    });
}

/// The first and the last address of each line are members, and what lies before the first is one only
/// if another line says so.
fn check_members(content: &[u8], config: &config::model::Config) {
    let text = String::from_utf8_lossy(content);
    let lines: Vec<(u128, u128)> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .filter_map(|line| line.split(['#', ';']).next())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| range(line).unwrap_or_else(|| panic!("{line:?} was taken for a prefix")))
        .collect();
    let ruleset = config.firewall.ruleset.as_ref();
    let set = ruleset.and_then(|ruleset| ruleset.rules.first()).and_then(|rule| rule.from.as_ref());
    let Some(set) = set else { panic!("the rule has no sources") };
    let contains = |bits: u128| set.contains(address(bits));
    for &(first, last) in &lines {
        for bits in [first, last] {
            // ::/0 and the like mean IPv6 alone, although IPv4 is held within.
            let mapped = bits >> 32 == 0xffff && last - first > u128::from(u32::MAX);
            assert!(mapped || contains(bits), "{} is not in the set of {text:?}", address(bits));
        }
        if let Some(before) = first.checked_sub(1).filter(|bits| bits >> 32 != 0xffff) {
            let named = lines.iter().any(|&(first, last)| first <= before && before <= last);
            assert_eq!(contains(before), named, "{} of {text:?}", address(before));
        }
    }
}

/// First and last address of a line, IPv4 in the mapped block.
fn range(line: &str) -> Option<(u128, u128)> {
    if let Some((first, last)) = line.split_once('-') {
        let end = |text: &str| match text.trim().parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => Some(u128::from(address.to_ipv6_mapped())),
            IpAddr::V6(address) => Some(u128::from(address)),
        };
        return Some((end(first)?, end(last)?));
    }
    let (address, length) =
        line.split_once('/').map_or((line, None), |(address, length)| (address, length.parse::<u32>().ok()));
    let (bits, beyond) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => (u128::from(address.to_ipv6_mapped()), 32 - length.unwrap_or(32)),
        IpAddr::V6(address) => (u128::from(address), 128 - length.unwrap_or(128)),
    };
    let host = 1u128.checked_shl(beyond).map_or(u128::MAX, |size| size - 1);
    Some((bits & !host, bits | host))
}

fn address(bits: u128) -> IpAddr {
    Ipv6Addr::from(bits).to_canonical()
}
