//! Bans outlast the agent, however it ends, and a reboot; and they end on time without it.

use std::fs;

use foobar_tests::wait;

use super::{CLIENT, LIMIT, RULES, Site, ask, banned, list};

#[test]
fn bans_outlast_a_kill_and_a_reboot() {
    let site = Site::new();
    let mut agent = site.start(RULES);
    ask(&agent, &["ban", "add", CLIENT[0], "--for", "1h", "--reason", "kept"]);
    ask(&agent, &["ban", "add", "2001:db8::/64", "198.51.100.0/24"]);
    ask(&agent, &["ban", "add", "198.51.100.7"]);
    ask(&agent, &["ban", "remove", "198.51.100.7"]);
    let all = ["198.51.100.0/24", "2001:db8::/64", CLIENT[0]];
    assert!(!site.reaches(0) && !site.reaches(1));
    let before = list(&agent);
    agent.process().kill().unwrap();
    drop(agent);
    assert!(!site.reaches(0) && !site.reaches(1));

    let mut agent = site.start(RULES);
    assert_eq!(banned(&agent), all);
    for (now, then) in list(&agent).iter().zip(&before) {
        assert_eq!((&now["text"], &now["since_seconds"]), (&then["text"], &then["since_seconds"]));
        assert!(now["packets"].as_u64() >= then["packets"].as_u64(), "{now} {then}");
    }
    assert!(!site.reaches(0) && !site.reaches(1));
    agent.process().kill().unwrap();
    drop(agent);

    // What a reboot leaves: the files, and no pin, which takes links off interfaces.
    fs::remove_dir_all(site.folder.join("bpf/foobar")).unwrap();
    wait::until("nothing is judged", LIMIT, || Ok((site.reaches(0) && site.reaches(1)).then_some(())))
        .unwrap();
    let agent = site.start(RULES);
    assert_eq!(banned(&agent), all);
    let kept = list(&agent).into_iter().find(|ban| ban["subject"] == CLIENT[0]).unwrap();
    assert_eq!((kept["text"].as_str(), kept["packets"].as_u64()), (Some("kept"), Some(0)));
    assert!(kept["left_seconds"].as_f64().unwrap() <= 3600.0, "{kept}");
    assert!(!site.reaches(0) && !site.reaches(1));
    assert!(agent.stop().unwrap().success());
}

#[test]
fn a_ban_ends_with_no_agent_to_end_it() {
    let site = Site::new();
    let mut agent = site.start(RULES);
    ask(&agent, &["ban", "add", CLIENT[0], "--for", "5s"]);
    ask(&agent, &["ban", "add", "2001:db8::/64", "--for", "5s"]);
    assert!(!site.reaches(0) && !site.reaches(1));
    agent.process().kill().unwrap();
    drop(agent);
    wait::until("both have ended", LIMIT, || Ok((site.reaches(0) && site.reaches(1)).then_some(()))).unwrap();
    let agent = site.start(RULES);
    assert_eq!(banned(&agent), [] as [&str; 0]);
}

#[test]
fn a_torn_line_is_no_error_and_a_damaged_file_is_kept_aside() {
    let site = Site::new();
    let agent = site.start(RULES);
    ask(&agent, &["ban", "add", CLIENT[0]]);
    assert!(agent.stop().unwrap().success());
    let file = site.folder.join("state/bans.jsonl");
    let reboot = || fs::remove_dir_all(site.folder.join("bpf/foobar")).unwrap();
    let written = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{written}{{\"ban\":{{\"subj")).unwrap();
    reboot();
    let agent = site.start(RULES);
    assert_eq!(banned(&agent), [CLIENT[0]]);
    assert!(!agent.output().contains("bans.jsonl"), "{}", agent.output());
    ask(&agent, &["ban", "add", "198.51.100.7"]);
    assert!(agent.stop().unwrap().success());

    let written = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("nonsense\n{written}")).unwrap();
    reboot();
    let agent = site.start(RULES);
    assert_eq!(banned(&agent), [CLIENT[0], "198.51.100.7"]);
    assert!(agent.output().contains("1 of its lines are no bans"), "{}", agent.output());
    let aside = fs::read_to_string(site.folder.join("state/bans.damaged.jsonl")).unwrap();
    assert!(aside.starts_with("nonsense\n"));
    assert!(agent.stop().unwrap().success());
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}
