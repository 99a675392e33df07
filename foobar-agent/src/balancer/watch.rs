//! Deadlines and draining of one core's connections without a timer each: every connection
//! leaves a watch here, setting a deadline is one store, and the core's one-second tick
//! wakes those whose deadline has passed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;
use tokio::sync::Notify;

/// No deadline.
const NEVER: u32 = u32::MAX;

/// All watches of one core.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Seconds since the worker started.
    now: Cell<u32>,
    draining: Cell<bool>,
    entries: RefCell<Slab<Rc<Entry>>>,
    /// Client connections, which draining waits for.
    clients: Cell<usize>,
    pub(super) no_clients: Notify,
}

#[derive(Debug)]
struct Entry {
    deadline: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

/// One connection's place among the watches, given up when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    watches: Rc<Watches>,
    entry: Rc<Entry>,
    key: usize,
    client: bool,
}

impl Watches {
    /// A watch for a connection of a client.
    pub(super) fn client(self: &Rc<Self>) -> Watch {
        self.clients.set(self.clients.get() + 1);
        self.watch(None, true)
    }

    /// A watch for a connection to a backend; `waker` wakes whoever drives it.
    pub(super) fn upstream(self: &Rc<Self>, waker: Waker) -> Watch {
        self.watch(Some(waker), false)
    }

    fn watch(self: &Rc<Self>, waker: Option<Waker>, client: bool) -> Watch {
        let entry = Rc::new(Entry { deadline: Cell::new(NEVER), waker: RefCell::new(waker) });
        let key = self.entries.borrow_mut().insert(Rc::clone(&entry));
        Watch { watches: Rc::clone(self), entry, key, client }
    }

    /// Seconds since the worker started.
    pub(super) fn now(&self) -> u32 {
        self.now.get()
    }

    /// One second has passed: wakes every connection whose deadline has too.
    pub(super) fn tick(&self) {
        self.now.set(self.now.get() + 1);
        self.wake(|entry| entry.deadline.get() <= self.now.get());
    }

    /// Tells every connection to finish what it has under way and end.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.wake(|_| true);
    }

    pub(super) fn clients(&self) -> usize {
        self.clients.get()
    }

    fn wake(&self, which: impl Fn(&Entry) -> bool) {
        for (_, entry) in &*self.entries.borrow() {
            if which(entry)
                && let Some(waker) = &*entry.waker.borrow()
            {
                waker.wake_by_ref();
            }
        }
    }
}

impl Watch {
    /// Sets the deadline `ticks` from now.
    pub(super) fn arm(&self, ticks: u32) {
        // One more, since the current second has partly passed.
        self.entry.deadline.set(self.watches.now.get().saturating_add(ticks).saturating_add(1));
    }

    pub(super) fn disarm(&self) {
        self.entry.deadline.set(NEVER);
    }

    pub(super) fn expired(&self) -> bool {
        self.entry.deadline.get() <= self.watches.now.get()
    }

    pub(super) fn draining(&self) -> bool {
        self.watches.draining.get()
    }

    /// Names the task to wake; cheap where it is the same as before.
    pub(super) fn wakes(&self, task: &Waker) {
        let mut waker = self.entry.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(task)) {
            *waker = Some(task.clone());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watches.entries.borrow_mut().try_remove(self.key);
        if self.client {
            self.watches.clients.set(self.watches.clients.get() - 1);
            if self.watches.clients.get() == 0 {
                self.watches.no_clients.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_deadline_wakes_its_connection_and_no_other_and_not_too_early() {
        let watches = Rc::new(Watches::default());
        let (late, calm) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (watch, other) = (watches.client(), watches.client());
        watch.wakes(&Waker::from(Arc::clone(&late)));
        other.wakes(&Waker::from(Arc::clone(&calm)));
        watch.arm(2);
        other.arm(2);
        other.disarm();
        for _ in 0..2 {
            watches.tick();
            assert!(!watch.expired());
        }
        watches.tick();
        assert!(watch.expired() && !other.expired());
        assert_eq!((late.0.load(Relaxed), calm.0.load(Relaxed)), (1, 0));
    }

    #[test]
    fn draining_wakes_every_connection_and_ends_with_the_last_client() {
        let watches = Rc::new(Watches::default());
        let woken = Arc::new(Count::default());
        let client = watches.client();
        client.wakes(&Waker::from(Arc::clone(&woken)));
        let upstream = watches.upstream(Waker::from(Arc::clone(&woken)));
        watches.drain();
        assert!(client.draining() && upstream.draining());
        assert_eq!((woken.0.load(Relaxed), watches.clients()), (2, 1));
        drop(client);
        assert_eq!(watches.clients(), 0);
        watches.drain();
        assert_eq!(woken.0.load(Relaxed), 3, "a connection that has ended is not woken");
    }
}
