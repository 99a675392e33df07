//! What the host must have before anything is tried, so that a lack is said in words of
//! the operator and not as an error number.

use std::fs;
use std::path::Path;

use super::error::KernelError;

/// Oldest kernel: XDP programs that take fragmented packets.
const KERNEL_MIN: (u32, u32) = (5, 18);
const KERNEL_MIN_TEXT: &str = "5.18";

/// Numbers of linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Checks kernel, capabilities and type information.
pub(super) fn check() -> Result<(), KernelError> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_release(release.trim())?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    check_capabilities(effective_capabilities(&status))?;
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(KernelError::MissingBtf);
    }
    Ok(())
}

fn check_release(release: &str) -> Result<(), KernelError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < KERNEL_MIN => {
            Err(KernelError::KernelTooOld { found: release.to_owned(), needed: KERNEL_MIN_TEXT })
        }
        // A release that cannot be read is no reason to refuse: the kernel itself will say.
        _ => Ok(()),
    }
}

/// The mask of `CapEff:` in /proc/self/status; all ones where it cannot be read.
fn effective_capabilities(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

fn check_capabilities(effective: u64) -> Result<(), KernelError> {
    let has = |capability: u32| effective & 1 << capability != 0;
    let mut missing = Vec::new();
    if !has(CAP_SYS_ADMIN) {
        if !has(CAP_BPF) {
            missing.push("CAP_BPF");
        }
        if !has(CAP_PERFMON) {
            missing.push("CAP_PERFMON");
        }
    }
    if !has(CAP_NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(KernelError::MissingCapability { missing: missing.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_and_odd_names_are_not() {
        for (release, ok) in
            [("5.17.9", false), ("5.18.0", true), ("6.1.0-13-amd64", true), ("4.19.0", false), ("", true)]
        {
            assert_eq!(check_release(release).is_ok(), ok, "{release}");
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        let all = 1 << CAP_BPF | 1 << CAP_PERFMON | 1 << CAP_NET_ADMIN;
        assert!(check_capabilities(all).is_ok());
        assert!(check_capabilities(1 << CAP_SYS_ADMIN | 1 << CAP_NET_ADMIN).is_ok());
        let error = check_capabilities(1 << CAP_BPF).unwrap_err().to_string();
        assert!(error.contains("missing CAP_PERFMON, CAP_NET_ADMIN"), "{error}");
        assert_eq!(effective_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n"), 0x1ff_ffff_ffff);
    }
}
