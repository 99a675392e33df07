//! Landlock: which files a process reaches, whoever it is (Linux 5.13, where the kernel has it switched on).

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope, path_beneath_rules,
};

use super::calls::Role;
use super::{Files, PrivilegeError};

/// The newest version that has been tried; the library asks an older kernel for less.
const NEWEST: ABI = ABI::V6;

/// What any process of this kind reads: the kernel's pictures of itself, names, time zones, certificate
/// authorities, and the C library's parts that look names up.
const COMMON: [&str; 19] = [
    "/proc",
    "/sys",
    "/dev/null",
    "/dev/urandom",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/pki",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/usr",
    "/lib",
];

/// Raises the fence. Gives the version of Landlock, or nothing where the kernel has none.
pub(super) fn raise(files: Files<'_>, role: Role) -> Result<Option<u32>, PrivilegeError> {
    let status = restrict(files, role)
        .map_err(|error| PrivilegeError::Kept { what: "files", source: io::Error::other(error) })?;
    Ok(match status {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as u32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    })
}

fn restrict(files: Files<'_>, role: Role) -> Result<LandlockStatus, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let own = all & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::IoctlDev);
    let handled = match role {
        Role::Agent => Ruleset::default().handle_access(all)?,
        // It binds sockets, which it is given, and speaks to nobody.
        Role::KernelProcess => Ruleset::default().handle_access(all)?.handle_access(AccessNet::ConnectTcp)?,
    };
    let mut rules = handled
        .scope(BitFlags::from(Scope::Signal) | Scope::AbstractUnixSocket)?
        .create()?
        .add_rules(path_beneath_rules(COMMON, read))?
        .add_rules(path_beneath_rules(files.readable, read))?
        .add_rules(path_beneath_rules(files.own, own))?;
    if matches!(role, Role::KernelProcess) {
        // Settings of the network stack that the datapath needs while it answers in its place.
        rules = rules.add_rules(path_beneath_rules(["/proc/sys/net"], read | AccessFs::WriteFile))?;
    }
    Ok(rules.restrict_self()?.landlock)
}
