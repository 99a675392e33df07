//! What the host must have before anything is tried, so that a lack is said in words of
//! the operator and not as an error number.

use std::fs;
use std::path::Path;

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};

use super::error::KernelError;

/// The newest of what every datapath calls in the kernel, and the Linux that brought it, together with XDP
/// programs that take fragmented packets. Whether it is there is asked, not read off the version:
/// distributions bring newer features to older kernels.
const HELPER: (BpfHelper, &str, &str) = (BpfHelper::BPF_FUNC_xdp_load_bytes, "bpf_xdp_load_bytes", "5.18");

/// Numbers of linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Checks capabilities, type information and the kernel's features.
pub(super) fn check() -> Result<(), KernelError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    check_capabilities(effective_capabilities(&status))?;
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(KernelError::MissingBtf);
    }
    check_helper(HELPER)
}

fn check_helper((helper, lacks, since): (BpfHelper, &'static str, &'static str)) -> Result<(), KernelError> {
    // Where the question itself fails there is no answer: loading the datapath will tell more.
    if matches!(is_helper_supported(ProgramType::Xdp, helper), Ok(false)) {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        return Err(KernelError::KernelTooOld { found: release.trim().to_owned(), lacks, since });
    }
    Ok(())
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

    /// Without privilege the question cannot be asked, and that is no answer.
    #[test]
    fn a_helper_that_is_missing_is_named_with_the_linux_that_has_it() {
        let missing = (BpfHelper::BPF_FUNC_skb_load_bytes, "a helper", "0.0");
        if let Err(error) = check_helper(missing) {
            assert!(
                error.to_string().contains("needs a helper, which came with 0.0; boot Linux 6.1"),
                "{error}"
            );
        }
        assert!(check_helper(HELPER).is_ok());
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
