//! Which interfaces the datapath should be on, and which it is on. Follows interfaces as they
//! come, go, and change their names; decides nothing about packets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::round::{Refused, Round, say};
use crate::config::model::{AttachMode, Firewall, Interfaces as Wanted};
use crate::firewall::numbers::InterfaceNumbers;
use crate::kernel::{AttachedMode, Handle};
use crate::net::{self, Interface};

/// The datapath on an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) ifindex: u32,
    pub(super) mode: AttachedMode,
    /// The interface's hardware address, as the datapath knows it.
    station: Option<u64>,
    /// The kernel's number of the program: another one, or none, there means that it was taken off.
    program: u32,
}

/// What the log already holds about an interface that the datapath is not on.
#[derive(Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Absent,
    Refused(String),
}

/// One interface that the datapath should be on.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Where the datapath is on it.
    pub(super) held: Option<Held>,
    said: Said,
}

/// All of them, by name.
#[derive(Debug)]
pub(super) struct Interfaces {
    pub(super) numbers: InterfaceNumbers,
    /// The numbers as they are in `state_dir`.
    saved: InterfaceNumbers,
    state_dir: PathBuf,
    states: BTreeMap<String, State>,
    /// Attached by an earlier agent, by ifindex, and not looked at yet.
    left: Vec<u32>,
    said_unrouted: bool,
    /// Somebody else's program is replaced, not refused.
    replace: bool,
}

impl Interfaces {
    pub(super) fn new(numbers: InterfaceNumbers, state_dir: PathBuf) -> Self {
        let saved = InterfaceNumbers::default();
        Self {
            numbers,
            saved,
            state_dir,
            states: BTreeMap::new(),
            left: Vec::new(),
            said_unrouted: false,
            replace: false,
        }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = (&str, &State)> {
        self.states.iter().map(|(name, state)| (name.as_str(), state))
    }

    /// Names that the datapath is on.
    pub(super) fn attached_names(&self) -> Vec<String> {
        let held = self.states.iter().filter(|(_, state)| state.held.is_some());
        held.map(|(name, _)| name.clone()).collect()
    }

    /// What an earlier agent left attached, by ifindex.
    pub(super) fn left_by_an_earlier_agent(&mut self, links: Vec<u32>) {
        self.left = links;
    }

    /// Whether programs of others are replaced from now on.
    pub(super) fn replace_others(&mut self, replace: bool) {
        self.replace = replace;
    }

    /// Writes the numbers of interfaces where they have changed. Lost ones cost no packet, only
    /// the continuity of counters.
    pub(super) fn save_numbers(&mut self) {
        if self.numbers == self.saved {
            return;
        }
        if let Err(error) = self.numbers.save(&self.state_dir) {
            tracing::warn!("cannot write the numbers of interfaces to host.state_dir: {error}");
        }
        self.saved = self.numbers.clone();
    }

    /// Attaches where the datapath should be and is not, and notes what is gone.
    pub(super) async fn follow(&mut self, firewall: &Firewall, kernel: &Handle) -> Result<Round> {
        let present = net::interfaces().await?;
        self.notice_renamed(&present, firewall, kernel).await;
        self.notice_lost(&present, kernel).await;
        self.notice_readdressed(&present, kernel).await;
        let wanted = self.wanted(firewall, &present).await?;
        let mut round = Round { unrouted: wanted.is_empty(), ..Round::default() };
        self.say_unrouted(round.unrouted);
        // On the disk before the kernel counts by them. The name without a number says so below.
        for interface in present.iter().filter(|interface| wanted.contains(&interface.name)) {
            let _ = self.numbers.number(&interface.name);
        }
        self.save_numbers();
        for name in wanted {
            match present.iter().find(|interface| interface.name == name) {
                Some(interface) => self.bring(interface, firewall.mode, kernel, &mut round).await,
                None => self.miss(name, &mut round),
            }
        }
        Ok(round)
    }

    /// With `auto`, an interface that once was wanted stays so: losing a route is no reason to
    /// open a host.
    async fn wanted(&self, firewall: &Firewall, present: &[Interface]) -> Result<Vec<String>> {
        if let Wanted::Named(names) = &firewall.interfaces {
            return Ok(names.clone());
        }
        let routed = net::with_default_route().await?;
        let is_wanted = |interface: &&Interface| {
            (routed.contains(&interface.ifindex) && !interface.loopback)
                || self.left.contains(&interface.ifindex)
                || self.states.contains_key(&interface.name)
        };
        Ok(present.iter().filter(is_wanted).map(|interface| interface.name.clone()).collect())
    }

    fn say_unrouted(&mut self, unrouted: bool) {
        if unrouted && !self.said_unrouted {
            tracing::warn!(
                "no interface has a default route: the datapath attaches as soon as one has, \
                 or name interfaces in firewall.interfaces"
            );
        }
        self.said_unrouted = unrouted;
    }

    fn miss(&mut self, name: String, round: &mut Round) {
        if !self.states.contains_key(&name) {
            round.rows.push(name.clone());
        }
        let state = self.states.entry(name.clone()).or_default();
        if state.said != Said::Absent {
            tracing::warn!("{name} is not there: the datapath attaches as soon as it appears");
            state.said = Said::Absent;
        }
        round.absent.push(name);
    }

    async fn bring(&mut self, interface: &Interface, mode: AttachMode, kernel: &Handle, round: &mut Round) {
        let name = &interface.name;
        let is_new = !self.states.contains_key(name);
        if is_new {
            round.rows.push(name.clone());
        }
        let (number, replace) = (self.numbers.number(name), self.replace);
        let state = self.states.entry(name.clone()).or_default();
        if state.held.is_some_and(|held| held.mode.satisfies(mode)) {
            return;
        }
        let attached = match number {
            Ok(number) => {
                kernel.attach(interface.clone(), number, mode, replace).await.map_err(anyhow::Error::from)
            }
            Err(error) => Err(error.into()),
        };
        match attached {
            Ok(attached) => {
                say(name, mode, &attached);
                let held = Held {
                    ifindex: interface.ifindex,
                    mode: attached.mode,
                    station: interface.station,
                    program: attached.program,
                };
                *state = State { held: Some(held), said: Said::Nothing };
                round.note(interface, &attached);
            }
            Err(error) => {
                let text = crate::control::describe(&error);
                if state.said != Said::Refused(text.clone()) {
                    tracing::error!("{text}");
                    state.said = Said::Refused(text);
                }
                round.refused.push(Refused { error, blocks: is_new || state.held.is_some() });
            }
        }
    }

    /// An interface keeps the datapath under a new name, with that name's number.
    async fn notice_renamed(&mut self, present: &[Interface], firewall: &Firewall, kernel: &Handle) {
        let mut moved = Vec::new();
        self.states.retain(|old, state| {
            let Some(held) = state.held else { return true };
            let now = present.iter().find(|interface| interface.ifindex == held.ifindex);
            let Some(now) = now.filter(|interface| interface.name != *old) else { return true };
            tracing::warn!("{old} is called {} now: the datapath stays on it", now.name);
            moved.push((now, held));
            false
        });
        for (interface, held) in moved {
            let name = &interface.name;
            if matches!(&firewall.interfaces, Wanted::Named(names) if !names.contains(name)) {
                tracing::warn!(
                    "{name} is not in firewall.interfaces: the next reload takes the datapath off"
                );
            }
            let entered = match self.numbers.number(name) {
                Ok(number) => {
                    kernel.attach(interface.clone(), number, held.mode.asked_for(), false).await.map(drop)
                }
                Err(error) => {
                    tracing::error!("{error}");
                    Ok(())
                }
            };
            if let Err(error) = entered {
                tracing::warn!("{name} is still counted under its old name: {error}");
            }
            self.states.insert(name.clone(), State { held: Some(held), said: Said::Nothing });
        }
    }

    /// Interfaces that have got another hardware address.
    async fn notice_readdressed(&mut self, present: &[Interface], kernel: &Handle) {
        for (name, state) in &mut self.states {
            let Some(held) = &mut state.held else { continue };
            let now = present.iter().find(|interface| interface.ifindex == held.ifindex);
            let Some(now) = now.filter(|interface| interface.station != held.station) else { continue };
            let Ok(number) = self.numbers.number(name) else { continue };
            match kernel.attach(now.clone(), number, held.mode.asked_for(), false).await {
                Ok(_) => held.station = now.station,
                Err(error) => tracing::warn!("{name} rejects without an answer: {error}"),
            }
        }
    }

    /// Interfaces that are gone, and those that somebody has taken the datapath off.
    async fn notice_lost(&mut self, present: &[Interface], kernel: &Handle) {
        for (name, state) in &mut self.states {
            let Some(held) = state.held else { continue };
            match present.iter().find(|interface| interface.ifindex == held.ifindex) {
                Some(interface) if interface.xdp.is_some_and(|xdp| xdp.program == held.program) => {}
                Some(_) => {
                    tracing::error!("{name}: somebody has taken the datapath off; attaching it again");
                    *state = State::default();
                }
                None => {
                    tracing::warn!("{name} is gone: the datapath attaches again as soon as it is back");
                    *state = State { held: None, said: Said::Absent };
                    if let Err(error) = kernel.forget(held.ifindex).await {
                        tracing::warn!("{error}");
                    }
                }
            }
        }
    }

    /// Takes back what a round has changed, as far as the kernel lets it.
    pub(super) async fn undo(&mut self, round: Round, kernel: &Handle) {
        for interface in &round.attached {
            if let Err(error) = kernel.release(interface.ifindex).await {
                tracing::error!("{}: {error}", interface.name);
            }
            if let Some(state) = self.states.get_mut(&interface.name) {
                state.held = None;
            }
        }
        for (interface, before) in round.moved {
            let Ok(number) = self.numbers.number(&interface.name) else { continue };
            let name = interface.name.clone();
            match kernel.attach(interface, number, before.asked_for(), false).await {
                Ok(attached) => {
                    let held = self.states.get_mut(&name).and_then(|state| state.held.as_mut());
                    if let Some(held) = held {
                        held.mode = attached.mode;
                    }
                }
                Err(error) => tracing::error!("{error}"),
            }
        }
        for name in round.rows {
            self.states.remove(&name);
        }
    }

    /// Takes the datapath off interfaces that the configuration does not name, also where an
    /// earlier agent attached it. With `auto` none is.
    pub(super) async fn keep_only(&mut self, firewall: &Firewall, kernel: &Handle) {
        let mut surplus = std::mem::take(&mut self.left);
        surplus
            .retain(|ifindex| !self.states.values().any(|s| s.held.is_some_and(|h| h.ifindex == *ifindex)));
        let mut surplus: Vec<_> = surplus.into_iter().map(|i| (format!("interface {i}"), i)).collect();
        if let Wanted::Named(names) = &firewall.interfaces {
            self.states.retain(|name, state| {
                let keep = names.contains(name);
                surplus.extend(state.held.filter(|_| !keep).map(|held| (name.clone(), held.ifindex)));
                keep
            });
        }
        for (name, ifindex) in surplus {
            match kernel.release(ifindex).await {
                Ok(()) => tracing::info!("{name}: no longer configured, the datapath is taken off"),
                Err(error) => tracing::error!("{name}: {error}"),
            }
        }
    }

    /// The datapath was removed everywhere.
    pub(super) fn all_detached(&mut self) {
        for state in self.states.values_mut() {
            state.held = None;
        }
    }
}
