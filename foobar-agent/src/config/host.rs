//! `[host]`: the host's name and the folders of the agent.

use std::path::PathBuf;

use super::model::Host;
use super::reader::{Table, Value};
use super::suggest::quoted;

const DEFAULT_RUN_DIR: &str = "/run/foobar";
const DEFAULT_STATE_DIR: &str = "/var/lib/foobar";
const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/foobar";
/// Where the kernel tells its host name.
const KERNEL_HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Longest host name, in bytes (RFC 1035, section 2.3.4).
const MAX_NAME_BYTES: usize = 253;
/// Longest name of a user, in bytes, as useradd(8) has it.
const MAX_USER_BYTES: usize = 32;

pub(super) fn read(root: &mut Table<'_>) -> Host {
    let mut host = root.table("host", "[host]");
    let mut optional = |key| host.as_mut().and_then(|host| host.optional(key));
    let name = optional("name").and_then(host_name).unwrap_or_else(kernel_host_name);
    let user = optional("user").and_then(user);
    let mut folder = |key, default: &str| {
        let given = optional(key).and_then(path);
        given.unwrap_or_else(|| PathBuf::from(default))
    };
    let read = Host {
        name,
        user,
        run_dir: folder("run_dir", DEFAULT_RUN_DIR),
        state_dir: folder("state_dir", DEFAULT_STATE_DIR),
        pin_dir: folder("pin_dir", DEFAULT_PIN_DIR),
    };
    if let Some(host) = host {
        host.finish();
    }
    read
}

/// A folder, relative to the configuration file's.
fn path(value: Value<'_>) -> Option<PathBuf> {
    Some(value.report().source().resolve(name(value)?))
}

/// A file to read, relative to the configuration file's folder. The running agent may read below the folders
/// of those that it was started with.
pub(super) fn file(value: Value<'_>) -> Option<PathBuf> {
    Some(value.report().source().file(name(value)?))
}

fn name(value: Value<'_>) -> Option<&str> {
    let text = value.string()?;
    if text.is_empty() || text.contains('\0') {
        value.error(format!("{} is no path", quoted(text)), "name a file or folder");
        return None;
    }
    Some(text)
}

/// A user's name or number. Whether there is one is seen at the start.
fn user(value: Value<'_>) -> Option<String> {
    let text = value.string()?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > MAX_USER_BYTES || text.starts_with('-') || !text.bytes().all(known) {
        let hint = "the name or number of a user of this host; without the key it is `foobar` or `nobody`";
        value.error(format!("{} is no user", quoted(text)), hint);
        return None;
    }
    Some(text.to_owned())
}

fn host_name(value: Value<'_>) -> Option<String> {
    let text = value.string()?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(known) {
        let hint = "letters, digits, `.`, `-` and `_`; without the key, the kernel's host name is taken";
        value.error(format!("{} is no host name", quoted(text)), hint);
        return None;
    }
    Some(text.to_owned())
}

fn kernel_host_name() -> String {
    let name = std::fs::read_to_string(KERNEL_HOST_NAME).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
