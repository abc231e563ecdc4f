//! Tasks on virtual time: one thread, no waiting. When nothing can run, time jumps to the next timer.
//!
//! Every task has an owner, the process that it belongs to. A process that is killed loses all its tasks at
//! once, wherever they stand, as a real one does. Which of several ready tasks goes first is drawn from the
//! seed, and from nothing else: what one step wakes is put in order of age first, because some channels wake
//! their receivers in an order of their own, different in each run.

use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tsm_domain::environment::Clock;
use tsm_services::runtime::{Spawner, Timer};

use super::lock;
use super::random::Random;

/// A process: whose task something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(u32);

/// The executor and its virtual time.
#[derive(Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    /// Nanoseconds since 1970.
    now: AtomicI64,
    stopped: AtomicBool,
    woken: Arc<Mutex<Vec<TaskId>>>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskId {
    index: usize,
    generation: u64,
}

struct State {
    ready: VecDeque<TaskId>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    generations: u64,
    owners: u32,
    timers: BinaryHeap<Alarm>,
    alarms: u64,
    order: Random,
}

#[derive(Default)]
struct Slot {
    generation: u64,
    task: Option<Task>,
}

struct Task {
    owner: Owner,
    knock: Arc<Knock>,
    waker: Waker,
    /// Absent while it runs.
    future: Option<BoxFuture<'static, ()>>,
}

/// Wakes one task, once until it runs.
struct Knock {
    id: TaskId,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            lock(&self.woken).push(self.id);
        }
    }
}

/// When somebody wants to be woken. The earliest is the greatest, for the heap.
struct Alarm {
    at: i64,
    number: u64,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    waker: Mutex<Option<Waker>>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// The end of a run of tasks: what stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// The time came.
    Time,
    /// Somebody called [`Executor::stop`].
    Stopped,
    /// Nothing is left to do.
    Idle,
}

impl Executor {
    /// Time begins at `start`; the order of ready tasks comes from `order`.
    pub fn new(start: Timestamp, order: Random) -> Self {
        let state = State {
            ready: VecDeque::new(),
            slots: Vec::new(),
            free: Vec::new(),
            generations: 0,
            owners: 0,
            timers: BinaryHeap::new(),
            alarms: 0,
            order,
        };
        let shared = Shared {
            now: AtomicI64::new(nanoseconds(start)),
            stopped: AtomicBool::new(false),
            woken: Arc::default(),
            state: Mutex::new(state),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A new process.
    pub fn owner(&self) -> Owner {
        let mut state = lock(&self.shared.state);
        state.owners += 1;
        Owner(state.owners)
    }

    /// The virtual time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.nanoseconds())).unwrap_or(Timestamp::MAX)
    }

    /// The virtual time in nanoseconds since 1970.
    pub fn nanoseconds(&self) -> i64 {
        self.shared.now.load(Ordering::Relaxed)
    }

    /// Runs a task of a process.
    pub fn spawn(&self, owner: Owner, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(owner, task.boxed());
    }

    fn spawn_boxed(&self, owner: Owner, future: BoxFuture<'static, ()>) {
        let mut state = lock(&self.shared.state);
        state.generations += 1;
        let generation = state.generations;
        let index = state.free.pop().unwrap_or_else(|| {
            state.slots.push(Slot::default());
            state.slots.len() - 1
        });
        let id = TaskId { index, generation };
        let woken = self.shared.woken.clone();
        let knock = Arc::new(Knock { id, queued: AtomicBool::new(false), woken });
        let waker = Waker::from(knock.clone());
        waker.wake_by_ref();
        let task = Task { owner, knock, waker, future: Some(future) };
        state.slots[index] = Slot { generation, task: Some(task) };
    }

    /// A future that is ready after this time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let at = self.nanoseconds().saturating_add(nanoseconds);
        Sleep { executor: self.clone(), at, bell: None }
    }

    /// Takes all tasks from a process. One that runs at this moment ends when it next waits.
    pub fn kill(&self, owner: Owner) {
        let mut dead = Vec::new();
        let mut state = lock(&self.shared.state);
        for index in 0..state.slots.len() {
            let slot = &mut state.slots[index];
            if slot.task.as_ref().is_some_and(|task| task.owner == owner) {
                dead.push(slot.task.take());
                slot.generation = 0;
                state.free.push(index);
            }
        }
        drop(state);
        // Dropping a task may wake others, which needs the locks.
        drop(dead);
    }

    /// Takes all tasks from everybody, so that nothing that they held lives on.
    pub fn end(&self) {
        let mut state = lock(&self.shared.state);
        let mut dead = Vec::new();
        for slot in &mut state.slots {
            slot.generation = 0;
            dead.push(slot.task.take());
        }
        state.timers.clear();
        drop(state);
        // Dropping a task may wake others, which needs the locks.
        drop(dead);
    }

    /// Lets [`Executor::run_until`] return after the present task.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }

    /// Runs tasks until this time. `after` is called after each task that ran, with its process.
    pub fn run_until(&self, end: Timestamp, mut after: impl FnMut(Owner)) -> Halt {
        let end = nanoseconds(end);
        loop {
            while let Some(id) = self.next_ready() {
                if let Some(owner) = self.poll(id) {
                    after(owner);
                }
                if self.shared.stopped.swap(false, Ordering::Relaxed) {
                    return Halt::Stopped;
                }
            }
            let mut state = lock(&self.shared.state);
            let Some(alarm) = state.timers.peek() else { return Halt::Idle };
            if alarm.at > end {
                self.shared.now.fetch_max(end, Ordering::Relaxed);
                return Halt::Time;
            }
            let alarm = state.timers.pop();
            drop(state);
            let Some(alarm) = alarm else { return Halt::Idle };
            self.shared.now.fetch_max(alarm.at, Ordering::Relaxed);
            let waker = lock(&alarm.bell.waker).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Runs one future to its end, with everything else that has to run for it.
    ///
    /// # Panics
    /// When nothing is left that could let it end.
    pub fn complete<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let result = Arc::new(Mutex::new(None));
        let (slot, executor) = (result.clone(), self.clone());
        self.spawn(Owner(0), async move {
            let value = work.await;
            *lock(&slot) = Some(value);
            executor.stop();
        });
        loop {
            let halt = self.run_until(Timestamp::MAX, |_| {});
            if let Some(value) = lock(&result).take() {
                return value;
            }
            assert_eq!(halt, Halt::Stopped, "the work waits for something that never comes");
        }
    }

    /// The next task; which of several is drawn, so that no order is relied upon.
    fn next_ready(&self) -> Option<TaskId> {
        let mut woken = std::mem::take(&mut *lock(&self.shared.woken));
        woken.sort_unstable_by_key(|task| task.generation);
        let mut state = lock(&self.shared.state);
        state.ready.extend(woken);
        match state.ready.len() {
            0 | 1 => state.ready.pop_front(),
            count => {
                let index = state.order.below(count.min(8) as u64) as usize;
                state.ready.remove(index)
            }
        }
    }

    fn poll(&self, id: TaskId) -> Option<Owner> {
        let (mut future, waker, owner) = {
            let mut state = lock(&self.shared.state);
            let slot = &mut state.slots[id.index];
            if slot.generation != id.generation {
                return None;
            }
            let task = slot.task.as_mut()?;
            // From here on a knock means: run again.
            task.knock.queued.store(false, Ordering::Relaxed);
            (task.future.take()?, task.waker.clone(), task.owner)
        };
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = lock(&self.shared.state);
        let slot = &mut state.slots[id.index];
        let alive = slot.generation == id.generation;
        if alive && !done {
            if let Some(task) = slot.task.as_mut() {
                task.future = Some(future);
            }
            return Some(owner);
        }
        let mut dead = None;
        if alive {
            dead = slot.task.take();
            slot.generation = 0;
            state.free.push(id.index);
        }
        drop(state);
        drop((dead, future));
        Some(owner)
    }
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Waits for its time. Dropping it cancels the wait.
pub struct Sleep {
    executor: Executor,
    at: i64,
    bell: Option<Arc<Bell>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.executor.nanoseconds() >= self.at {
            return Poll::Ready(());
        }
        let waker = Some(context.waker().clone());
        if let Some(bell) = &self.bell {
            *lock(&bell.waker) = waker;
            return Poll::Pending;
        }
        let bell = Arc::new(Bell { waker: Mutex::new(waker) });
        let mut state = lock(&self.executor.shared.state);
        state.alarms += 1;
        let alarm = Alarm { at: self.at, number: state.alarms, bell: bell.clone() };
        state.timers.push(alarm);
        drop(state);
        self.bell = Some(bell);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(bell) = &self.bell {
            lock(&bell.waker).take();
        }
    }
}

/// The tasks and timers of one process.
pub struct Process {
    executor: Executor,
    owner: Owner,
}

impl Process {
    /// Those of `owner`.
    pub const fn new(executor: Executor, owner: Owner) -> Self {
        Self { executor, owner }
    }
}

impl Spawner for Process {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn_boxed(self.owner, task);
    }
}

impl Timer for Process {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.executor.sleep(duration).boxed()
    }
}

/// The clock of one machine, which may be wrong.
pub struct MachineClock {
    executor: Executor,
    /// Milliseconds that it is ahead.
    ahead_ms: AtomicI64,
}

impl MachineClock {
    /// A clock that is right.
    pub fn new(executor: Executor) -> Self {
        Self { executor, ahead_ms: AtomicI64::new(0) }
    }

    /// Sets how far it is ahead; negative when it is behind.
    pub fn set_ahead(&self, by: SignedDuration) {
        self.ahead_ms.store(i64::try_from(by.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        self.executor.now().saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn executor() -> Executor {
        Executor::new(Timestamp::UNIX_EPOCH, Random::new(1, 1))
    }

    #[test]
    fn time_jumps_to_the_next_timer() {
        let executor = executor();
        let (task, order) = (executor.clone(), Arc::new(Mutex::new(Vec::new())));
        for seconds in [3600, 5, 86_400] {
            let (task, order) = (task.clone(), order.clone());
            executor.spawn(executor.owner(), async move {
                task.sleep(Duration::from_secs(seconds)).await;
                lock(&order).push((seconds, task.now().as_second()));
            });
        }
        assert_eq!(executor.run_until(Timestamp::from_second(4000).unwrap(), |_| {}), Halt::Time);
        assert_eq!(*lock(&order), [(5, 5), (3600, 3600)]);
        assert_eq!(executor.run_until(Timestamp::MAX, |_| {}), Halt::Idle);
        assert_eq!(lock(&order).last(), Some(&(86_400, 86_400)));
    }

    #[test]
    fn a_killed_process_loses_its_tasks_where_they_stand() {
        let executor = executor();
        let (doomed, other) = (executor.owner(), executor.owner());
        let (say, said) = oneshot::channel::<()>();
        let timer = executor.clone();
        executor.spawn(doomed, async move {
            timer.sleep(Duration::from_secs(10)).await;
            let _ = say.send(());
        });
        let killer = executor.clone();
        executor.spawn(other, async move {
            killer.sleep(Duration::from_secs(5)).await;
            killer.kill(doomed);
        });
        assert!(executor.complete(said).is_err(), "the sender died with its process");
        assert_eq!(executor.now().as_second(), 5);
    }

    #[test]
    fn what_one_step_wakes_runs_in_the_seeds_order() {
        let orders = std::iter::repeat_with(|| {
            let executor = executor();
            let (news, order) = (tokio::sync::watch::channel(0).0, Arc::new(Mutex::new(Vec::new())));
            for number in 0..8 {
                let (mut heard, order) = (news.subscribe(), order.clone());
                executor.spawn(executor.owner(), async move {
                    heard.changed().await.unwrap();
                    lock(&order).push(number);
                });
            }
            let timer = executor.clone();
            executor.complete(async move {
                timer.sleep(Duration::from_secs(1)).await;
                news.send_replace(1);
                timer.sleep(Duration::from_secs(1)).await;
            });
            Arc::into_inner(order).unwrap().into_inner().unwrap()
        });
        let orders: Vec<Vec<u32>> = orders.take(20).collect();
        assert_eq!(orders[0].len(), 8);
        assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
    }

    #[test]
    fn a_dropped_wait_wakes_nobody() {
        let executor = executor();
        let timer = executor.clone();
        executor.complete(async move {
            let long = timer.sleep(Duration::from_secs(100));
            tokio::select! {
                biased;
                () = long => panic!("the shorter wait ends first"),
                () = timer.sleep(Duration::from_secs(1)) => {}
            }
            timer.sleep(Duration::from_secs(200)).await;
            assert_eq!(timer.now().as_second(), 201);
        });
    }
}
