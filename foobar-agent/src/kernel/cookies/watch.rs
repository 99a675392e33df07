//! When SYN cookies are armed, and until when: decides, from counters; touches nothing.

use std::time::Duration;

use super::super::message::CookieCause;
use crate::config::model::{CookieMode, SynCookies};

/// How long what cookies need is kept after the last one was sent, so that clients that answer late, or
/// whose first data is lost, still find it.
pub(super) const DRAIN: Duration = Duration::from_secs(4);

/// Between two looks at least: a rate over less would be chance.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// What was counted up to one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Time since any fixed moment.
    pub(super) at: Duration,
    /// SYNs that the rules allowed.
    pub(super) syns: u64,
    /// Cookies that the datapath sent.
    pub(super) sent: u64,
    /// Cookies that came back, whoever had sent them.
    pub(super) returned: u64,
    /// Connections that a listener had no room for. Moves with each cookie, too.
    pub(super) overflows: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// Begin to send cookies.
    Arm(CookieCause),
    /// Send no more.
    Quiet,
    /// Give back what cookies need.
    Restore,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    /// `level`: SYNs a second that the flood had when it was noticed, the threshold at most.
    Armed {
        level: f64,
        calm_since: Option<Duration>,
    },
    Draining {
        until: Duration,
    },
}

/// The decision's memory.
#[derive(Debug)]
pub(super) struct Watch {
    state: State,
    last: Option<Sample>,
    /// SYNs a second between the last two looks.
    rate: f64,
}

impl Watch {
    /// `armed`: an earlier agent has left cookies armed.
    pub(super) fn new(armed: bool) -> Self {
        let state = if armed { State::Armed { level: f64::INFINITY, calm_since: None } } else { State::Idle };
        Self { state, last: None, rate: 0.0 }
    }

    /// SYNs a second, as of the last look.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of packets")]
    pub(super) fn rate(&self) -> u64 {
        self.rate.round() as u64
    }

    /// Whether cookies are sent.
    pub(super) fn is_armed(&self) -> bool {
        matches!(self.state, State::Armed { .. })
    }

    /// Looks at the counters.
    pub(super) fn look(&mut self, settings: &SynCookies, sample: Sample) -> Step {
        let Some(last) = self.last else {
            self.last = Some(sample);
            return match settings.mode {
                CookieMode::Always if !self.is_armed() => self.arm(CookieCause::Always, f64::INFINITY),
                CookieMode::Off if self.is_armed() => self.quiet(sample.at),
                _ => Step::Stay,
            };
        };
        let passed = sample.at.saturating_sub(last.at);
        if passed < LOOK_MIN {
            return Step::Stay;
        }
        self.last = Some(sample);
        let a_second = |now: u64, before: u64| per_second(now.saturating_sub(before), passed);
        self.rate = a_second(sample.syns, last.syns);
        let unreturned =
            (a_second(sample.sent, last.sent) - a_second(sample.returned, last.returned)).max(0.0);
        self.decide(settings, unreturned, sample.overflows > last.overflows, sample.at)
    }

    fn decide(&mut self, settings: &SynCookies, unreturned: f64, overflows: bool, now: Duration) -> Step {
        let threshold = f64::from(settings.threshold);
        match (settings.mode, self.state) {
            (CookieMode::Off, State::Armed { .. }) => self.quiet(now),
            (_, State::Draining { until }) if now >= until => {
                self.state = State::Idle;
                Step::Restore
            }
            (CookieMode::Always, State::Idle | State::Draining { .. }) => {
                self.arm(CookieCause::Always, f64::INFINITY)
            }
            (CookieMode::Auto, State::Idle | State::Draining { .. }) if self.rate > threshold => {
                self.arm(CookieCause::Rate, threshold)
            }
            // While draining, counters of overflow may move for a cookie that was sent before.
            (CookieMode::Auto, State::Idle) if overflows && self.rate > 0.0 => {
                self.arm(CookieCause::Overflow, self.rate.min(threshold))
            }
            (CookieMode::Auto, State::Armed { level, calm_since }) => {
                let level = level.min(threshold);
                // Half the rate that armed: what hovers about the threshold does not switch to and fro.
                // Cookies that come back are no flood, unless there are more than the threshold itself.
                let is_calm = self.rate < threshold / 2.0 && unreturned < level / 2.0;
                let calm_since = is_calm.then(|| calm_since.unwrap_or(now));
                self.state = State::Armed { level, calm_since };
                match calm_since {
                    Some(since) if now.saturating_sub(since) >= settings.hold() => self.quiet(now),
                    _ => Step::Stay,
                }
            }
            _ => Step::Stay,
        }
    }

    fn arm(&mut self, cause: CookieCause, level: f64) -> Step {
        self.state = State::Armed { level, calm_since: None };
        Step::Arm(cause)
    }

    fn quiet(&mut self, now: Duration) -> Step {
        self.state = State::Draining { until: now + DRAIN };
        Step::Quiet
    }

    /// It could not be armed, and is tried again at the next look.
    pub(super) fn failed(&mut self) {
        self.state = State::Idle;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(count: u64, passed: Duration) -> f64 {
    count as f64 / passed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    fn settings(mode: CookieMode) -> SynCookies {
        SynCookies { mode, threshold: 1000, hold_seconds: 2, except: Vec::new() }
    }

    /// A host's counters, and looks at them.
    struct Bench {
        settings: SynCookies,
        watch: Watch,
        sample: Sample,
    }

    impl Bench {
        fn new(mode: CookieMode) -> Self {
            let mut bench =
                Self { settings: settings(mode), watch: Watch::new(false), sample: Sample::default() };
            assert_eq!(
                bench.watch.look(&bench.settings, bench.sample),
                if mode == CookieMode::Always { Step::Arm(CookieCause::Always) } else { Step::Stay }
            );
            bench
        }

        /// The next look, after so many of each in a second.
        fn second(&mut self, syns: u64, sent: u64, returned: u64, overflows: u64) -> Step {
            self.sample.at += LOOK;
            self.sample.syns += syns / 4;
            self.sample.sent += sent / 4;
            self.sample.returned += returned / 4;
            self.sample.overflows += overflows;
            self.watch.look(&self.settings, self.sample)
        }

        /// Looks until there is something to be done; how many it took.
        fn until(&mut self, wanted: Step, mut look: impl FnMut(&mut Self) -> Step) -> u32 {
            for looks in 1..100 {
                match look(self) {
                    Step::Stay => {}
                    step => {
                        assert_eq!(step, wanted);
                        return looks;
                    }
                }
            }
            panic!("{wanted:?} never came: {self:?}", self = self.watch);
        }
    }

    #[test]
    fn a_flood_arms_and_its_end_disarms_after_the_hold_and_restores_after_the_drain() {
        let mut bench = Bench::new(CookieMode::Auto);
        assert_eq!(bench.second(900, 0, 0, 0), Step::Stay);
        assert_eq!(bench.second(90_000, 0, 0, 0), Step::Arm(CookieCause::Rate));
        assert_eq!(bench.second(90_000, 90_000, 10, 99), Step::Stay);
        // Half the threshold is still a flood.
        for _ in 0..50 {
            assert_eq!(bench.second(600, 600, 590, 9), Step::Stay);
        }
        // One calm moment ends nothing.
        assert_eq!(bench.second(8, 8, 8, 0), Step::Stay);
        assert_eq!(bench.second(5_000, 5_000, 0, 9), Step::Stay);
        assert_eq!(bench.until(Step::Quiet, |bench| bench.second(8, 8, 8, 0)), 9);
        assert!(!bench.watch.is_armed());
        assert_eq!(bench.until(Step::Restore, |bench| bench.second(8, 0, 0, 0)), 16);
        assert_eq!(bench.second(8, 0, 0, 0), Step::Stay);
    }

    #[test]
    fn an_overflow_arms_below_the_threshold_and_lasts_while_cookies_do_not_come_back() {
        let mut bench = Bench::new(CookieMode::Auto);
        assert_eq!(bench.second(0, 0, 0, 5), Step::Stay, "not of this interface");
        assert_eq!(bench.second(200, 0, 0, 5), Step::Arm(CookieCause::Overflow));
        for _ in 0..50 {
            assert_eq!(bench.second(200, 200, 8, 50), Step::Stay);
        }
        assert_eq!(bench.until(Step::Quiet, |bench| bench.second(200, 200, 200, 50)), 9);
    }

    #[test]
    fn a_flood_that_returns_while_draining_arms_again() {
        let mut bench = Bench::new(CookieMode::Auto);
        bench.second(90_000, 0, 0, 0);
        bench.until(Step::Quiet, |bench| bench.second(0, 0, 0, 0));
        assert_eq!(bench.second(90_000, 0, 0, 0), Step::Arm(CookieCause::Rate));
    }

    #[test]
    fn always_is_always_and_off_is_off() {
        let mut bench = Bench::new(CookieMode::Always);
        for _ in 0..50 {
            assert_eq!(bench.second(0, 0, 0, 0), Step::Stay);
        }
        bench.settings.mode = CookieMode::Off;
        assert_eq!(bench.second(90_000, 90_000, 0, 9), Step::Quiet);
        assert_eq!(bench.until(Step::Restore, |bench| bench.second(90_000, 0, 0, 9)), 16);
    }

    #[test]
    fn what_an_earlier_agent_left_armed_goes_on_as_long_as_its_flood() {
        let mut bench = Bench::new(CookieMode::Auto);
        bench.watch = Watch::new(true);
        assert_eq!(bench.second(0, 0, 0, 0), Step::Stay);
        for _ in 0..50 {
            assert_eq!(bench.second(90_000, 90_000, 0, 9), Step::Stay);
        }
        assert_eq!(bench.until(Step::Quiet, |bench| bench.second(0, 0, 0, 0)), 9);
        let mut off = Watch::new(true);
        assert_eq!(off.look(&settings(CookieMode::Off), Sample::default()), Step::Quiet);
    }
}
