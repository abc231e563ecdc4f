//! Connections that have not said yet who they are. They cost a socket and no more; when there are too many, the
//! one that has waited longest leaves, so that whoever speaks at once gets in beside any number of silent ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seats {
    /// In all.
    pub all: usize,
    /// From one address.
    pub of_one_address: usize,
}

/// The room.
#[derive(Clone)]
pub(crate) struct WaitingRoom {
    seats: Seats,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    entered: u64,
    waiting: BTreeMap<u64, Seat>,
}

struct Seat {
    from: IpAddr,
    // Dropping it sends the connection away.
    _stay: oneshot::Sender<()>,
}

/// A connection in the room; dropping it leaves.
pub(crate) struct Waiting {
    inside: Arc<Mutex<Inside>>,
    number: u64,
    sent_away: oneshot::Receiver<()>,
}

impl WaitingRoom {
    pub(crate) fn new(seats: Seats) -> Self {
        Self { seats, inside: Arc::default() }
    }

    /// A connection enters. If no seat is free, the one leaves that has waited longest from the same address, or from
    /// the address with the most.
    pub(crate) fn enter(&self, from: IpAddr) -> Waiting {
        let (stay, sent_away) = oneshot::channel();
        let mut inside = lock(&self.inside);
        if inside.count(from) >= self.seats.of_one_address {
            inside.send_away(from);
        } else if inside.waiting.len() >= self.seats.all
            && let Some(crowd) = inside.largest_crowd()
        {
            inside.send_away(crowd);
        }
        inside.entered += 1;
        let number = inside.entered;
        inside.waiting.insert(number, Seat { from, _stay: stay });
        Waiting { inside: self.inside.clone(), number, sent_away }
    }
}

impl Inside {
    fn count(&self, from: IpAddr) -> usize {
        self.waiting.values().filter(|seat| seat.from == from).count()
    }

    fn largest_crowd(&self) -> Option<IpAddr> {
        let mut crowds: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for seat in self.waiting.values() {
            *crowds.entry(seat.from).or_default() += 1;
        }
        crowds.into_iter().max_by_key(|(_, count)| *count).map(|(from, _)| from)
    }

    fn send_away(&mut self, from: IpAddr) {
        let longest = self.waiting.iter().find(|(_, seat)| seat.from == from).map(|(number, _)| *number);
        if let Some(longest) = longest {
            self.waiting.remove(&longest);
        }
    }
}

impl Waiting {
    /// Ends when another connection needs the seat.
    pub(crate) async fn sent_away(&mut self) {
        // Nothing is ever sent: the other end is only dropped.
        let _ = (&mut self.sent_away).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.inside).waiting.remove(&self.number);
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn gone(waiting: &mut Waiting) -> bool {
        waiting.sent_away().now_or_never().is_some()
    }

    #[test]
    fn the_longest_waiting_of_the_largest_crowd_makes_room() {
        let [crowd, honest] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse::<IpAddr>().unwrap());
        let room = WaitingRoom::new(Seats { all: 4, of_one_address: 3 });
        let mut first = room.enter(honest);
        let mut others: Vec<_> = (0..3).map(|_| room.enter(crowd)).collect();
        assert!(!gone(&mut first) && !others.iter_mut().any(gone), "all sit");
        let mut newest = room.enter(crowd);
        assert!(gone(&mut others[0]) && !gone(&mut others[1]), "an address has so many seats");
        let mut second = room.enter(honest);
        assert!(gone(&mut others[1]) && !gone(&mut first) && !gone(&mut newest) && !gone(&mut second));
        drop(newest);
        let mut third = room.enter(honest);
        assert!(!gone(&mut third) && !gone(&mut first) && !gone(&mut others[2]), "a seat was free");
    }
}
