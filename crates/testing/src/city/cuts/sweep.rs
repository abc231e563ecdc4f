//! All places of all flows, and what came of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use super::flows::Flow;
use super::point::{CommandFault, Kind, Next, Point};
use super::trial::{CRASHES, Counted, Cut, Failure, Tried, count, try_cut};
use crate::city::lock;
use crate::city::network::Role;
use crate::city::placed::PlacedFault;
use crate::city::random::Random;

/// Writes of a terminal's store in one tap, at most. Places beyond the last are not counted.
const TERMINAL_WRITES: u64 = 6;

/// What is swept.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// These flows.
    pub flows: Vec<Flow>,
    /// These kinds of places.
    pub kinds: Vec<Kind>,
    /// This place alone.
    pub only: Option<Point>,
    /// These choices at the next contact.
    pub next: Vec<Next>,
    /// Every so-manieth place.
    pub every: usize,
    /// So many runs with two faults, drawn.
    pub double: u64,
    /// What draws them.
    pub seed: u64,
    /// On so many threads.
    pub threads: usize,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            flows: Flow::ALL.to_vec(),
            kinds: Kind::ALL.to_vec(),
            only: None,
            next: vec![Next::Continue, Next::Cancel],
            every: 1,
            double: 0,
            seed: 1,
            threads: 1,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Swept {
    /// Runs whose fault befell the flow, by flow and kind.
    pub tried: BTreeMap<(Flow, Kind), u64>,
    /// Runs with two faults.
    pub double: u64,
    /// Runs after which something was not in order.
    pub failed: u64,
    /// Flows that do not succeed even without a fault.
    pub broken: Vec<Flow>,
    /// How long it took.
    pub took: Duration,
}

/// The numbers as one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Numbers {
    /// Runs with one fault.
    pub cuts: u64,
    /// By flow and kind.
    pub flows: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Runs with two faults.
    pub double: u64,
    /// Runs after which something was not in order.
    pub failed: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// All places of a flow with these counts.
pub fn places(flow: Flow, counted: &Counted) -> Vec<Point> {
    let mut places = Vec::new();
    for number in 0..counted.commands {
        places.extend(CommandFault::ALL.map(|fault| Point::Command(number, fault)));
    }
    places.extend((0..counted.writes).map(Point::Write));
    for number in 0..counted.messages.len() as u64 {
        places.extend(PlacedFault::ALL.map(|fault| Point::Message(number, fault)));
    }
    for (role, commits) in Role::ALL.into_iter().zip(counted.commits) {
        for number in 0..commits {
            places.extend(CRASHES.map(|crash| Point::Commit(role, number, crash)));
        }
    }
    for number in 0..counted.wallet {
        places.extend(CRASHES.map(|crash| Point::Wallet(number, crash)));
    }
    if flow.taps() {
        places.extend((0..TERMINAL_WRITES).map(Point::Terminal));
    }
    places
}

/// Runs the sweep. `heard` hears of each failure at once.
pub fn run(sweep: &Sweep, heard: impl Fn(&Cut, &Failure) + Sync) -> Swept {
    let started = std::time::Instant::now();
    let mut swept = Swept::default();
    let mut cuts = Vec::new();
    let mut random = Random::new(sweep.seed, 900);
    for (index, flow) in sweep.flows.iter().copied().enumerate() {
        match count(flow) {
            Ok(counted) => cuts.extend(cuts_of(sweep, index, flow, &counted, &mut random)),
            Err(failure) => {
                let whole = Cut { flow, points: Vec::new(), next: Next::Continue, planted: None };
                heard(&whole, &failure);
                swept.broken.push(flow);
            }
        }
    }
    let (waiting, done) = (Mutex::new(cuts.into_iter()), Mutex::new(&mut swept));
    std::thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let next = lock(&waiting).next();
                    let Some(cut) = next else { return };
                    let tried = try_cut(&cut);
                    if let Some(failure) = &tried.failure {
                        heard(&cut, failure);
                    }
                    lock(&done).add(&tried);
                }
            });
        }
    });
    swept.took = started.elapsed();
    swept
}

fn cuts_of(sweep: &Sweep, index: usize, flow: Flow, counted: &Counted, random: &mut Random) -> Vec<Cut> {
    let mut places = match sweep.only {
        Some(place) => vec![place],
        None => places(flow, counted),
    };
    places.retain(|place| sweep.kinds.contains(&place.kind()));
    let choices: Vec<Next> =
        sweep.next.iter().copied().filter(|next| *next == Next::Continue || flow.has_cancel()).collect();
    let mut cuts = Vec::new();
    for next in &choices {
        for place in &places {
            cuts.push(Cut { flow, points: vec![*place], next: *next, planted: None });
        }
    }
    // Each flow begins its share elsewhere.
    let offset = index * 7;
    let mut share: Vec<Cut> = cuts
        .into_iter()
        .enumerate()
        .filter(|(number, _)| (number + offset).is_multiple_of(sweep.every.max(1)))
        .map(|(_, cut)| cut)
        .collect();
    let mut drawn = 0;
    let mut draws = 0;
    let wanted = sweep.double / sweep.flows.len() as u64
        + u64::from((index as u64) < sweep.double % sweep.flows.len() as u64);
    while drawn < wanted && draws < 50 * wanted && !places.is_empty() && !choices.is_empty() {
        draws += 1;
        let (one, another) = (*random.pick(&places), *random.pick(&places));
        let next = *random.pick(&choices);
        if one.goes_with(another) {
            share.push(Cut { flow, points: vec![one, another], next, planted: None });
            drawn += 1;
        }
    }
    share
}

impl Swept {
    fn add(&mut self, tried: &Tried) {
        self.failed += u64::from(tried.failure.is_some());
        match tried.cut.points.as_slice() {
            // A fault that befell nothing is no cut.
            [point] if tried.fired => {
                *self.tried.entry((tried.cut.flow, point.kind())).or_default() += 1;
            }
            [_, _] => self.double += 1,
            _ => {}
        }
    }

    /// The numbers.
    pub fn numbers(&self) -> Numbers {
        let mut flows = BTreeMap::<_, BTreeMap<_, u64>>::new();
        for ((flow, kind), tried) in &self.tried {
            *flows.entry(flow.name()).or_default().entry(kind.name()).or_default() += tried;
        }
        Numbers {
            cuts: self.tried.values().sum(),
            flows,
            double: self.double,
            failed: self.failed + self.broken.len() as u64,
            seconds: (self.took.as_secs_f64() * 10.0).round() / 10.0,
        }
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = format!("{:<16}", "flow");
        for kind in Kind::ALL {
            let _ = write!(text, "{:>10}", kind.name());
        }
        let _ = writeln!(text, "{:>10}", "all");
        let row = |name: &str, of: &dyn Fn(Kind) -> u64| {
            let mut line = format!("{name:<16}");
            for kind in Kind::ALL {
                let _ = write!(line, "{:>10}", of(kind));
            }
            let all: u64 = Kind::ALL.into_iter().map(of).sum();
            format!("{line}{all:>10}\n")
        };
        let at = |flow: Flow, kind: Kind| self.tried.get(&(flow, kind)).copied().unwrap_or(0);
        let flows = Flow::ALL.into_iter().filter(|flow| self.tried.keys().any(|(known, _)| known == flow));
        for flow in flows {
            text += &row(flow.name(), &|kind| at(flow, kind));
        }
        text += &row("all", &|kind| Flow::ALL.into_iter().map(|flow| at(flow, kind)).sum());
        let _ = writeln!(text, "with two faults {:>10}", self.double);
        let _ = writeln!(text, "not in order    {:>10}", self.failed + self.broken.len() as u64);
        let _ = writeln!(text, "seconds         {:>10.1}", self.took.as_secs_f64());
        text
    }
}

/// A failure as a story, for people.
pub fn story(cut: &Cut, failure: &Failure) -> String {
    let points: Vec<String> = cut.points.iter().map(Point::to_string).collect();
    let at = if points.is_empty() { "without a fault".to_owned() } else { points.join(" and ") };
    let mut text = format!("{}, {at}, then {}:\n", cut.flow.name(), cut.next.name());
    for finding in &failure.findings {
        let _ = writeln!(text, "  ! {finding}");
    }
    for line in &failure.story {
        let _ = writeln!(text, "  {line}");
    }
    if let [point] = points.as_slice() {
        let (flow, next) = (cut.flow.name(), cut.next.name());
        let _ = writeln!(text, "again: cargo xtask city cuts --flow {flow} --point {point} --then {next}");
    }
    text
}
