//! The datapath's samples, out of the ring buffer that the kernel process lends. Knows what they are made of,
//! and not what they mean.

use std::os::fd::OwnedFd;
use std::ptr;

use aya::maps::{Map, MapData, RingBuf};
use foobar_ebpf::abi::event::Event;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::KernelError;

/// The reading end. Nobody else may read at the same time: what is read is gone.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    /// From the descriptor of the map. To be called within a runtime, which is then the one that waits.
    ///
    /// # Errors
    /// When it is no ring buffer, or cannot be mapped.
    pub fn open(map: OwnedFd) -> Result<Self, KernelError> {
        const WHAT: &str = "cannot open the datapath's samples";
        let data = MapData::from_fd(map).map_err(KernelError::bpf(WHAT))?;
        let map = Map::from_map_data(data).map_err(KernelError::bpf(WHAT))?;
        let ring = RingBuf::try_from(map).map_err(KernelError::bpf(WHAT))?;
        // SAFETY: the ring buffer owns its descriptor and keeps it open until it is dropped, which
        // it is only with the registration.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let ring = ring.map_err(|error| KernelError::System { what: WHAT, source: error.into() })?;
        Ok(Self { ring })
    }

    /// The next sample, when there is one.
    ///
    /// # Errors
    /// When the descriptor cannot be waited for.
    pub async fn next(&mut self) -> Result<Event, KernelError> {
        loop {
            while let Some(item) = self.ring.get_mut().next() {
                // Of another length: a datapath of another build is about to be replaced.
                if item.len() == size_of::<Event>() {
                    // SAFETY: as many bytes as an event has, and any bytes are one; they need not be aligned.
                    return Ok(unsafe { ptr::read_unaligned(item.as_ptr().cast()) });
                }
            }
            let ready = self.ring.readable_mut().await;
            ready
                .map_err(|source| KernelError::System { what: "cannot wait for samples", source })?
                .clear_ready();
        }
    }
}
