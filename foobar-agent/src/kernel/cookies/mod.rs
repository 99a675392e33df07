//! SYN cookies: arms them in a flood, disarms them afterwards, and tells. The datapath makes the answers
//! (`foobar_ebpf::cookie`), the stack completes the connections; what both need of the host is set here
//! while it is needed, see [`host`].

mod host;
mod watch;

use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData};
use foobar_ebpf::abi::cookie::{IDLE, Offer, Outcome, PORT_WORDS, port_bit};
use foobar_ebpf::abi::{control, map};

use super::counters;
use super::error::KernelError;
use super::loader::{CounterMap, Instance};
use super::message::{CookieCause, CookieCounters};
use super::pins::Pins;
use crate::config::model::{CookieMode, SynCookies};
pub(super) use host::{Settings, Switches, restore_left};
use watch::{Sample, Step, Watch};

/// How long an end waits for answers to the last cookies; a longer one would keep the next agent waiting.
const END: Duration = Duration::from_secs(1);

pub(super) struct Cookies {
    control: Array<MapData, u64>,
    counts: CounterMap,
    ports: Array<MapData, u64>,
    /// Of which the datapath knows.
    except: Vec<u16>,
    settings: Settings,
    watch: Watch,
    started: Instant,
    cause: Option<CookieCause>,
    armed: u64,
    disarmed: u64,
    /// What is against cookies, or against all of them; said once.
    problem: Option<String>,
    /// For good: a look that was asked for before must not arm again.
    ended: bool,
}

impl Cookies {
    /// Takes up what an earlier agent has left armed.
    pub(super) fn open(
        instance: &mut Instance,
        pins: &Pins,
        settings: Settings,
    ) -> Result<Self, KernelError> {
        // Others hold it for words of their own.
        let control = MapData::from_pin(pins.map(map::CONTROL)).and_then(Map::from_map_data);
        let control = control.and_then(Array::<_, u64>::try_from).map_err(KernelError::bpf(CONTROL))?;
        let is_armed = control.get(&control::SYN_COOKIES, 0).map_err(KernelError::bpf(CONTROL))? != IDLE;
        let mut cookies = Self {
            control,
            counts: instance.take_counters(map::COOKIES)?,
            ports: instance.take_array(map::COOKIE_PORTS)?,
            except: Vec::new(),
            watch: Watch::new(is_armed || settings.are_changed()),
            settings,
            started: Instant::now(),
            cause: None,
            armed: 0,
            disarmed: 0,
            problem: None,
            ended: false,
        };
        if is_armed || cookies.settings.are_changed() {
            tracing::warn!("an earlier agent has left SYN cookies armed; they are disarmed when it is calm");
            cookies.forget_ports()?;
        }
        Ok(cookies)
    }

    /// Looks whether there is a flood, and does what is to be done.
    pub(super) fn tend(&mut self, wanted: &SynCookies) -> Result<(), KernelError> {
        let is_over =
            wanted.mode == CookieMode::Off && !self.watch.is_armed() && !self.settings.are_changed();
        if is_over || self.ended {
            return Ok(());
        }
        self.leave_ports(&wanted.except)?;
        let host::TcpCounts { returned, overflows } = host::tcp_counts()?;
        let mut sample = Sample { at: self.started.elapsed(), returned, overflows, ..Sample::default() };
        for row in counters::read_cookies(&self.counts)? {
            sample.syns += row.packets;
            if row.outcome == Outcome::Sent {
                sample.sent = row.packets;
            }
        }
        match self.watch.look(wanted, sample) {
            Step::Stay => Ok(()),
            Step::Arm(cause) => {
                let armed = self.arm();
                match armed {
                    Ok(offer) => self.say_armed(cause, offer),
                    Err(error) => {
                        self.watch.failed();
                        self.say_problem(format!("SYN cookies cannot be armed: {error}"));
                    }
                }
                Ok(())
            }
            Step::Quiet => {
                self.disarmed += 1;
                tracing::info!("SYN cookies disarmed: {} SYNs/s to allowed ports", self.watch.rate());
                self.quiet()
            }
            Step::Restore => self.settings.restore(),
        }
    }

    fn arm(&mut self) -> Result<Offer, KernelError> {
        for problem in self.settings.arm()? {
            self.say_problem(problem);
        }
        let offer = host::offer()?;
        self.control.set(control::SYN_COOKIES, offer.to_word(), 0).map_err(KernelError::bpf(CONTROL))?;
        Ok(offer)
    }

    fn say_armed(&mut self, cause: CookieCause, offer: Offer) {
        self.cause = Some(cause);
        self.armed += 1;
        let without = if offer.timestamps { "" } else { "; without timestamps, so with the MSS alone" };
        tracing::warn!(
            "SYN cookies armed ({}): {} SYNs/s to allowed ports{without}",
            cause.as_str(),
            self.watch.rate()
        );
    }

    fn say_problem(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::error!("{problem}");
            self.problem = Some(problem);
        }
    }

    /// Sends no more cookies.
    fn quiet(&mut self) -> Result<(), KernelError> {
        self.control.set(control::SYN_COOKIES, IDLE, 0).map_err(KernelError::bpf(CONTROL))
    }

    /// Ends for good: no more cookies, and everything as it was.
    pub(super) fn end(&mut self) -> Result<(), KernelError> {
        if self.watch.is_armed() {
            self.quiet()?;
            thread::sleep(END);
        }
        self.ended = true;
        self.watch = Watch::new(false);
        self.settings.restore()
    }

    /// Tells the datapath which ports are not its own to answer.
    fn leave_ports(&mut self, except: &[u16]) -> Result<(), KernelError> {
        if self.except == except {
            return Ok(());
        }
        let mut words = vec![0; PORT_WORDS as usize];
        for (word, bit) in except.iter().map(|port| port_bit(*port)) {
            words[word as usize] |= bit;
        }
        for (index, word) in (0..).zip(words) {
            self.ports.set(index, word, 0).map_err(KernelError::bpf("cannot except a port from cookies"))?;
        }
        except.clone_into(&mut self.except);
        Ok(())
    }

    /// Whatever an earlier agent has excepted.
    fn forget_ports(&mut self) -> Result<(), KernelError> {
        self.except = vec![0];
        self.leave_ports(&[])
    }

    /// Everything that can be seen of cookies.
    pub(super) fn counters(&self) -> Result<CookieCounters, KernelError> {
        Ok(CookieCounters {
            armed: self.watch.is_armed(),
            cause: self.cause.filter(|_| self.watch.is_armed()),
            armings: self.armed,
            disarmings: self.disarmed,
            syns_per_second: self.watch.rate(),
            outcomes: counters::read_cookies(&self.counts)?,
            problem: self.problem.clone(),
        })
    }
}

const CONTROL: &str = "cannot use the switch of SYN cookies";
