//! Starts that must fail: with what is wrong and what to do, with the right exit code, and without
//! leaving anything behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;

use foobar_tests::{Agent, agent};

use super::{Bench, Failed, RULES};

/// The user without any right.
const NOBODY: u32 = 65_534;

/// Why, by exit code and by words of the message.
fn expect(failed: &Failed, code: i32, words: &[&str]) {
    assert_eq!(failed.code, Some(code), "{}", failed.output);
    for word in words {
        assert!(failed.output.contains(word), "no {word:?} in:\n{}", failed.output);
    }
    assert!(!failed.output.contains("panicked"), "{}", failed.output);
}

/// Nothing on the interface, no pin, no socket.
fn expect_nothing_left(bench: &Bench, pin_dir: &str, run_dir: &Path) {
    assert!(!bench.has_program());
    assert!(bench.pins(pin_dir).is_empty());
    assert!(!run_dir.join("control.sock").exists());
}

#[test]
fn a_port_in_use() {
    let bench = Bench::new();
    let folder = bench.other_folder();
    let _taken = bench.host.enter(|| TcpListener::bind("127.0.0.1:9977")).unwrap().unwrap();
    expect(&bench.fail(&[], &folder, RULES, &[]), 3, &["127.0.0.1:9977", "in use"]);
    expect_nothing_left(&bench, "other", &folder.join("run"));
}

#[test]
fn a_missing_interface_under_strict() {
    let bench = Bench::new();
    let folder = bench.other_folder();
    let absent = RULES.replace("[\"eth0\"]", "[\"eth0\", \"eth7\"]");
    expect(&bench.fail(&[], &folder, &absent, &["--strict"]), 3, &["eth7", "--strict"]);
    expect_nothing_left(&bench, "other", &folder.join("run"));
}

#[test]
fn a_bad_certificate() {
    let bench = Bench::new();
    let folder = bench.other_folder();
    fs::write(folder.join("bad.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let balancer = "[balancer]\nhttps = [\"127.0.0.1:443\"]\n[[balancer.certificates]]\ncert = \"bad.pem\"\nkey = \
                    \"bad.pem\"\n[[balancer.sites]]\nhosts = [\"www.foobar.com\"]\npool = \"web\"\n\
                    [[balancer.pools]]\nname = \"web\"\n[[balancer.pools.backends]]\nname = \"web1\"\naddress = \
                    \"192.0.2.11:80\"\n";
    let failed = bench.fail(&[], &folder, &format!("{RULES}{balancer}"), &[]);
    expect(&failed, 3, &["bad.pem"]);
    expect_nothing_left(&bench, "other", &folder.join("run"));
}

#[test]
fn a_missing_capability() {
    let bench = Bench::new();
    let folder = bench.other_folder();
    // The folders are the user's, so that the capability is what is missing.
    for part in ["run", "state"] {
        fs::create_dir(folder.join(part)).unwrap();
        chown(folder.join(part), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let root_in_a_container = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin,-net_admin"];
    for prefix in [&nobody[..], &root_in_a_container] {
        let failed = bench.fail(prefix, &folder, RULES, &[]);
        expect(&failed, 3, &["missing CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN", "run as root"]);
        expect_nothing_left(&bench, "other", &folder.join("run"));
    }
}

#[test]
fn a_broken_configuration() {
    let bench = Bench::new();
    let folder = bench.other_folder();
    let broken = RULES.replace("port = 80", "prot = 80");
    expect(&bench.fail(&[], &folder, &broken, &[]), 1, &["failing.toml:9:1: error: ", "prot"]);
    expect_nothing_left(&bench, "other", &folder.join("run"));
}

#[test]
fn pins_in_a_folder_that_could_not_hold_them() {
    let bench = Bench::new();
    let folder = bench.other_folder();
    // The harness puts them below the agent's folder, where no BPF file system is mounted here.
    let binary = agent::binary().unwrap();
    let error = Agent::start_in(&binary, &bench.host, &folder, None, RULES).unwrap_err().to_string();
    assert!(error.contains("is not on a BPF file system") && error.contains("mount -t bpf"), "{error}");
    assert!(!bench.has_program());
}

#[test]
fn a_second_agent_with_the_same_folders() {
    let bench = Bench::new();
    let mut agent = bench.start(RULES);
    let before = bench.pins("foobar");
    let failed = second(&bench, &agent);
    expect(&failed, 3, &["another agent runs with", &agent.id().to_string()]);
    assert_eq!(bench.pins("foobar"), before);
    agent.process().expect_running().unwrap();
    assert!(bench.has_program() && !bench.passes(81, 80) && bench.passes(80, 80));
}

/// The same configuration file once more.
fn second(bench: &Bench, agent: &Agent<'_>) -> Failed {
    let mut command = bench.host.command(agent.binary()).unwrap();
    command.args(["run", "--config"]).arg(agent.config());
    bench.run_to_end(command)
}

/// What an earlier agent left in force stays in force, also on an interface that the new configuration
/// does not name.
#[test]
fn a_failed_start_takes_nothing_off_that_it_did_not_put_on() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let path = agent.config().to_owned();
    assert!(agent.stop().unwrap().success());
    let other = fs::read_to_string(&path).unwrap().replace("[\"eth0\"]", "[\"eth7\"]");
    fs::write(&path, other).unwrap();
    let mut command = bench.host.command(agent::binary().unwrap()).unwrap();
    command.args(["run", "--strict", "--config"]).arg(&path);
    expect(&bench.run_to_end(command), 3, &["eth7", "--strict"]);
    assert!(bench.has_program() && !bench.passes(81, 80) && bench.passes(80, 80));
}

/// Another agent's datapath is named, and stays.
#[test]
fn the_datapath_of_another_agent() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let folder = bench.other_folder();
    let config = RULES.replace("\"drop\"", "\"allow\"");
    let config = format!("{config}[monitor]\nlisten = [\"127.0.0.1:9978\"]\n");
    let failed = bench.fail(&[], &folder, &config, &[]);
    expect(&failed, 3, &["eth0 already has the datapath of another foobar-agent", "foobar-agent detach"]);
    assert!(bench.pins("other").is_empty());
    assert!(!bench.passes(81, 80), "the first one's policy is in force");
    drop(agent);
    // It outlives its agent, and stays foreign.
    expect(
        &bench.fail(&[], &folder, &config, &[]),
        3,
        &["eth0 already has the datapath of another foobar-agent"],
    );
    assert!(!bench.passes(81, 80));
}
