//! The datapath's diagnostics: aya-log's ring buffer to our own log.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use foobar_ebpf::verdict::{Reason, Verdict};
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
        let text = in_words(&record.args().to_string());
        match record.level() {
            log::Level::Error => tracing::error!(target: "datapath", "{text}"),
            log::Level::Warn => tracing::warn!(target: "datapath", "{text}"),
            _ => tracing::info!(target: "datapath", "{text}"),
        }
    }

    fn flush(&self) {}
}

/// The datapath writes verdicts and reasons by number.
fn in_words(text: &str) -> String {
    let word = |field: &str| {
        let (key, value) = field.split_once('=')?;
        let number: u32 = value.parse().ok()?;
        match key {
            "verdict" => {
                Verdict::try_from(number).ok().map(|verdict| format!("verdict={}", verdict.as_str()))
            }
            "reason" => Reason::try_from(number).ok().map(|reason| format!("reason={}", reason.as_str())),
            _ => None,
        }
    };
    let fields: Vec<String> =
        text.split(' ').map(|field| word(field).unwrap_or_else(|| field.to_owned())).collect();
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_verdict_and_reason_become_words() {
        assert_eq!(
            in_words("verdict=1 reason=1 source=::ffff:192.0.2.1 protocol=6 rule=-1"),
            "verdict=drop reason=policy source=::ffff:192.0.2.1 protocol=6 rule=-1"
        );
        assert_eq!(in_words("verdict=9 other"), "verdict=9 other");
    }
}
