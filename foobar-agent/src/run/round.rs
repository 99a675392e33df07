//! One round of looking at the interfaces: what it changed, so that it can be taken back, and
//! whether it is good enough.

use anyhow::anyhow;

use crate::config::model::AttachMode;
use crate::kernel::{Attached, AttachedMode};
use crate::net::{Interface, XdpPresent};

/// An interface that does not take the datapath.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: anyhow::Error,
    /// It is new, or was asked for another mode. One that has refused before is no reason to
    /// keep an old configuration.
    pub(super) blocks: bool,
}

/// What one round of looking changed.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Newly attached.
    pub(super) attached: Vec<Interface>,
    /// Attached in another mode than before, with that.
    pub(super) moved: Vec<(Interface, AttachedMode)>,
    /// Names that were not known before.
    pub(super) rows: Vec<String>,
    /// Configured and not there.
    pub(super) absent: Vec<String>,
    /// There, and refusing.
    pub(super) refused: Vec<Refused>,
    /// Nothing is wanted: no interface has a default route.
    pub(super) unrouted: bool,
}

impl Round {
    /// Notes an attachment, with the interface as it is now.
    pub(super) fn note(&mut self, interface: &Interface, attached: &Attached) {
        let xdp = Some(XdpPresent { program: attached.program, mode: attached.mode });
        let interface = Interface { xdp, ..interface.clone() };
        match attached.before {
            None => self.attached.push(interface),
            Some(before) if before != attached.mode => self.moved.push((interface, before)),
            Some(_) => {}
        }
    }

    /// Why it is not good enough. Strict, nothing may be missing.
    pub(super) fn objection(&mut self, strict: bool) -> Option<anyhow::Error> {
        if let Some(blocking) = self.refused.iter().position(|refused| refused.blocks) {
            return Some(self.refused.swap_remove(blocking).error);
        }
        if strict && !self.absent.is_empty() {
            return Some(anyhow!(
                "{} is not there, and --strict does not wait for it",
                self.absent.join(", ")
            ));
        }
        (strict && self.unrouted)
            .then(|| anyhow!("no interface has a default route, and --strict does not wait for one"))
    }
}

/// Tells of an attachment.
pub(super) fn say(name: &str, mode: AttachMode, attached: &Attached) {
    let word = attached.mode.as_str();
    match (&attached.native_refused, attached.before) {
        (_, Some(before)) if before == attached.mode => {
            tracing::info!("{name}: the datapath that was attached goes on ({word})");
        }
        (Some(why), _) if mode == AttachMode::Auto => {
            tracing::warn!("{name}: attached in generic mode, slower, because native was refused: {why}");
        }
        (_, Some(before)) => tracing::info!("{name}: attached in {word} mode, no longer {}", before.as_str()),
        _ => tracing::info!("{name}: attached in {word} mode"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_refusal_is_no_objection_and_a_new_one_is() {
        let refused = |blocks| Refused { error: anyhow!("no"), blocks };
        let mut round = Round { refused: vec![refused(false)], ..Round::default() };
        assert!(round.objection(true).is_none());
        round.refused.push(refused(true));
        assert_eq!(round.objection(false).unwrap().to_string(), "no");
    }

    #[test]
    fn only_a_strict_start_minds_what_is_missing() {
        let mut absent = Round { absent: vec!["eth7".to_owned()], ..Round::default() };
        assert!(absent.objection(false).is_none());
        assert!(absent.objection(true).unwrap().to_string().contains("eth7"));
        let mut unrouted = Round { unrouted: true, ..Round::default() };
        assert!(unrouted.objection(false).is_none());
        assert!(unrouted.objection(true).unwrap().to_string().contains("default route"));
    }
}
