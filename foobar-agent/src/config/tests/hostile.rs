//! Files that nobody would write by hand: the reader answers, in time and in memory that follow
//! their size. Nothing here is timed: what would be quadratic would not end.

use std::fmt::Write as _;

use super::*;

/// A firewall with one rule whose `from` is this.
fn from(list: &str) -> String {
    format!("[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'drop'\nfrom = {list}\n")
}

fn errors(text: &str) -> Diagnostics {
    read_text(text).unwrap_err()
}

#[test]
fn nesting_ends_where_it_is_no_use() {
    let depth = 50_000;
    for text in [
        format!("{}a = 1\n", "a.".repeat(depth)),
        format!("[{}a]\n", "a.".repeat(depth)),
        format!("a = {}{}\n", "[".repeat(depth), "]".repeat(depth)),
        format!("a = {}1{}\n", "{ a = ".repeat(depth), " }".repeat(depth)),
        format!("a = {}\n", "[".repeat(depth)),
        "[[a]]\n[a.a]\n".repeat(depth / 100),
    ] {
        assert!(!errors(&text).is_empty(), "{}", &text[..20]);
    }
}

#[test]
fn as_many_errors_as_bytes_are_summed_up() {
    for text in ["\r".repeat(50_000), "[\n".repeat(50_000), "a = 1\n".repeat(20_000), "\0".repeat(50_000)] {
        let errors = errors(&text);
        assert!(errors.len() <= 10_001, "{}", errors.len());
        assert!(errors.iter().all(|error| error.hint.as_ref().is_none_or(|hint| hint.len() < 300)));
    }
    let listed = errors(&"a = 1\n".repeat(20_000));
    let whole = listed.iter().next().unwrap();
    assert_eq!((whole.line, whole.message.as_str()), (0, "9999 more errors are not listed"));
}

#[test]
fn far_behind_the_first_error_the_end_is_not_blamed() {
    // The cut falls into the list, which a reader of the first part only would find open.
    let list = "'192.0.2.1',\n".repeat(200_000);
    let text = format!("[firewall]\ndefault = drop\ninterfaces = [{list}]\n");
    assert_eq!(
        findings(&read_text(&text)),
        ["2:11 error: string values must be quoted, expected literal string"]
    );
}

#[test]
fn a_line_may_be_the_whole_file() {
    let list: Vec<String> = (0..100_000).map(|number| format!("'x{number}'")).collect();
    let errors = errors(&from(&format!("[{}]", list.join(","))));
    let last = errors.iter().last().unwrap();
    assert_eq!((last.line, last.message.as_str()), (6, "`x9999` is neither an address nor a prefix"));
    // 9 characters before the list, and `'x0',` to `'x9998',` before the last that is listed.
    assert_eq!(last.column, 9 + 10 * 5 + 90 * 6 + 900 * 7 + 8_999 * 8);
    assert_eq!(last.excerpt, None);
}

#[test]
fn columns_are_characters_also_far_along_a_line() {
    let words = "'ä', ".repeat(3000);
    let errors = errors(&from(&format!("[{words}'192.0.2.256']")));
    let last = errors.iter().last().unwrap();
    assert_eq!((last.column, errors.len()), (9 + 3000 * 5, 3001));
}

#[test]
fn unknown_names_beside_many_known_ones() {
    let mut text = "[firewall]\ndefault = 'allow'\n[firewall.sets]\n".to_owned();
    for number in 0..12_000 {
        writeln!(text, "set-{number} = []").unwrap();
    }
    for number in 0..12_000 {
        write!(text, "[[firewall.rules]]\nname = 'r{number}'\naction = 'drop'\nfrom = '@sat-{number}'\n")
            .unwrap();
    }
    let errors = errors(&text);
    assert_eq!(errors.len(), 10_001);
    let hint = errors.iter().nth(1).and_then(|error| error.hint.clone());
    assert_eq!(hint.as_deref(), Some("did you mean `set-0`?"));
}

#[test]
fn a_thousand_rules_with_one_large_set_hold_it_once() {
    let folder = Folder::new("large-set");
    let list: Vec<String> = (0..50_000u32).map(|n| std::net::Ipv4Addr::from(n * 2).to_string()).collect();
    folder.write("list.txt", list.join("\n"));
    let mut text = "[firewall]\ndefault = 'allow'\n[firewall.sets]\na = { file = 'list.txt' }\n".to_owned();
    for number in 0..1000 {
        let from = if number % 2 == 0 { "'@a'" } else { "['@a', '203.0.113.0/24']" };
        write!(text, "[[firewall.rules]]\nname = 'r{number}'\naction = 'drop'\nfrom = {from}\n").unwrap();
    }
    let rules = read_text_in(folder.path(), &text).unwrap().config.firewall.ruleset.unwrap().rules;
    let distinct: std::collections::BTreeSet<_> =
        rules.iter().map(|rule| std::sync::Arc::as_ptr(rule.from.as_ref().unwrap())).collect();
    assert_eq!(distinct.len(), 2);
}

#[test]
fn a_chain_of_sets_is_put_together_only_where_it_is_asked_for() {
    let mut text = from("'@s0'") + "[firewall.sets]\n";
    for index in 0..20_000u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + index * 2);
        writeln!(text, "s{index} = ['@s{}', '{address}']", index + 1).unwrap();
    }
    text.push_str("s20000 = ['2001:db8::/32']\n");
    let loaded = read_text(&text).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let rules = loaded.config.firewall.ruleset.unwrap().rules;
    assert_eq!(rules[0].from.as_ref().unwrap().ranges().len(), 20_001);
}

#[test]
fn numbers_of_any_size_are_out_of_range() {
    let huge = "9".repeat(100_000);
    for keys in [
        format!("protocol = {huge}"),
        format!("protocol = 'tcp'\nport = {huge}"),
        format!("protocol = 'tcp'\nport = '{huge}'"),
        format!("protocol = 'tcp'\nport = '1-{huge}'"),
        format!("protocol = 'icmp'\nicmp_type = '{huge}/{huge}'"),
        format!("protocol = 'icmp'\nicmp_type = -{huge}"),
        format!("from = '192.0.2.1/{huge}'"),
        format!("from = '{huge}.0.0.1'"),
        "protocol = 0xffff_ffff_ffff_ffff_ffff".to_owned(),
        "protocol = 1e400".to_owned(),
    ] {
        let text = format!(
            "[firewall]\ndefault = 'allow'\n[[firewall.rules]]\nname = 'r'\naction = 'drop'\n{keys}\n"
        );
        let errors = errors(&text);
        assert!(errors.iter().all(|error| error.message.chars().count() < 250), "{errors}");
    }
}

#[test]
fn what_is_invisible_is_made_visible() {
    let errors = errors(&from("'192.0.2.1\u{202e}\u{200b}'"));
    let error = errors.iter().next().unwrap();
    assert_eq!(error.message, "`192.0.2.1\\u{202e}\\u{200b}` is neither an address nor a prefix");
    assert_eq!(error.excerpt.as_ref().unwrap().text, "from = '192.0.2.1  '");
}

#[test]
fn tables_in_any_notation_are_the_same_rules() {
    let tables = "[firewall]\ndefault = 'drop'\n[[firewall.rules]]\nname = 'a'\naction = 'allow'\nprotocol = 'tcp'\n\
                  port = [80, 443]\n";
    let inline = "firewall = { default = 'drop', rules = [{ name = 'a', action = 'allow', protocol = 'tcp', \
                  port = [80, 443] }] }\n";
    let dotted = "firewall.default = \"drop\"\n[[firewall.rules]]\n\"name\" = '''a'''\naction = \"\\u0061llow\"\n\
                  'protocol' = 0x06\nport = [0b1010000, 4_43]\n";
    let rules = |text: &str| {
        let ruleset = read_text(text)
            .unwrap_or_else(|errors| panic!("{text}\n{errors}"))
            .config
            .firewall
            .ruleset
            .unwrap();
        let lines: Vec<u32> = ruleset.rules.iter().map(|rule| rule.line).collect();
        let rules: Vec<_> = ruleset
            .rules
            .into_iter()
            .map(|mut rule| {
                rule.line = 0;
                rule
            })
            .collect();
        (rules, lines)
    };
    assert_eq!(rules(tables).0, rules(inline).0);
    assert_eq!(rules(tables).0, rules(dotted).0);
    assert_eq!((rules(tables).1, rules(inline).1, rules(dotted).1), (vec![3], vec![1], vec![2]));
    let marked = format!("\u{feff}{tables}");
    assert_eq!(rules(&marked).0, rules(tables).0);
}

#[test]
fn a_file_larger_than_any_configuration_is_refused() {
    let folder = Folder::new("huge");
    let path = folder.write("foobar.toml", "");
    std::fs::File::options().write(true).open(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    let errors = load(&path).unwrap_err().to_string();
    assert!(errors.contains("has more than 67108864 bytes"), "{errors}");
}
