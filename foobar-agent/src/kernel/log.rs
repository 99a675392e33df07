//! The datapath's diagnostics: aya-log's ring buffer to our own log.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::error::KernelError;

/// Reads what the datapath has to say. All generations write to one buffer.
pub(super) struct Diagnostics {
    logger: AsyncFd<EbpfLogger<ToTracing>>,
}

impl Diagnostics {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let logger = EbpfLogger::init_with_logger(ebpf, ToTracing)
            .map_err(KernelError::bpf("cannot open the datapath's diagnostics"))?;
        // SAFETY: the logger owns its descriptor and keeps it open until it is dropped, which
        // it is only with the registration.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let logger = logger.map_err(|error| KernelError::System {
            what: "cannot wait for diagnostics",
            source: error.into(),
        })?;
        Ok(Self { logger })
    }

    /// Waits for diagnostics and passes them on.
    pub(super) async fn pass_on(&mut self) -> io::Result<()> {
        let mut ready = self.logger.readable_mut().await?;
        ready.get_inner_mut().flush();
        ready.clear_ready();
        Ok(())
    }
}

/// aya-log speaks the `log` crate's language; the agent speaks tracing's.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args();
        match record.level() {
            log::Level::Error => tracing::error!(target: "datapath", "{text}"),
            log::Level::Warn => tracing::warn!(target: "datapath", "{text}"),
            _ => tracing::info!(target: "datapath", "{text}"),
        }
    }

    fn flush(&self) {}
}
