//! The datapath of another version, older or newer, taken over while it judges: our generation is loaded
//! first, then each link gets our program, from one packet to the next, and its pin moves to our folder; when
//! the last one has moved, the counts are added and the other folder goes. An agent that dies in between
//! leaves some interfaces to either; whichever version starts next goes on from there.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use aya::programs::{ProgramFd, Xdp};
use aya_obj::programs::XdpAttachType;

use super::error::KernelError;
use super::ledger::{Carried, Ledger};
use super::loaded::Counters;
use super::pins::Pins;
use super::{link, loader, sys};
use crate::net::{Interface, XdpPresent};

/// A link of ours, of whatever version.
pub(super) struct Own {
    link: OwnedFd,
    pin: PathBuf,
}

/// A link that was taken over, for a start that fails after all.
pub(super) struct Taken {
    /// Where it was pinned.
    from: PathBuf,
    to: PathBuf,
    /// What it ran.
    root: PathBuf,
}

impl Own {
    /// The link by which this program is on the interface, if it is one of ours.
    pub(super) fn find(
        pins: &Pins,
        interface: &Interface,
        present: XdpPresent,
    ) -> Result<Option<Self>, KernelError> {
        let others = pins.of_other_versions()?;
        for pins in std::iter::once(pins).chain(&others) {
            let pin = pins.link(interface.ifindex);
            let Ok(link) = link::open(&pin) else { continue };
            let info =
                link::info(&link).map_err(KernelError::io("cannot examine the link pinned at", &pin))?;
            // One that was detached says 0: somebody else's program is there.
            if info.ifindex == interface.ifindex && info.program == present.program {
                return Ok(Some(Self { link, pin }));
            }
        }
        Ok(None)
    }

    /// Has the link run our program, and pins it where ours are; nothing happens where that is so.
    pub(super) fn take(
        self,
        root: &ProgramFd,
        ours: &Path,
        is_ours: bool,
    ) -> Result<Option<Taken>, KernelError> {
        if !is_ours {
            link::update(&self.link, root.as_fd())
                .map_err(KernelError::io("cannot give our program to the link pinned at", &self.pin))?;
        }
        if self.pin == ours {
            return Ok(None);
        }
        let from = self.pin;
        fs::rename(&from, ours).map_err(KernelError::io("cannot move the pin", &from))?;
        let folder = from.parent().and_then(Path::parent).unwrap_or(&from);
        Ok(Some(Taken { root: folder.join("root"), to: ours.to_owned(), from }))
    }
}

impl Taken {
    /// What has happened, for the log.
    pub(super) fn in_words(&self) -> String {
        let from = self.root.parent().unwrap_or(&self.root);
        format!("taken over from {}, from one packet to the next", from.display())
    }

    /// Gives the link back to the version that it was taken from.
    pub(super) fn give_back(self) -> Result<(), KernelError> {
        let root = Xdp::from_pin(&self.root, XdpAttachType::Interface)
            .map_err(KernelError::bpf("cannot open the datapath of the other version"))?;
        let root = root.fd().map_err(KernelError::bpf("cannot use the datapath of the other version"))?;
        let link =
            link::open(&self.to).map_err(KernelError::io("cannot open the link pinned at", &self.to))?;
        link::update(&link, root.as_fd())
            .map_err(KernelError::io("cannot give back the link pinned at", &self.to))?;
        fs::rename(&self.to, &self.from).map_err(KernelError::io("cannot move the pin", &self.to))
    }
}

/// Pins maps of other versions for ours, too, where they are laid out alike: what they count goes on.
pub(super) fn adopt(pins: &Pins) -> Result<(), KernelError> {
    if pins.root().exists() {
        return Ok(());
    }
    for other in pins.of_other_versions()? {
        for name in loader::ADOPTED_MAPS {
            let (from, to) = (other.map(name), pins.map(name));
            if to.exists() || !from.exists() {
                continue;
            }
            let map = MapData::from_pin(&from).map_err(KernelError::bpf("cannot open a map"))?;
            if loader::is_declared_like(name, &map)? {
                map.pin(&to).map_err(KernelError::bpf("cannot pin a map"))?;
            }
        }
    }
    Ok(())
}

/// Adds what other versions counted, and removes what is left of them; a version that still is on an
/// interface stays until that has been taken over or released.
pub(super) fn finish(pins: &Pins, ledger: &mut Ledger) -> Result<(), KernelError> {
    let (left, others): (Vec<_>, Vec<_>) =
        pins.of_other_versions()?.into_iter().partition(is_on_an_interface);
    // From then on its counters stand still.
    sys::wait_for_running_programs();
    for other in ledger.others()? {
        if left.iter().any(|pins| pins.version() == Some(other.version)) {
            continue;
        }
        let pins = others.iter().find(|pins| pins.version() == Some(other.version));
        let mut live = Carried::default();
        for names in other.generations() {
            let counters = pins.and_then(|pins| Counters::from_pins(&pins.generation(names.number)));
            match counters.map(|counters| counters.read(names)) {
                Some(Ok(rows)) => live.add(rows),
                Some(Err(error)) => tracing::warn!("counts of version {} are lost: {error}", other.version),
                None => {}
            }
        }
        ledger.absorb(&other, &live)?;
        if let Some(pins) = pins {
            pins.remove_all()?;
        }
        Ledger::remove(&other)?;
    }
    for pins in others {
        pins.remove_all()?;
    }
    Ok(())
}

fn is_on_an_interface(pins: &Pins) -> bool {
    let links = pins.linked().unwrap_or_default().into_iter();
    let info = |ifindex| link::open(&pins.link(ifindex)).and_then(|link| link::info(&link));
    links.filter_map(|ifindex| info(ifindex).ok()).any(|info| info.ifindex != 0)
}
