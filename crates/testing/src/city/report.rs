//! Many seeds, and what came of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use super::counts::{Counts, Kind};
use super::lock;
use super::world::{self, Outcome, Plan};

/// What came of several seeds.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Each seed's outcome, in order of seed.
    pub outcomes: Vec<Outcome>,
    /// How long all of it took.
    pub took: Duration,
}

/// The summary as one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Numbers {
    /// Seeds that were run.
    pub seeds: u64,
    /// Finished flows and taps.
    pub operations: u64,
    /// What went wrong on purpose.
    pub faults: u64,
    /// Virtual seconds for each real one.
    pub virtual_per_real: f64,
    /// Seeds that found something.
    pub violations: u64,
}

/// Runs the plans, on as many threads as this. `heard` hears of each outcome at once.
pub fn run_all(plans: Vec<Plan>, threads: usize, heard: impl Fn(&Outcome) + Sync) -> Summary {
    let started = std::time::Instant::now();
    let (waiting, outcomes) = (Mutex::new(plans.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let next = lock(&waiting).next();
                    let Some(plan) = next else { return };
                    let outcome = world::run(plan);
                    heard(&outcome);
                    lock(&outcomes).push(outcome);
                }
            });
        }
    });
    let mut outcomes = std::mem::take(&mut *lock(&outcomes));
    outcomes.sort_by_key(|outcome| outcome.plan.seed);
    Summary { outcomes, took: started.elapsed() }
}

impl Summary {
    /// The numbers.
    pub fn numbers(&self) -> Numbers {
        let sum = |of: fn(&Outcome) -> u64| self.outcomes.iter().map(of).sum::<u64>();
        let virtual_s = sum(|outcome| outcome.virtual_s);
        Numbers {
            seeds: self.outcomes.len() as u64,
            operations: sum(|outcome| outcome.operations),
            faults: sum(|outcome| outcome.faults),
            virtual_per_real: (virtual_s as f64 / self.took.as_secs_f64()).round(),
            violations: sum(|outcome| u64::from(outcome.violation.is_some())),
        }
    }

    /// How often each kind of thing was done or went wrong.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for (kind, count) in self.outcomes.iter().flat_map(|outcome| &outcome.counts) {
            *counts.entry(*kind).or_default() += count;
        }
        counts
    }

    /// The kinds that nothing reached.
    pub fn never_reached(&self) -> Vec<Kind> {
        let counts = self.counts();
        Kind::all().into_iter().filter(|kind| !counts.contains_key(kind)).collect()
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let numbers = self.numbers();
        let counts = self.counts();
        let rate = numbers.operations as f64 / self.took.as_secs_f64();
        let messages: u64 = self.outcomes.iter().map(|outcome| outcome.messages).sum();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<26}{value:>16}");
        };
        line("seeds", numbers.seeds.to_string());
        line("operations", numbers.operations.to_string());
        let days: u64 = self.outcomes.iter().map(|outcome| outcome.days).sum();
        let mut differences = BTreeMap::<&str, u64>::new();
        for (cause, count) in self.outcomes.iter().flat_map(|outcome| &outcome.differences) {
            *differences.entry(*cause).or_default() += count;
        }
        line("days settled", days.to_string());
        line("differences", differences.values().sum::<u64>().to_string());
        for (cause, count) in differences {
            line(&format!("  {cause}"), count.to_string());
        }
        line("messages", messages.to_string());
        line("faults", numbers.faults.to_string());
        let mut heading = "";
        for kind in Kind::all() {
            if heading != kind.heading() {
                heading = kind.heading();
                line(heading, String::new());
            }
            // A kind that was never reached stands there with nothing.
            line(&format!("  {}", kind.name()), counts.get(&kind).copied().unwrap_or(0).to_string());
        }
        line("operations per second", format!("{rate:.0}"));
        line("virtual per real second", format!("{:.0}", numbers.virtual_per_real));
        line("seconds", format!("{:.1}", self.took.as_secs_f64()));
        let unsettled: Vec<_> = self.outcomes.iter().flat_map(|outcome| &outcome.unsettled).collect();
        line("unsettled riders", unsettled.len().to_string());
        line("violations", numbers.violations.to_string());
        for why in unsettled.iter().take(5) {
            let _ = writeln!(text, "{why}");
        }
        text
    }
}

/// A violation as a story, for people.
pub fn story(outcome: &Outcome) -> Option<String> {
    let report = outcome.violation.as_ref()?;
    let mut text = format!("seed {}: {}\n", outcome.plan.seed, report.found.violation);
    if let Some(rider) = report.found.rider {
        let _ = writeln!(text, "what concerned rider {rider}, in order:");
    }
    for line in &report.story {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "again: {}", outcome.plan.again());
    Some(text)
}
