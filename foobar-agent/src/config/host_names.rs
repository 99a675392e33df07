//! Names of services and protocols that this host has in `/etc/services` and `/etc/protocols`.
//! They are asked for only where the built-in tables know nothing, so that those mean the same
//! on every host, and read only then. A host without these files has no further names.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where both files lie.
const FOLDER: &str = "/etc";
/// What is read of a file at most, in bytes: IANA's whole registry is a tenth of it.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The names of one host.
pub(super) struct HostNames {
    folder: PathBuf,
    services: OnceCell<BTreeMap<String, Vec<(String, u16)>>>,
    protocols: OnceCell<BTreeMap<String, u8>>,
}

impl Default for HostNames {
    fn default() -> Self {
        Self::new(PathBuf::from(FOLDER))
    }
}

impl HostNames {
    /// `folder` holds the two files.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, services: OnceCell::new(), protocols: OnceCell::new() }
    }

    /// The port of a service, by its name or alias and the protocol's name.
    pub(super) fn service(&self, name: &str, protocol: &str) -> Option<u16> {
        let ports = self.services().get(name)?;
        ports.iter().find(|(of, _)| of == protocol).map(|&(_, port)| port)
    }

    /// The number of a protocol, by its name or alias.
    pub(super) fn protocol(&self, name: &str) -> Option<u8> {
        self.protocols().get(name).copied()
    }

    /// Every name of a service.
    pub(super) fn service_names(&self) -> impl Iterator<Item = &str> {
        self.services().keys().map(String::as_str)
    }

    /// Every name of a protocol.
    pub(super) fn protocol_names(&self) -> impl Iterator<Item = &str> {
        self.protocols().keys().map(String::as_str)
    }

    fn services(&self) -> &BTreeMap<String, Vec<(String, u16)>> {
        self.services.get_or_init(|| {
            let mut services: BTreeMap<String, Vec<(String, u16)>> = BTreeMap::new();
            for (number, names) in entries(&read(&self.folder.join("services"))) {
                let Some((port, protocol)) = number.split_once('/') else { continue };
                let Ok(port) = port.parse::<u16>() else { continue };
                for name in names {
                    let ports = services.entry(name.to_owned()).or_default();
                    // As getservbyname(3) does, the first line of several decides.
                    if !ports.iter().any(|(of, _)| of == protocol) {
                        ports.push((protocol.to_owned(), port));
                    }
                }
            }
            services
        })
    }

    fn protocols(&self) -> &BTreeMap<String, u8> {
        self.protocols.get_or_init(|| {
            let mut protocols = BTreeMap::new();
            for (number, names) in entries(&read(&self.folder.join("protocols"))) {
                let Ok(number) = number.parse::<u8>() else { continue };
                for name in names {
                    protocols.entry(name.to_owned()).or_insert(number);
                }
            }
            protocols
        })
    }
}

/// What the second column says, and the names in the first and from the third on.
fn entries(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let (name, number) = (words.next()?, words.next()?);
        Some((number, std::iter::once(name).chain(words).collect()))
    })
}

/// The file's text; empty where there is none, or no regular file.
fn read(path: &Path) -> String {
    let open = || -> std::io::Result<Vec<u8>> {
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let mut bytes = Vec::new();
        if file.metadata()?.is_file() {
            file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    String::from_utf8_lossy(&open().unwrap_or_default()).into_owned()
}
