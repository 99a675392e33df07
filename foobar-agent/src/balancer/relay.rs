//! The waker of an upstream connection. The connection is driven by whichever task has its
//! request under way, and hyper's halves wake each other through it. Those wake-ups happen
//! while that very task drives both halves: passed on, each would cost it another round.
//! The relay swallows them during a drive and tells the driver to look again instead.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

const OPEN: u8 = 0;
const HUSHED: u8 = 1;
const HUSHED_AND_WOKEN: u8 = 2;

/// Rounds of one drive before other tasks get their turn.
const MAX_ROUNDS: usize = 16;

/// Passes wake-ups on to the task that is attached, if any.
#[derive(Debug, Default)]
pub(super) struct Relay {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(HUSHED, HUSHED_AND_WOKEN, AcqRel, Acquire) == Err(OPEN) {
            self.task.wake();
        }
    }
}

impl Relay {
    /// Polls `round` until it is ready or nothing more moves. `round` must poll with the
    /// context that it is given, which belongs to this relay.
    pub(super) fn drive<T>(
        self: &Arc<Self>,
        waker: &Waker,
        task: &Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.task.register(task.waker());
        for _ in 0..MAX_ROUNDS {
            self.state.store(HUSHED, Release);
            let result = round(&mut Context::from_waker(waker));
            let woken = self.state.swap(OPEN, AcqRel) == HUSHED_AND_WOKEN;
            if result.is_ready() || !woken {
                return result;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Forgets the task, so that an idle connection wakes nobody and keeps no task alive.
    pub(super) fn detach(&self) {
        drop(self.task.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_wake_during_a_drive_is_another_round_and_a_later_one_reaches_the_task() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (waker, task) = (Waker::from(Arc::clone(&relay)), Waker::from(Arc::clone(&count)));
        let mut rounds = 0;
        let result: Poll<()> = relay.drive(&waker, &Context::from_waker(&task), |cx| {
            rounds += 1;
            if rounds < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        });
        assert_eq!((result, rounds, count.0.load(Relaxed)), (Poll::Pending, 3, 0));
        waker.wake_by_ref();
        assert_eq!(count.0.load(Relaxed), 1);
    }

    #[test]
    fn a_drive_that_never_rests_yields_to_other_tasks() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (waker, task) = (Waker::from(Arc::clone(&relay)), Waker::from(Arc::clone(&count)));
        let result: Poll<()> = relay.drive(&waker, &Context::from_waker(&task), |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!((result, count.0.load(Relaxed)), (Poll::Pending, 1));
    }

    #[test]
    fn a_detached_relay_wakes_nobody() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (waker, task) = (Waker::from(Arc::clone(&relay)), Waker::from(Arc::clone(&count)));
        let pending: Poll<()> = relay.drive(&waker, &Context::from_waker(&task), |_| Poll::Pending);
        assert!(pending.is_pending());
        relay.detach();
        waker.wake();
        assert_eq!(count.0.load(Relaxed), 0);
    }
}
