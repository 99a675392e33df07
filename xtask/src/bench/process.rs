//! A program that runs while something is measured: started on one core, ended in every case, and the
//! CPU time that it and its children used.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running program; dropping it ends it.
pub(super) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` on `core`, with its output in `folder`, and waits until it accepts connections
    /// at `address`.
    pub(super) fn start(
        name: &str,
        command: &Command,
        core: usize,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        // setpriv lets the kernel end the program when we are killed; both become the program itself.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &core.to_string()])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot run setpriv (package util-linux)")?;
        let mut running = Self { name: name.to_owned(), child, log };
        running.wait_for(address)?;
        Ok(running)
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let exited = self.child.try_wait()?;
            if exited.is_some() || start.elapsed() > START_TIMEOUT {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let state = exited
                    .map_or_else(|| "is not listening".to_owned(), |status| format!("ended ({status})"));
                bail!("{} {state} at {address}; it said:\n{log}", self.name);
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// CPU time used so far by all threads of the program and of its children.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for process in family(self.child.id())? {
            total += threads_time(process)?;
        }
        Ok(total)
    }
}

impl Drop for Running {
    /// Asks first, so that a master process takes its workers with it.
    fn drop(&mut self) {
        let ask = format!("kill -TERM {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &ask]).stderr(Stdio::null()).status();
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(POLL_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and its descendants.
fn family(process: u32) -> Result<Vec<u32>> {
    let mut members = vec![process];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        for thread in threads(parent)? {
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            members.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    Ok(members)
}

/// The first field of `schedstat`: nanoseconds on a CPU. (`stat` counts in steps of 10 ms.)
fn threads_time(process: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in threads(process)? {
        let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
        let nanoseconds = text.split_whitespace().next().and_then(|field| field.parse().ok());
        total += Duration::from_nanos(nanoseconds.unwrap_or(0));
    }
    Ok(total)
}

fn threads(process: u32) -> Result<Vec<PathBuf>> {
    let tasks = format!("/proc/{process}/task");
    let entries =
        fs::read_dir(&tasks).with_context(|| format!("cannot list {tasks}: did the program end?"))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// An address of the loopback interface at which nothing listens.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work_and_counts_children() {
        let mut child = Command::new("sh")
            .args(["-c", "sh -c 'while :; do :; done' & trap 'kill $!' TERM; wait"])
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let total =
            || family(child.id()).unwrap().into_iter().map(|id| threads_time(id).unwrap()).sum::<Duration>();
        while total() < Duration::from_millis(50) {
            assert!(Instant::now() < deadline, "the child's CPU time is not seen");
            std::thread::yield_now();
        }
        assert_eq!(family(child.id()).unwrap().len(), 2);
        Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
        child.wait().unwrap();
    }
}
