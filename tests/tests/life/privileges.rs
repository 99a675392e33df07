//! What the agent's two processes may do, as the kernel says, and that all of the agent works all the same.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use foobar_tests::{Agent, Setting};

use super::processes::kernel_process;
use super::{Bench, LIMIT, RULES, agent_command, rule};

/// The user without any right, whom the agent becomes where there is no user `foobar`.
const NOBODY: u32 = 65_534;

/// Bits of linux/capability.h.
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// Fields of `/proc/PID/status`, of every thread of a process, which must agree.
fn status(id: u32) -> HashMap<String, String> {
    let of_thread = |path: PathBuf| -> HashMap<String, String> {
        let text = fs::read_to_string(path.join("status")).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let kept = [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
        ];
        let fields = lines.filter(|(name, _)| kept.contains(name));
        fields
            .map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect()
    };
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let mut each = threads.map(|thread| of_thread(thread.unwrap().path()));
    let first = each.next().unwrap();
    each.for_each(|other| assert_eq!(other, first));
    first
}

/// Whether a process is closed in: this user, these capabilities and never others, no new privileges.
fn expect_kept(id: u32, user: u32, capabilities: u64) {
    let status = status(id);
    let ids = [user; 4].map(|id| id.to_string()).join(" ");
    assert_eq!(
        (status["Uid"].as_str(), status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()),
        (ids.as_str(), "1", "2")
    );
    let mask = |field: &str| u64::from_str_radix(&status[field], 16).unwrap();
    for (field, expected) in
        [("CapPrm", capabilities), ("CapEff", capabilities), ("CapInh", 0), ("CapAmb", 0)]
    {
        assert_eq!(mask(field), expected, "{field} of {id}");
    }
}

/// What the kernel process keeps of root's.
const OF_THE_DATAPATH: u64 = DAC_READ_SEARCH | NET_BIND_SERVICE | NET_ADMIN | PERFMON | BPF;

/// An agent whose configuration lies in a folder that only root enters, and that folder.
fn start_in_roots_own<'a>(bench: &'a Bench, config: &str) -> (Agent<'a>, PathBuf) {
    let etc = bench.folder.join("etc");
    fs::create_dir(&etc).unwrap();
    fs::set_permissions(&etc, Permissions::from_mode(0o700)).unwrap();
    let setting = Setting { config: Some(etc.join("foobar.toml")), ..Setting::default() };
    (bench.start_set(setting, config), etc)
}

#[test]
fn both_processes_keep_only_what_they_need() {
    let bench = Bench::new();
    let agent = bench.start(RULES);
    let kernel = kernel_process(&agent);
    expect_kept(agent.id(), NOBODY, 0);
    expect_kept(kernel, 0, OF_THE_DATAPATH);
    assert_eq!(status(agent.id())["Groups"], "");
    assert_eq!(status(agent.id())["CapBnd"], "0000000000000000");
    assert_eq!(u64::from_str_radix(&status(kernel)["CapBnd"], 16).unwrap(), OF_THE_DATAPATH);
    assert!(
        agent.output().contains("privileges: user nobody, capabilities none, Landlock ABI "),
        "{}",
        agent.output()
    );

    let shown = agent.control(&["status", "--json"]).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["privileges"]["agent"]["user"], "nobody");
    assert_eq!(shown["privileges"]["agent"]["capabilities"], serde_json::json!([]));
    assert_eq!(shown["privileges"]["kernel"]["seccomp"], true);
    assert!(!bench.passes(81, 80));
}

#[test]
fn the_folders_are_roots_and_the_agent_writes_in_them() {
    let bench = Bench::new();
    // As an earlier version, run as root, has left them.
    let (run, state) = (bench.folder.join("run"), bench.folder.join("state"));
    for folder in [&run, &state] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(run.join("agent.lock"), "1\n").unwrap();
    fs::write(state.join("state.lock"), "1\n").unwrap();
    fs::write(state.join("interfaces.json"), "{}").unwrap();
    let agent = bench.start(RULES);
    for folder in [&run, &state] {
        let found = fs::metadata(folder).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777),
            (0, NOBODY, 0o1775),
            "{}",
            folder.display()
        );
    }
    let owner = |path: PathBuf| fs::symlink_metadata(path).unwrap().uid();
    assert_eq!(owner(state.join("interfaces.json")), NOBODY);
    assert!(
        fs::read_to_string(state.join("interfaces.json")).unwrap().contains("eth0"),
        "it was written anew"
    );
    assert_eq!((owner(state.join("state.lock")), owner(run.join("agent.lock"))), (0, 0));
    let socket = run.join("control.sock");
    assert_eq!((owner(socket.clone()), fs::metadata(&socket).unwrap().mode() & 0o777), (NOBODY, 0o660));
    assert!(agent.stop().unwrap().success());
    assert!(!socket.exists());
    assert_eq!(owner(state.join("datapath-v3.json")), 0);
}

/// A list of prefixes by which a rule is found.
fn with_list(path: &str) -> String {
    format!("{RULES}from = [\"@friends\"]\n[firewall.sets]\nfriends = {{ file = \"{path}\" }}\n")
}

#[test]
fn a_reload_reads_what_only_root_may_where_the_configuration_is_and_nowhere_else() {
    let bench = Bench::new();
    let (agent, etc) = start_in_roots_own(&bench, RULES);
    let refused = |list: &Path| {
        agent.write(&with_list(list.to_str().unwrap())).unwrap();
        let output = agent.control(&["reload"]).unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };

    // Anybody may read it, and still the agent does not: Landlock.
    let elsewhere = bench.folder.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let open = elsewhere.join("friends.txt");
    fs::write(&open, "198.51.100.7\n").unwrap();
    let remedy = "move the file there, or restart the agent with this configuration";
    let text = refused(&open);
    for words in ["reads as nobody", etc.to_str().unwrap(), remedy, "foobar.toml:"] {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
    let text = refused(Path::new("/etc/shadow"));
    assert!(text.contains(remedy), "{text}");
    fs::write(etc.join("real.txt"), "198.51.100.7\n").unwrap();
    std::os::unix::fs::symlink("/etc/shadow", etc.join("shadow.txt")).unwrap();
    let text = refused(Path::new("shadow.txt"));
    assert!(text.contains(remedy), "a link does not lead out: {text}");
    assert!(!bench.passes(81, 80), "nothing has changed");

    let own = etc.join("real.txt");
    fs::set_permissions(&own, Permissions::from_mode(0o600)).unwrap();
    agent.write(&with_list("real.txt")).unwrap();
    agent.reload().unwrap();
    assert!(bench.passes(80, 80));
    fs::write(&own, "198.51.100.8\n").unwrap();
    agent.reload().unwrap();
    let before = rule(&agent.metrics().unwrap(), "policy");
    bench.send(&bench.syn(80), 1);
    agent.metrics_until("others are refused", LIMIT, |now| rule(now, "policy") == before + 1).unwrap();
}

#[test]
fn a_reload_listens_on_low_ports_with_a_key_of_roots() {
    let bench = Bench::new();
    let (agent, etc) = start_in_roots_own(&bench, RULES);
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["www.foobar.com".to_owned()]).unwrap();
    fs::write(etc.join("cert.pem"), cert.pem()).unwrap();
    fs::write(etc.join("key.pem"), signing_key.serialize_pem()).unwrap();
    fs::set_permissions(etc.join("key.pem"), Permissions::from_mode(0o600)).unwrap();
    let balancer = "[balancer]\nhttp = [\"127.0.0.1:80\"]\nhttps = [\"127.0.0.1:443\"]\n[[balancer.certificates]]\n\
                    cert = \"cert.pem\"\nkey = \"key.pem\"\n[[balancer.sites]]\nhosts = [\"www.foobar.com\"]\n\
                    pool = \"web\"\n[[balancer.pools]]\nname = \"web\"\n[[balancer.pools.backends]]\n\
                    name = \"web1\"\naddress = \"127.0.0.1:8080\"\n[monitor]\nlisten = [\"127.0.0.1:9977\", \
                    \"127.0.0.1:97\"]\n";
    agent.write(&format!("{RULES}{balancer}")).unwrap();
    agent.reload().unwrap();
    for port in [80, 443, 97] {
        let connected = bench.host.enter(|| TcpStream::connect(("127.0.0.1", port))).unwrap();
        assert!(connected.is_ok(), "port {port}: {connected:?}");
    }
    expect_kept(agent.id(), NOBODY, 0);
}

#[test]
fn root_stays_root_without_capabilities_and_is_told() {
    let bench = Bench::new();
    let agent = bench.start_set(Setting { in_host: "user = \"root\"\n", ..Setting::default() }, RULES);
    expect_kept(agent.id(), 0, 0);
    assert!(agent.output().contains("the agent runs as root (host.user)"), "{}", agent.output());
}

#[test]
fn a_user_that_is_not_there() {
    let bench = Bench::new();
    let path = bench.folder.join("ann.toml");
    fs::write(
        &path,
        format!("{RULES}[host]\nuser = \"ann\"\nrun_dir = \"{}/run\"\n", bench.folder.display()),
    )
    .unwrap();
    let output = agent_command(&["run", "--config", path.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("host.user names \"ann\"") && text.contains("useradd"), "{text}");
}

/// As a service manager starts it that was told to: with ambient capabilities, and no root anywhere.
#[test]
fn without_root_the_kernel_process_alone_keeps_what_was_given() {
    let bench = Bench::new();
    let pins = bench.folder.join("bpf/foobar");
    fs::create_dir(&pins).unwrap();
    chown(&pins, Some(NOBODY), Some(NOBODY)).unwrap();
    for folder in ["run", "state"].map(|name| bench.folder.join(name)) {
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let capabilities = "+bpf,+perfmon,+net_admin,+net_bind_service";
    let (inherited, ambient) =
        (format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}"));
    let prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &inherited, &ambient];
    // Twice: the second one finds the first one's pins.
    for _ in 0..2 {
        let agent = bench.start_set(Setting { prefix: &prefix, ..Setting::default() }, RULES);
        expect_kept(agent.id(), NOBODY, 0);
        expect_kept(kernel_process(&agent), NOBODY, BPF | PERFMON | NET_ADMIN | NET_BIND_SERVICE);
        assert!(bench.has_program() && !bench.passes(81, 80));
        agent.write(&RULES.replace("port = 80", "port = 81")).unwrap();
        agent.reload().unwrap();
        assert!(bench.passes(81, 81) && !bench.passes(80, 81));
        assert!(agent.stop().unwrap().success());
    }
}
