//! What an agent that no longer runs has left, seen and removed without a session: neither
//! programs nor maps are loaded for it.

use super::error::KernelError;
use super::ledger;
use super::message::Places;
use super::pins::{self, Pins};

/// Takes the datapath of an agent that no longer runs off every interface, and removes all that it
/// left, of every version. Returns the interfaces by ifindex, or nothing where nothing was there.
///
/// # Errors
/// Where an agent holds the pins after all, or one cannot be removed.
pub fn remove_left(places: &Places) -> Result<Option<Vec<u32>>, KernelError> {
    let left = Pins::left(&places.pin_dir)?;
    let mut freed = Vec::new();
    for pins in &left {
        freed.append(&mut pins.remove_all()?);
    }
    if !left.is_empty() {
        pins::remove_bans(&places.pin_dir)?;
    }
    ledger::remove_all(&places.state_dir)?;
    Ok((!left.is_empty()).then_some(freed))
}
