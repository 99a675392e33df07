//! CPU time of a keep-alive request through our balancer, Debian's Nginx and Debian's HAProxy. The proxy
//! has a core of its own; the load generator and the backends share the others. Runs are interleaved, so
//! that what else happens on the machine meets all alike.

use std::net::SocketAddr;
use std::process::Command;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};

use super::peers::{ANSWER_BYTES, HOST, PATH, Setting};
use super::process::{Running, free_address};
use super::report::Report;
use crate::packages::{self, Package, PackageRoot};
use crate::{build_ebpf, process, workspace};

const PACKAGES: [Package; 3] = [
    Package::new("nginx", "web server and proxy to compare with", &["nginx"]),
    Package::new("haproxy", "proxy to compare with", &["haproxy"]),
    Package::new("nghttp2-client", "load generator h2load", &["h2load"]),
];

/// The cipher suite that all negotiate, so that none encrypts more cheaply.
const CIPHER: &str = "TLS_AES_128_GCM_SHA256";
const CONNECTIONS: u32 = 32;
const PROXY_CORE: usize = 0;

/// How much is measured.
struct Volume {
    rounds: usize,
    requests: u32,
}

/// A proxy under test.
struct Candidate {
    name: String,
    address: SocketAddr,
    running: Running,
    microseconds: Vec<f64>,
}

pub(super) fn run(quick: bool) -> Result<Report> {
    let cores = thread::available_parallelism()?.get();
    ensure!(cores >= 2, "the proxy and the load need a core each, and this machine has one");
    let volume =
        if quick { Volume { rounds: 3, requests: 10_000 } } else { Volume { rounds: 9, requests: 40_000 } };
    build_ebpf::run()?;
    eprintln!("building the agent (release)");
    process::run(process::cargo().args(["build", "--quiet", "--release", "--package", "foobar-agent"]))?;
    let packages = packages::ensure(&PACKAGES)?;
    let folder = workspace::target().join(format!("bench-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let report = measure(&packages, folder.clone(), &volume, cores - 1);
    if report.is_ok() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    report
}

fn measure(
    packages: &PackageRoot,
    folder: std::path::PathBuf,
    volume: &Volume,
    load_core: usize,
) -> Result<Report> {
    // First made, last dropped: what it cleans up is in use until the programs below have ended.
    let setting = Setting::create(folder, [free_address()?, free_address()?])?;
    let mut backends = Vec::new();
    for (index, address) in setting.backends.iter().enumerate() {
        let mut command = packages.command("nginx");
        command.arg("-c").arg(setting.backend(index)?);
        backends.push(Running::start(
            &format!("backend{index}"),
            &command,
            load_core,
            *address,
            &setting.folder,
        )?);
    }
    let mut candidates = start(packages, &setting)?;
    for candidate in &candidates {
        load(packages, candidate.address, volume.requests / 10, load_core)?;
    }
    for round in 1..=volume.rounds {
        for candidate in &mut candidates {
            let before = candidate.running.cpu_time()?;
            load(packages, candidate.address, volume.requests, load_core)
                .with_context(|| format!("{} failed under load", candidate.name))?;
            let used = candidate.running.cpu_time()?.saturating_sub(before);
            let each = used.as_secs_f64() * 1e6 / f64::from(volume.requests);
            eprintln!("round {round} of {}: {:<24} {each:.2} µs", volume.rounds, candidate.name);
            candidate.microseconds.push(each);
        }
    }
    let method = format!(
        "HTTPS (TLS 1.3, {CIPHER}) keep-alive requests of HTTP/1.1, answers of {ANSWER_BYTES} B, {CONNECTIONS} connections, \
         two backends, one core;\n{} interleaved runs of {} requests; user and system time of all threads of the proxy",
        volume.rounds, volume.requests
    );
    let runs = candidates.into_iter().map(|candidate| (candidate.name, candidate.microseconds)).collect();
    Ok(Report::new("balancer", method, "µs of CPU a request", runs))
}

/// Starts the three proxies; ours first.
fn start(packages: &PackageRoot, setting: &Setting) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    let mut add = |name: String, label: &str, command: &Command, address: SocketAddr| -> Result<()> {
        let running = Running::start(label, command, PROXY_CORE, address, &setting.folder)?;
        candidates.push(Candidate { name, address, running, microseconds: Vec::new() });
        Ok(())
    };
    let address = free_address()?;
    let mut agent = Command::new(workspace::target().join("release/foobar-agent"));
    agent.args(["run", "--config"]).arg(setting.agent(address, free_address()?)?);
    add(format!("foobar {}", env!("CARGO_PKG_VERSION")), "foobar", &agent, address)?;

    let address = free_address()?;
    let mut nginx = packages.command("nginx");
    nginx.arg("-c").arg(setting.nginx_proxy(address)?);
    add(version(packages, "nginx", "nginx/")?, "nginx", &nginx, address)?;

    let address = free_address()?;
    let mut haproxy = packages.command("haproxy");
    haproxy.arg("-db").arg("-f").arg(setting.haproxy(address)?);
    add(version(packages, "haproxy", "HAProxy version ")?, "haproxy", &haproxy, address)?;
    Ok(candidates)
}

/// Sends `requests` and makes sure that each was answered as it should be.
fn load(packages: &PackageRoot, address: SocketAddr, requests: u32, core: usize) -> Result<()> {
    let h2load = packages.find("h2load").context("no h2load")?;
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", &core.to_string()])
        .arg(h2load)
        .args(["--h1", "--threads=1", &format!("--clients={CONNECTIONS}"), &format!("--requests={requests}")])
        .args([format!("--tls13-ciphers={CIPHER}"), format!("--connect-to={address}")])
        .arg(format!("https://{HOST}:{}{PATH}", address.port()));
    check_load(&process::output(&mut command)?, requests)
}

fn check_load(output: &str, requests: u32) -> Result<()> {
    let expected = [
        "TLS Protocol: TLSv1.3".to_owned(),
        format!("Cipher: {CIPHER}"),
        format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("status codes: {requests} 2xx"),
    ];
    for line in expected {
        ensure!(output.contains(&line), "h2load does not report \"{line}\" but:\n{output}");
    }
    Ok(())
}

/// Name and version of a program as it tells them itself.
fn version(packages: &PackageRoot, program: &str, before: &str) -> Result<String> {
    let output =
        packages.command(program).arg("-v").output().with_context(|| format!("cannot run {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let rest = text.split_once(before).map(|(_, rest)| rest).unwrap_or_default();
    let number = rest.split(|character: char| character != '.' && !character.is_ascii_digit()).next();
    Ok(format!("{program} {}", number.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_that_failed_spoils_the_run() {
        let good = "TLS Protocol: TLSv1.3\nCipher: TLS_AES_128_GCM_SHA256\n\
                    requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    status codes: 9 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert!(check_load(good, 9).is_ok());
        assert!(check_load(good, 10).is_err());
        assert!(check_load(&good.replace("0 errored", "1 errored"), 9).is_err());
        assert!(check_load(&good.replace("9 2xx", "8 2xx"), 9).is_err());
        assert!(check_load(&good.replace("TLSv1.3", "TLSv1.2"), 9).is_err());
    }
}
