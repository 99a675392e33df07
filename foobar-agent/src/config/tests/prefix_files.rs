//! Files of prefixes, in the forms in which public lists come.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::firewall::address::{AddressSet, Prefix};

fn config(definition: &str) -> String {
    format!(
        "[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'drop'\nfrom = '@a'\n\
         [firewall.sets]\na = {definition}\n"
    )
}

fn read_set(folder: &Path) -> Result<AddressSet, Vec<String>> {
    let result = read_text_in(folder, &config("{ file = 'list.txt' }"));
    let found = findings(&result);
    match result {
        Ok(loaded) if found.is_empty() => {
            let rules = loaded.config.firewall.ruleset.unwrap().rules;
            Ok(AddressSet::clone(rules[0].from.as_ref().unwrap()))
        }
        _ => Err(found),
    }
}

fn set_of(content: impl AsRef<[u8]>) -> Result<AddressSet, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list.txt"), content).unwrap();
    read_set(folder.path())
}

#[test]
fn every_form_of_a_public_list_is_one_set() {
    let plain = set_of("192.0.2.0/24\n198.51.100.7\n2001:db8::/32\n").unwrap();
    let forms = [
        "\u{feff}192.0.2.0/24\r\n198.51.100.7\r\n2001:db8::/32",
        "# a list\n; of another\n\n\t192.0.2.0/24 ; SBL1\n  198.51.100.7\t# one\n2001:db8::/32;x\n   \n",
        "192.0.2.0-192.0.2.255\n198.51.100.7 - 198.51.100.7\n2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\n",
        "192.0.2.128/25\n192.0.2.0/25\n192.0.2.3\n192.0.2.3\n198.51.100.7/32\n2001:DB8::/32\n2001:db8:1::1/128",
    ];
    for form in forms {
        assert_eq!(set_of(form).as_ref(), Ok(&plain), "{form}");
    }
}

#[test]
fn ranges_need_two_ends_of_one_family_in_order() {
    let found = set_of(
        "192.0.2.9-192.0.2.1\n192.0.2.1-2001:db8::1\n192.0.2.1-\n-\n1.2.3.4-1.2.3.4/32\n\
                        ::ffff:1.2.3.4-::ffff:1.2.3.5\n192.0.2.1-192.0.2.2-192.0.2.3\n",
    )
    .unwrap_err();
    let expected = [
        "1:1 error: `192.0.2.9-192.0.2.1` is a range from high to low",
        "2:1 error: `192.0.2.1-2001:db8::1` is a range over two address families",
        "3:1 error: `192.0.2.1-` is neither",
        "4:1 error: `-` is neither",
        "5:1 error: `1.2.3.4-1.2.3.4/32` is neither",
        "6:1 error: `::ffff:1.2.3.4-::ffff:1.2.3.5` is an IPv4-mapped",
        "7:1 error: `192.0.2.1-192.0.2.2-192.0.2.3` is neither",
    ];
    let found: Vec<&String> = found.iter().filter(|finding| finding.contains(" error: ")).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.into_iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_set_may_come_from_several_files() {
    let folder = Folder::new("several");
    folder.write("one.txt", "192.0.2.1\n");
    folder.write("two.txt", "2001:db8::1\n");
    let loaded = read_text_in(folder.path(), &config("{ file = ['one.txt', 'two.txt'] }")).unwrap();
    let rules = loaded.config.firewall.ruleset.unwrap().rules;
    assert_eq!(rules[0].from.as_ref().unwrap().ranges().len(), 2);
    let none = findings(&read_text_in(folder.path(), &config("{ file = [] }")));
    assert!(none.contains(&"8:14 error: `file` is an empty list".to_owned()), "{none:?}");
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let folder = Folder::new("no-file");
    let path = folder.path().join("list.txt");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let inside = folder.path().to_owned();
    std::thread::spawn(move || sender.send(read_set(&inside)));
    let found =
        receiver.recv_timeout(Duration::from_secs(20)).expect("a pipe without a writer is waited for");
    let errors = |found: Vec<String>| found.into_iter().find(|finding| finding.contains(" error: ")).unwrap();
    assert!(errors(found.unwrap_err()).ends_with("is a pipe, not a file"));
    std::fs::remove_file(&path).unwrap();

    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(errors(read_set(folder.path()).unwrap_err()).ends_with("is a device, not a file"));
    std::fs::remove_file(&path).unwrap();

    std::os::unix::fs::symlink("list.txt", &path).unwrap();
    assert!(errors(read_set(folder.path()).unwrap_err()).contains("cannot read"));
    std::fs::remove_file(&path).unwrap();

    std::fs::File::create(&path).unwrap().set_len((1 << 30) + 1).unwrap();
    assert!(errors(read_set(folder.path()).unwrap_err()).contains("has more than 1073741824 bytes"));
}

#[test]
fn more_lines_than_a_set_takes_are_refused() {
    let found = set_of(vec![b'\n'; (1 << 24) + 1]).unwrap_err();
    assert!(found.iter().any(|finding| finding.contains("has more than 16777216 lines")), "{found:?}");
}

#[test]
fn a_range_in_the_configuration_is_answered_with_its_prefixes() {
    let errors = read_text(&config("['192.0.2.4-192.0.2.11']")).unwrap_err();
    let hint = errors.iter().find_map(|error| error.hint.clone()).unwrap();
    assert_eq!(
        hint,
        "write prefixes: 192.0.2.4/30, 192.0.2.8/30; ranges are read from files of prefixes only"
    );
}

#[test]
fn bytes_that_are_no_text_are_errors_of_their_lines() {
    let found = set_of(b"\xff\xfe\n192.0.2.1\0\n\0\n192.0.2.2\n").unwrap_err();
    let lines: Vec<&str> = found.iter().filter_map(|finding| finding.split(':').next()).collect();
    assert_eq!(lines, ["1", "2", "3"], "{found:?}");
}

/// A line's text, and what it adds.
fn line() -> impl Strategy<Value = (String, AddressSet)> {
    let after = prop::sample::select(vec!["", " ", "\t", " # x", ";y", "\r", "  ; 10.0.0.0/8\r"]);
    let content = prop_oneof![
        8 => (any::<bool>(), any::<u8>(), 0u8..=8, any::<u8>()).prop_map(|(ipv4, low, host_bits, other)| {
            let address = |low: u8| -> IpAddr {
                if ipv4 { [198, 51, 100, low].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, low.into()].into() }
            };
            let length = if ipv4 { 32 } else { 128 } - host_bits;
            let low = low & u8::MAX.checked_shl(host_bits.into()).unwrap_or(0);
            let prefix = Prefix::new(address(low), length).unwrap();
            match other % 3 {
                0 => (format!("{}/{length}", address(low)), AddressSet::from_iter([prefix])),
                1 => (address(low).to_string(), AddressSet::from_iter([Prefix::host(address(low))])),
                _ => {
                    let (first, last) = (low.min(other), low.max(other));
                    let hosts = (first..=last).map(|low| Prefix::host(address(low)));
                    (format!("{}-{}", address(first), address(last)), hosts.collect())
                }
            }
        }),
        1 => Just((String::new(), AddressSet::default())),
    ];
    let before = prop::sample::select(vec!["", " ", "\t \t"]);
    (before, content, after)
        .prop_map(|(before, (text, set), after)| (format!("{before}{text}{after}\n"), set))
}

proptest! {
    #[test]
    fn a_file_means_the_union_of_its_lines(lines in prop::collection::vec(line(), 1..40)) {
        let text: Vec<&str> = lines.iter().map(|(text, _)| text.as_str()).collect();
        let expected = AddressSet::union_of(lines.iter().map(|(_, set)| set));
        if !expected.is_empty() {
            prop_assert_eq!(set_of(text.concat()), Ok(expected), "{}", text.concat());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // Either a set, or findings that say why not.
        if let Err(found) = set_of(&bytes) {
            prop_assert!(!found.is_empty());
        }
    }
}
