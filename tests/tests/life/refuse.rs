//! Starts that must fail: with what is wrong and what to do, with the right exit code, and without
//! leaving anything behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;

use foobar_ebpf::abi::DATAPATH_VERSION;
use foobar_tests::{Agent, agent};

use super::{Bench, Failed, LIMIT, RULES, agent_command, rule};

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

/// What is left in the folders of an agent, as its first version would have left it.
fn become_the_first_version(bench: &Bench) {
    let (pins, state) = (bench.folder.join("bpf/foobar"), bench.folder.join("state"));
    fs::rename(pins.join(format!("datapath-v{DATAPATH_VERSION}")), pins.join("datapath-v1")).unwrap();
    let ours = state.join(format!("datapath-v{DATAPATH_VERSION}.json"));
    fs::rename(ours, state.join("datapath.json")).unwrap();
}

/// It goes on judging with its counts until somebody removes it, and the refusal says how.
#[test]
fn the_datapath_of_another_version() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    bench.send(&bench.syn(80), 3);
    agent.metrics_until("all are counted", LIMIT, |now| rule(now, "web") == 3).unwrap();
    // What a generation counted is in the ledger when the next one judges.
    agent.write(&RULES.replace("default", "mode = \"auto\"\ndefault")).unwrap();
    agent.reload().unwrap();
    let path = agent.config().to_owned();
    assert!(agent.stop().unwrap().success());
    become_the_first_version(&bench);
    let state = bench.folder.join("state");
    let (pins, ledger) = (bench.pins("foobar"), fs::read(state.join("datapath.json")).unwrap());
    assert!(String::from_utf8_lossy(&ledger).contains("\"web\":{\"packets\":3,"));

    let mut command = bench.host.command(agent::binary().unwrap()).unwrap();
    command.args(["run", "--config"]).arg(&path);
    let failed = bench.run_to_end(command);
    let words =
        ["another version", "foobar/datapath-v1/links/", "foobar-agent detach", "nothing is judged on eth0"];
    expect(&failed, 3, &words);
    assert!(!failed.output.contains("another host.pin_dir"), "{}", failed.output);
    assert_eq!(bench.pins("foobar"), pins);
    assert_eq!(fs::read(state.join("datapath.json")).unwrap(), ledger);
    assert!(!state.join(format!("datapath-v{DATAPATH_VERSION}.json")).exists());
    assert!(!bench.passes(81, 80) && bench.passes(80, 80));

    let detach = agent_command(&["detach", "--config", path.to_str().unwrap()]).output().unwrap();
    assert!(detach.status.success(), "{}", String::from_utf8_lossy(&detach.stderr));
    assert!(!bench.has_program() && bench.pins("foobar").is_empty() && bench.passes(81, 80));
    assert!(!state.join("datapath.json").exists());
    let agent = bench.start(RULES);
    assert!(bench.has_program() && !bench.passes(81, 80));
    assert_eq!(rule(&agent.metrics().unwrap(), "web"), 1, "one by `passes`");
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
