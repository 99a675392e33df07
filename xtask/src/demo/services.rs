//! What a web infrastructure runs besides us: a name server, web servers, an application. All real.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use foobar_tests::{Host, Process, http, wait};

use super::plan::{self, BALANCER, Net, SITE, SSH_PORT, Server, WEB_PORT};
use crate::packages::{self, Package, PackageRoot};

const START_LIMIT: Duration = Duration::from_secs(20);

/// Size of the page that Nginx sends slowly, over about two seconds.
pub(crate) const SLOW_BYTES: usize = 500_000;

const PACKAGES: [Package; 5] = [
    Package::new("dnsmasq-base", "the demo's name server", &["dnsmasq"]),
    Package::new("nginx", "the demo's web servers", &["nginx"]),
    Package::new("gunicorn", "the demo's application server", &["gunicorn"]),
    Package::new("curl", "the demo's client", &["curl"]),
    Package::alone("prometheus", "promtool checks the metrics", &["promtool"]),
];

/// Fetches the programs that this machine lacks.
pub(crate) fn fetch() -> Result<PackageRoot> {
    packages::ensure(&PACKAGES)
}

/// dnsmasq, knowing the balancer's addresses and the site's name as an alias of the balancer's.
pub(crate) fn start_dns(host: &Host, programs: &PackageRoot, folder: &Path) -> Result<Process> {
    let [v4, v6] = Net::Front.addresses(plan::LB);
    let mut command = programs.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        "--group=root",
    ]);
    command.args(["--no-resolv", "--no-hosts", "--log-queries", "--log-facility=-"]);
    command.arg(format!("--host-record={BALANCER},{v4},{v6}"));
    command.arg(format!("--cname={SITE},{BALANCER}"));
    host.confine(&mut command)?;
    Process::spawn("dnsmasq", command, &folder.join("dnsmasq.log"))
}

/// A server host's services.
#[derive(Debug)]
pub(crate) struct Web<'a> {
    pub(crate) server: Server,
    pub(crate) host: &'a Host,
    folder: PathBuf,
    programs: &'a PackageRoot,
    /// Absent while the web server is down.
    nginx: Option<Process>,
    _application: Process,
    /// Connections are accepted by the kernel and nobody speaks: enough to see who gets this far.
    _ssh: [TcpListener; 2],
}

impl<'a> Web<'a> {
    /// Starts all and waits until the application answers through the web server.
    pub(crate) fn start(
        server: Server,
        host: &'a Host,
        programs: &'a PackageRoot,
        folder: &Path,
    ) -> Result<Self> {
        for name in ["html", "tmp", "cache"] {
            create(&folder.join(name))?;
        }
        let index = include_str!("files/index.html").replace("{host}", server.name);
        write(&folder.join("html/index.html"), &index)?;
        write(&folder.join("html/slow"), &"slow\n".repeat(SLOW_BYTES / 5))?;
        write(&folder.join("nginx.conf"), include_str!("files/nginx.conf"))?;
        write(&folder.join("app.py"), include_str!("files/app.py"))?;

        let mut gunicorn = programs.command("gunicorn");
        gunicorn.args(["--bind", "127.0.0.1:8000", "--workers", "1", "--keep-alive", "60"]);
        gunicorn.arg("--worker-tmp-dir").arg(folder.join("tmp")).arg("--chdir").arg(folder).arg("app:app");
        gunicorn.env("DEMO_HOST", server.name).env("PYTHONDONTWRITEBYTECODE", "1");
        let application = Process::spawn_family("gunicorn", host, &gunicorn, &folder.join("gunicorn.log"))?;

        let [v4, v6] = server.sockets(SSH_PORT);
        let listen = |address| {
            host.enter(move || TcpListener::bind(address))?
                .with_context(|| format!("{}: cannot listen on {address}", server.name))
        };
        let ssh = [listen(v4)?, listen(v6)?];
        let folder = folder.to_owned();
        let mut web =
            Self { server, host, folder, programs, nginx: None, _application: application, _ssh: ssh };
        web.start_nginx()?;
        Ok(web)
    }

    /// Starts the web server and waits until the application answers through it.
    pub(crate) fn start_nginx(&mut self) -> Result<()> {
        let mut command = self.programs.command("nginx");
        command.arg("-p").arg(&self.folder).args(["-c", "nginx.conf", "-e", "nginx.error.log"]);
        let log = self.folder.join("nginx.log");
        let nginx = self.nginx.insert(Process::spawn_family("nginx", self.host, &command, &log)?);
        let what = format!("the application of {} answers", self.server.name);
        wait::until(&what, START_LIMIT, || {
            nginx.expect_running()?;
            let answer = http::get(self.host, ([127, 0, 0, 1], WEB_PORT).into(), "/app");
            Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
    }

    /// Kills the web server as a crash would: no connection is shut down in an orderly way.
    pub(crate) fn kill_nginx(&mut self) -> Result<()> {
        self.nginx.take().map_or(Ok(()), |mut nginx| nginx.kill())
    }

    /// The lines of the access log, except our own readiness checks on the loopback.
    pub(crate) fn access_log(&self) -> Result<Vec<String>> {
        let path = self.folder.join("access.log");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().filter(|line| !line.starts_with("127.0.0.1 ")).map(str::to_owned).collect())
    }
}

pub(crate) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
