//! What holds for every section: syntax, types, unknown and missing keys, and files.

use super::*;

#[test]
fn syntax() {
    check(&[
        ("[firewall\n", &["1:10 error: unclosed table"]),
        (
            "[firewall]\ndefault = drop\nmode = auto\n",
            &["2:11 error: string values must be quoted", "3:8 error: string values must be quoted"],
        ),
        ("[monitor]\nlisten = []\nlisten = []\n", &["3:1 error: duplicate key"]),
        ("[host]\nname = 'ä' 3\n", &["2:12 error: unexpected key or value"]),
    ]);
}

#[test]
fn keys_and_types() {
    check(&[
        ("[firewal]\n", &["1:2 error: unknown key `firewal` in the file"]),
        ("host = 3\n", &["1:8 error: `host` takes a table, [host], not an integer"]),
        ("[[host]]\n", &["1:1 error: [host] is there once"]),
        ("[host]\nname = 7\n", &["2:8 error: `name` takes a string, not an integer"]),
        ("[host]\nNAME = 'x'\n", &["2:1 error: unknown key `NAME` in [host]"]),
        ("host = { name = 'x', nane = 'y' }\n", &["1:22 error: unknown key `nane`"]),
        ("[host]\n\"a\\u001bb\" = 1\n", &["2:1 error: unknown key `a\\u{1b}b`"]),
        ("[host]\nname = ''\n", &["2:8 error: `` is no host name"]),
        ("[host]\nrun_dir = ''\n", &["2:11 error: `` is no path"]),
        ("[host]\nname = 'a b'\nstate_dir = 1\n", &["2:8 error: `a b`", "3:13 error: `state_dir` takes"]),
    ]);
}

#[test]
fn columns_count_characters_and_crlf_ends_lines() {
    check(&[("# ä\r\nhost = { 'ä' = 1 }\r\n", &["2:10 error: unknown key `ä`"])]);
}

#[test]
fn hints_name_what_was_meant() {
    let hint = |text: &str| {
        let errors = read_text(text).unwrap_err();
        errors.iter().filter_map(|error| error.hint.clone()).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(hint("[firewal]\n"), "did you mean `firewall`?");
    assert_eq!(hint("[xyzzy]\n"), "known here: `host`, `firewall`, `balancer` or `monitor`");
    assert_eq!(hint("[firewall]\n"), "add: default = \"drop\", \"allow\" or \"reject\"");
    assert_eq!(hint("[firewall]\ndefault = drop\n"), "in quotes: \"drop\"");
    assert_eq!(
        hint("[firewall]\ndefault = 'dorp'\n"),
        "did you mean `drop`? it takes `allow`, `drop` or `reject`"
    );
    assert_eq!(hint("[host]\nname = 7\n"), "in quotes: \"7\"");
    let workers = "[balancer]\nhttp = '127.0.0.1:80'\nworkers = '2'\n";
    assert!(hint(workers).contains("without quotes: 2"), "{}", hint(workers));
}

#[test]
fn errors_are_printed_with_place_excerpt_and_hint() {
    let errors = read_text("[host]\nnane = 'x'\n").unwrap_err();
    let printed = "/nonexistent/foobar.toml:2:1: error: unknown key `nane` in [host]\n  \
                   2 | nane = 'x'\n    | ^^^^\n  hint: did you mean `name`?";
    assert_eq!(errors.to_string(), printed);
    assert_eq!((errors.error_count(), errors.exit_code()), (1, 1));

    let json = serde_json::to_string(&errors).unwrap();
    assert!(
        json.starts_with(r#"[{"severity":"error","file":"/nonexistent/foobar.toml","line":2,"column":1,"#)
    );
    assert_eq!(serde_json::from_str::<Diagnostics>(&json).unwrap(), errors);
}

#[test]
fn warnings_refuse_nothing() {
    let text = "[firewall]\ndefault = 'allow'\n[firewall.sets]\na = ['192.0.2.1']\n";
    let loaded = read_text(text).unwrap();
    assert_eq!((loaded.warnings.len(), loaded.warnings.exit_code()), (1, 0));
}

#[test]
fn a_file_that_cannot_be_read_is_one_error() {
    let folder = Folder::new("unreadable");
    let missing = load(&folder.path().join("missing.toml")).unwrap_err().to_string();
    assert!(missing.contains("missing.toml: error: cannot read the configuration: "), "{missing}");
    let latin1 = folder.write("latin1.toml", b"# ok\n# \xe4\n");
    assert_eq!(findings(&load(&latin1)), ["2:3 error: the file is not UTF-8 from here on"]);
}

#[test]
fn paths_are_relative_to_the_file() {
    let folder = Folder::new("relative");
    let file = folder.write("foobar.toml", "[host]\nrun_dir = 'run'\npin_dir = '/pins'\n");
    let host = load(&file).unwrap().config.host;
    assert_eq!(host.run_dir, folder.path().join("run"));
    assert_eq!(host.pin_dir, Path::new("/pins"));
    assert_eq!(host.state_dir, Path::new("/var/lib/foobar"));
}
