//! The capabilities of a process: those it has, and those it can never have again.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::PrivilegeError;

/// What the kernel process needs. Files of the configuration may belong to any user; it reads them for the
/// agent, within its fence, and who can load programs for tracing reads all memory anyway.
const DATAPATH: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::DAC_READ_SEARCH);

fn sets() -> Result<CapabilitySets, PrivilegeError> {
    let kept =
        |source: rustix::io::Errno| PrivilegeError::Kept { what: "capabilities", source: source.into() };
    capabilities(None).map_err(kept)
}

/// What of the needed capabilities this process has. Where a container is given `CAP_SYS_ADMIN` in the
/// place of the narrower ones, that stays.
pub(super) fn of_the_datapath() -> Result<CapabilitySet, PrivilegeError> {
    let permitted = sets()?.permitted;
    let narrow = permitted.contains(CapabilitySet::BPF | CapabilitySet::PERFMON);
    let needed = if narrow { DATAPATH } else { DATAPATH | CapabilitySet::SYS_ADMIN };
    Ok(permitted & needed)
}

/// Leaves only these to programs that the process might start. Without `CAP_SETPCAP` it cannot be done, nor
/// need it: no new privileges come by programs.
pub(super) fn bound_to(kept: CapabilitySet) {
    for capability in each() {
        let bound = capability_is_in_bounding_set(capability).unwrap_or(false);
        if bound && !kept.contains(capability) && remove_capability_from_bounding_set(capability).is_err() {
            return;
        }
    }
}

/// Gives up all but these.
pub(super) fn keep(kept: CapabilitySet) -> Result<(), PrivilegeError> {
    let failed =
        |source: rustix::io::Errno| PrivilegeError::Kept { what: "capabilities", source: source.into() };
    clear_ambient_capability_set().map_err(failed)?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed)
}

/// Names of what this process has.
pub(super) fn held() -> Vec<String> {
    let Ok(sets) = sets() else { return Vec::new() };
    sets.permitted.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

/// Every capability, one by one.
fn each() -> impl Iterator<Item = CapabilitySet> {
    CapabilitySet::all().iter_names().map(|(_, capability)| capability).collect::<Vec<_>>().into_iter()
}
