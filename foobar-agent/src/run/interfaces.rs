//! Which interfaces the datapath should be on, and which it is on. Follows interfaces as
//! they come and go; decides nothing about packets.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::config::model::{AttachMode, Firewall, Interfaces as Wanted};
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{Attached, AttachedMode, Handle, KernelError};
use crate::net::{Interface, Net};

/// One interface that the datapath should be on.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Its present ifindex and mode, where the datapath is on it.
    pub(super) attached: Option<(u32, AttachedMode)>,
    /// What stood in the way at the last try, said once.
    said: Option<String>,
}

/// All of them, by name.
#[derive(Debug)]
pub(super) struct Interfaces {
    pub(super) numbers: InterfaceNumbers,
    states: BTreeMap<String, State>,
}

/// What one round of looking changed.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Newly attached, with the ifindex.
    pub(super) attached: Vec<(String, u32)>,
    /// Configured and not there.
    pub(super) absent: Vec<String>,
    /// There, and refusing.
    pub(super) refused: Vec<KernelError>,
}

impl Interfaces {
    pub(super) fn new(numbers: InterfaceNumbers) -> Self {
        Self { numbers, states: BTreeMap::new() }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = (&str, &State)> {
        self.states.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Names that the datapath is on.
    pub(super) fn attached_names(&self) -> Vec<String> {
        let attached = self.states.iter().filter(|(_, state)| state.attached.is_some());
        attached.map(|(name, _)| name.clone()).collect()
    }

    /// Attaches where the datapath should be and is not, and notes what is gone.
    pub(super) async fn follow(&mut self, firewall: &Firewall, kernel: &Handle, net: &Net) -> Result<Round> {
        let present = net.interfaces().await?;
        let wanted = wanted(firewall, &present, net).await?;
        let mut round = Round::default();
        self.forget_vanished(&present, kernel).await;
        for name in wanted {
            let state = self.states.entry(name.clone()).or_default();
            let Some(interface) = present.iter().find(|interface| interface.name == name) else {
                if state.said.is_none() {
                    tracing::warn!("{name} is not there: the datapath attaches as soon as it appears");
                    state.said = Some(String::new());
                }
                round.absent.push(name);
                continue;
            };
            if state.attached.is_some_and(|(ifindex, _)| ifindex == interface.ifindex) {
                continue;
            }
            let logical = self.numbers.number(&name)?;
            match kernel.attach(interface.clone(), logical, firewall.mode).await {
                Ok(attached) => {
                    say(interface, firewall.mode, &attached);
                    *state = State { attached: Some((interface.ifindex, attached.mode)), said: None };
                    if !attached.adopted {
                        round.attached.push((name, interface.ifindex));
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if state.said.as_ref() != Some(&text) {
                        tracing::error!("{text}");
                        state.said = Some(text);
                    }
                    round.refused.push(error);
                }
            }
        }
        Ok(round)
    }

    async fn forget_vanished(&mut self, present: &[Interface], kernel: &Handle) {
        for (name, state) in &mut self.states {
            let Some((ifindex, _)) = state.attached else { continue };
            if present.iter().any(|interface| interface.ifindex == ifindex && interface.name == *name) {
                continue;
            }
            tracing::warn!("{name} is gone: the datapath attaches again as soon as it is back");
            *state = State { attached: None, said: Some(String::new()) };
            if let Err(error) = kernel.forget(ifindex).await {
                tracing::warn!("{error}");
            }
        }
    }

    /// Takes the datapath off these interfaces again.
    pub(super) async fn release(&mut self, names: &[(String, u32)], kernel: &Handle) {
        for (name, ifindex) in names {
            if let Err(error) = kernel.forget(*ifindex).await {
                tracing::warn!("{error}");
            }
            self.states.remove(name);
        }
    }

    /// Takes the datapath off interfaces that the configuration no longer names. With
    /// `interfaces = "auto"` none is: losing a route is no reason to open a host.
    pub(super) async fn keep_only(&mut self, firewall: &Firewall, kernel: &Handle) {
        let Wanted::Named(names) = &firewall.interfaces else { return };
        let mut surplus = Vec::new();
        for (name, state) in self.states.iter().filter(|(name, _)| !names.contains(name)) {
            surplus.push((name.clone(), state.attached.map_or(0, |(ifindex, _)| ifindex)));
        }
        for (name, _) in &surplus {
            tracing::info!("{name}: no longer configured, the datapath is taken off");
        }
        self.release(&surplus, kernel).await;
    }

    /// The datapath was removed everywhere.
    pub(super) fn all_detached(&mut self) {
        for state in self.states.values_mut() {
            state.attached = None;
        }
    }
}

async fn wanted(firewall: &Firewall, present: &[Interface], net: &Net) -> Result<Vec<String>> {
    match &firewall.interfaces {
        Wanted::Named(names) => Ok(names.clone()),
        Wanted::Auto => {
            let with_route = net.with_default_route().await?;
            let there = present.iter().filter(|interface| with_route.contains(&interface.ifindex));
            Ok(there.map(|interface| interface.name.clone()).collect())
        }
    }
}

fn say(interface: &Interface, mode: AttachMode, attached: &Attached) {
    let (name, mode_word) = (&interface.name, attached.mode.as_str());
    match (&attached.native_refused, attached.adopted) {
        (_, true) => tracing::info!("{name}: the datapath of an earlier agent goes on ({mode_word})"),
        (Some(why), _) if mode == AttachMode::Auto => {
            tracing::warn!("{name}: attached in generic mode, slower, because native was refused: {why}");
        }
        _ => tracing::info!("{name}: attached in {mode_word} mode"),
    }
}
