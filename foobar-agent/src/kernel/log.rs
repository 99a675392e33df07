//! The datapath's diagnostics: aya-log's ring buffer to our own log, in a thread of its own. A
//! datapath that says more than can be written keeps no one waiting but this thread.

use std::{io, thread};

use aya::Ebpf;
use aya_log::EbpfLogger;
use foobar_ebpf::verdict::{Reason, Verdict};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::error::KernelError;

/// Passes on what the datapath has to say, until dropped. All generations write to one buffer.
pub(super) struct Diagnostics {
    _stop: oneshot::Sender<()>,
}

impl Diagnostics {
    pub(super) fn start(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let logger = EbpfLogger::init_with_logger(ebpf, ToTracing)
            .map_err(KernelError::bpf("cannot open the datapath's diagnostics"))?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            if let Err(error) = pass_on(logger, stopped) {
                tracing::warn!("the datapath's diagnostics cannot be read, and will be missing: {error}");
            }
        };
        thread::Builder::new()
            .name("datapath-log".to_owned())
            .spawn(work)
            .map_err(|source| KernelError::System { what: "cannot start the datapath's log", source })?;
        Ok(Self { _stop: stop })
    }
}

fn pass_on(logger: EbpfLogger<ToTracing>, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async move {
        // SAFETY: the logger owns its descriptor and keeps it open until it is dropped, which
        // it is only with the registration.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        let mut logger = logger.map_err(io::Error::from)?;
        loop {
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                ready = logger.readable_mut() => {
                    let mut ready = ready?;
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
            }
        }
    })
}

/// aya-log speaks the `log` crate's language; the agent speaks tracing's.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = format!("datapath: {}", in_words(&record.args().to_string()));
        match record.level() {
            log::Level::Error => tracing::error!("{text}"),
            log::Level::Warn => tracing::warn!("{text}"),
            _ => tracing::info!("{text}"),
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
