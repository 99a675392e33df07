//! `[firewall.sets]` and prefix files.

use std::fmt::Write as _;

use super::*;

/// A firewall with one rule that uses `@a`; `sets` begins on line 8.
fn sets(sets: &str) -> String {
    format!(
        "[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'drop'\n\
         from = ['@a', '192.0.2.1']\n[firewall.sets]\n{sets}\n"
    )
}

fn check_sets(cases: &[(&str, &[&str])]) {
    let texts: Vec<String> = cases.iter().map(|(text, _)| sets(text)).collect();
    let cases: Vec<_> =
        texts.iter().zip(cases).map(|(text, (_, expected))| (text.as_str(), *expected)).collect();
    check(&cases);
}

#[test]
fn definitions() {
    check_sets(&[
        ("a = '192.0.2.1'", &["8:5 error: `a` takes a list, in brackets, not a string"]),
        ("a = []", &["8:1 warning: the set `a` is empty"]),
        ("a = [7]", &["8:6 error: `a` takes a string, not an integer"]),
        ("a = ['!192.0.2.1']", &["8:6 error: `!192.0.2.1` negates, which a set cannot"]),
        ("a = ['!@b']\nb = ['192.0.2.1']", &["8:6 error: `!@b` negates"]),
        (
            "a = ['10.0.0.1/8', 'x']",
            &["8:6 error: `10.0.0.1/8` has host bits set", "8:20 error: `x` is neither"],
        ),
        ("a = ['192.0.2.1']\nB = []", &["9:1 error: `B` is no name for a set"]),
        ("a = ['192.0.2.1']\npolicy = ['192.0.2.1']", &["9:1 error: `policy` is reserved"]),
        ("a = ['@b']", &["8:6 error: there is no set `b`"]),
        ("a = { }", &["8:5 error: the set lacks `file`"]),
        (
            "a = { file = 'x', url = 'y' }",
            &["8:14 error: cannot read `/nonexistent/x`", "8:19 error: unknown key `url`"],
        ),
        ("a = { file = '' }", &["8:14 error: `` is no path"]),
    ]);
}

/// Drops the findings that every broken set brings with it.
fn without_warnings(found: Vec<String>) -> Vec<String> {
    found.into_iter().filter(|finding| !finding.contains(" warning: ")).collect()
}

#[test]
fn cycles() {
    let errors = |text: &str| without_warnings(findings(&read_text(&sets(text))));
    assert_eq!(errors("a = ['@a']"), ["8:1 error: sets are made of each other: @a → @a"]);
    assert_eq!(
        errors("a = ['@b']\nb = ['@c', '192.0.2.1']\nc = ['@b']"),
        ["9:1 error: sets are made of each other: @b → @c → @b"]
    );
    assert_eq!(errors("a = ['@b', '@c']\nb = ['@b']\nc = ['@c']").len(), 2);
}

#[test]
fn a_long_chain_of_sets_is_resolved() {
    let mut text = String::from("a = ['@s0']\n");
    for index in 0..5000 {
        writeln!(text, "s{index} = ['@s{}', '10.0.{}.{}']", index + 1, index / 256, index % 256).unwrap();
    }
    text.push_str("s5000 = ['2001:db8::/32']\n");
    let loaded = read_text(&sets(&text)).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let from = loaded.config.firewall.ruleset.unwrap().rules[0].from.clone().unwrap();
    assert!(from.contains("10.0.19.135".parse().unwrap()) && from.contains("2001:db8::1".parse().unwrap()));
    assert!(!from.contains("10.0.19.136".parse().unwrap()));
}

#[test]
fn use_is_transitive() {
    check_sets(&[
        ("a = ['@b']\nb = ['@c']\nc = ['192.0.2.1']", &[]),
        (
            "a = ['10.0.0.1']\nb = ['@c']\nc = ['192.0.2.1']",
            &["9:1 warning: no rule uses the set `b`", "10:1 warning: no rule uses the set `c`"],
        ),
    ]);
}

#[test]
fn prefix_files_mask_host_bits_and_report_their_own_lines() {
    let folder = Folder::new("prefix-file");
    let file = "\u{feff}10.0.0.1/8\n# comment\n\t192.0.2.1 # one\n\n  nonsense\n::ffff:1.2.3.4\nfe80::1%eth0\n@a\n!1.1.1.1";
    folder.write("list.txt", file);
    let result = read_text_in(folder.path(), &sets("a = { file = 'list.txt' }"));
    let list = folder.path().join("list.txt");
    let Err(found) = &result else { panic!("{result:?}") };
    assert!(found.iter().all(|finding| finding.file == list), "{found}");
    let expected = [
        "1:1 warning: `10.0.0.1/8` has host bits set",
        "5:3 error: `nonsense` is neither an address nor a prefix",
        "6:1 error: `::ffff:1.2.3.4` is an IPv4-mapped IPv6 address, which never arrives on the wire",
        "7:1 error: `fe80::1%eth0` has a zone id",
        "8:1 error: `@a` is neither an address nor a prefix",
        "9:1 error: `!1.1.1.1` is neither an address nor a prefix",
    ];
    assert_eq!(findings(&result), expected);
}

#[test]
fn a_file_of_nonsense_is_summed_up() {
    let folder = Folder::new("nonsense");
    folder.write("list.txt", "x\n".repeat(100_000) + &"10.0.0.1/8\n".repeat(17));
    let found = findings(&read_text_in(folder.path(), &sets("a = { file = 'list.txt' }")));
    assert_eq!(found.len(), 10 + 10 + 2, "{found:?}");
    assert!(
        found.contains(&"8:14 error: the file has 100000 lines with errors in all".to_owned()),
        "{found:?}"
    );
    assert!(
        found.iter().any(|finding| finding.contains("the file has 17 prefixes with host bits set")),
        "{found:?}"
    );
}

#[test]
fn a_file_that_is_no_text_is_given_up() {
    let folder = Folder::new("binary");
    folder.write("list.txt", vec![0xff; 1 << 20]);
    let found = findings(&read_text_in(folder.path(), &sets("a = { file = 'list.txt' }")));
    let errors = without_warnings(found);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("begins a line longer than 4096 bytes"), "{errors:?}");
}

#[test]
fn a_folder_is_no_prefix_file() {
    let folder = Folder::new("folder-as-file");
    let found = without_warnings(findings(&read_text_in(folder.path(), &sets("a = { file = '.' }"))));
    assert!(found.len() == 1 && found[0].contains("is a folder, not a file"), "{found:?}");
}
