//! Asks apt which packages are missing on this machine, and fetches them as a file each. Never
//! installs, and never changes the machine's own package lists: where those are empty or out of date,
//! a second set of lists is kept below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Package, on_path};

/// Never unpacked: the dynamic loader of the machine works only with its own C library.
const MACHINE_ONLY: [&str; 2] = ["libc6", "libc-bin"];

/// The keys of all of Debian's releases, where the machine has them; else apt tries those it trusts.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package file that is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Archive {
    name: String,
    version: String,
}

/// Which package lists apt reads: the machine's, or our own copy.
pub(super) struct Lists {
    options: Vec<String>,
}

impl Lists {
    pub(super) fn system() -> Self {
        Self { options: Vec::new() }
    }

    /// Fetches the lists of the machine's package sources into a folder of ours, unless that was just
    /// done. A source that fails is not fatal: what counts is whether the packages are found then.
    pub(super) fn fetch(base: &Path) -> Result<Self> {
        Self::fetch_into(base, "the package lists (the machine's own are missing or out of date)", Vec::new())
    }

    /// Fetches the lists of a release of Debian into a folder of ours, from the mirror from which the
    /// machine has its own.
    pub(super) fn of_release(base: &Path, release: &str) -> Result<Self> {
        let folder = base.join("releases").join(release);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let keyring = Some(Path::new(KEYRING)).filter(|path| path.is_file());
        let sources = folder.join("sources.list");
        fs::write(&sources, super::release::source(&mirror()?, release, keyring))
            .with_context(|| format!("cannot write {}", sources.display()))?;
        let options = vec![
            format!("-oDir::Etc::SourceList={}", sources.display()),
            "-oDir::Etc::SourceParts=-".to_owned(),
        ];
        Self::fetch_into(&folder, &format!("the package lists of Debian's {release}"), options)
    }

    fn fetch_into(base: &Path, what: &str, mut options: Vec<String>) -> Result<Self> {
        let (lists, cache) = (base.join("lists"), base.join("cache"));
        for folder in [lists.join("partial"), cache.join("archives/partial")] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        options.push(format!("-oDir::State::Lists={}", lists.display()));
        options.push(format!("-oDir::Cache={}", cache.display()));
        let fetched = Self { options };
        let stamp = base.join("lists-fetched");
        if is_recent(&stamp) {
            return Ok(fetched);
        }
        eprintln!("  fetching {what}");
        match run(fetched.command("apt-get").arg("update")) {
            Ok(_) => fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))?,
            Err(error) => eprintln!("  {error:#}"),
        }
        Ok(fetched)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        // As root apt would fetch as the user `_apt`, who may not write into this workspace.
        command.args(["-q", "-oAPT::Sandbox::User=root", "-oDebug::NoLocking=1"]).args(&self.options);
        command
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        run(self.command("apt-cache").args(["show", "--no-all-versions", name])).is_ok()
    }

    /// The names that begin so, of packages that can be fetched.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = run(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().filter(|name| self.knows(name)).map(str::to_owned).collect())
    }

    /// Fetches one package by its name, without what it depends on.
    pub(super) fn download(&self, name: &str, downloads: &Path) -> Result<PathBuf> {
        run(self.command("apt-get").args(["download", name]).current_dir(downloads))?;
        let files = packages_in(downloads)?;
        files.into_iter().next().with_context(|| format!("apt-get download {name} left no file"))
    }

    /// What an installation of `packages` would add to this machine.
    fn missing(&self, packages: &[Package]) -> Result<Vec<Archive>> {
        let (whole, alone): (Vec<&Package>, Vec<&Package>) =
            packages.iter().partition(|package| package.dependencies);
        let mut archives = Vec::new();
        if !whole.is_empty() {
            archives = self.simulate(whole.iter().map(|package| package.name))?;
        }
        for package in alone {
            let own = self.simulate([package.name])?.into_iter().find(|archive| archive.name == package.name);
            archives.extend(own.filter(|archive| !archives.contains(archive)));
        }
        archives.retain(|archive| !MACHINE_ONLY.contains(&archive.name.as_str()));
        Ok(archives)
    }

    fn simulate<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Archive>> {
        let mut command = self.command("apt-get");
        command.args(["install", "--simulate", "--assume-yes", "--no-install-recommends"]).args(names);
        Ok(run(&mut command)?.lines().filter_map(parse_simulated).collect())
    }
}

/// Whether a file was written within the last hour, in which package sources hardly change.
fn is_recent(stamp: &Path) -> bool {
    let written = fs::metadata(stamp).and_then(|data| data.modified());
    written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < Duration::from_hours(1)))
}

pub(super) fn is_present() -> bool {
    ["apt-get", "apt-cache", "dpkg-deb"].iter().all(|program| on_path(program).is_some())
}

/// Fetches what `packages` lack on this machine into `downloads`; returns the files.
pub(super) fn download(packages: &[Package], base: &Path, downloads: &Path) -> Result<Vec<PathBuf>> {
    let lists = Lists::system();
    let first = lists.missing(packages).and_then(|archives| fetch(&lists, packages, &archives, downloads));
    first.or_else(|_| {
        let lists = Lists::fetch(base)?;
        let archives = lists.missing(packages)?;
        fetch(&lists, packages, &archives, downloads)
    })
}

fn fetch(
    lists: &Lists,
    packages: &[Package],
    archives: &[Archive],
    downloads: &Path,
) -> Result<Vec<PathBuf>> {
    if archives.is_empty() {
        return Ok(Vec::new());
    }
    let mut others = 0;
    for archive in archives {
        match packages.iter().find(|package| package.name == archive.name) {
            Some(package) => {
                eprintln!("  fetching {} {} ({})", archive.name, archive.upstream(), package.purpose);
            }
            None => others += 1,
        }
    }
    if others > 0 {
        eprintln!("  fetching {others} packages that these depend on");
    }
    let names = archives.iter().map(|archive| format!("{}={}", archive.name, archive.version));
    run(lists.command("apt-get").arg("download").args(names).current_dir(downloads))?;
    let files = packages_in(downloads)?;
    ensure!(
        files.len() == archives.len(),
        "apt-get download left {} files where {} were expected",
        files.len(),
        archives.len()
    );
    Ok(files)
}

/// The package files in a folder.
fn packages_in(downloads: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(downloads)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where the machine's own sources have Debian's packages from.
fn mirror() -> Result<String> {
    let lists = Lists::system();
    let mut command = lists.command("apt-get");
    let sources = run(command.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI)"]))?;
    // By convention the archive lies below /debian; security updates and others lie beside it.
    let mirror = sources.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    mirror.map(str::to_owned).context(
        "apt's sources name no mirror of Debian (an address that ends with /debian/), from which to fetch \
         another release's packages",
    )
}

/// Unpacks one package file; runs none of its scripts.
pub(super) fn unpack(archive: &Path, tree: &Path) -> Result<()> {
    run(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(tree)).map(drop)
}

impl Archive {
    /// The version without Debian's epoch and revision: what people know it by.
    fn upstream(&self) -> &str {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
        version.split(['+', '~']).next().unwrap_or(version)
    }
}

/// Reads a line such as `Inst curl [7.88.1-10] (7.88.1-11 Debian:12.15/oldstable [amd64])`.
fn parse_simulated(line: &str) -> Option<Archive> {
    let rest = line.strip_prefix("Inst ")?;
    let name = rest.split_whitespace().next()?;
    let version = rest.split_once('(')?.1.split_whitespace().next()?;
    Some(Archive { name: name.to_owned(), version: version.to_owned() })
}

/// Runs to the end and returns the output; the error holds what the program complained about.
fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let verb = command.get_args().find(|argument| !argument.to_string_lossy().starts_with('-'));
    let verb = verb.map(|verb| verb.to_string_lossy().into_owned()).unwrap_or_default();
    if complaint.is_empty() {
        bail!("{program} {verb} failed ({})", output.status);
    }
    Err(anyhow!("{program} {verb} failed ({}): {complaint}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_apt_would_install() {
        let new =
            parse_simulated("Inst nginx (1.22.1-9+deb12u11 Debian-Security:12/oldstable-security [amd64])");
        let new = new.unwrap();
        assert_eq!((new.name.as_str(), new.version.as_str()), ("nginx", "1.22.1-9+deb12u11"));
        assert_eq!(new.upstream(), "1.22.1");
        let upgrade = parse_simulated(
            "Inst libnghttp2-14 [1.52.0-1+deb12u2] (1.52.0-1+deb12u3 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])",
        );
        assert_eq!(upgrade.unwrap().version, "1.52.0-1+deb12u3");
        let epoch =
            parse_simulated("Inst libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12 [amd64])").unwrap();
        assert_eq!(epoch.upstream(), "22.1.8");
        assert_eq!(parse_simulated("Conf nginx (1.22.1-9+deb12u11 Debian:12 [amd64])"), None);
        assert_eq!(parse_simulated("Remv rustc [1.63.0]"), None);
    }
}
