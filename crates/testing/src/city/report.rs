//! Many seeds, and what came of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use super::lock;
use super::trace::Flow;
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
    outcomes.sort_by_key(|outcome| outcome.seed);
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

    /// A table for people.
    pub fn table(&self) -> String {
        let numbers = self.numbers();
        let mut flows = BTreeMap::<Flow, u64>::new();
        for (flow, count) in self.outcomes.iter().flat_map(|outcome| &outcome.flows) {
            *flows.entry(*flow).or_default() += count;
        }
        let taps = numbers.operations - flows.values().sum::<u64>();
        let rate = numbers.operations as f64 / self.took.as_secs_f64();
        let messages: u64 = self.outcomes.iter().map(|outcome| outcome.messages).sum();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<26}{value:>16}");
        };
        line("seeds", numbers.seeds.to_string());
        line("operations", numbers.operations.to_string());
        line("  taps", taps.to_string());
        for (flow, count) in flows {
            line(&format!("  {}", format!("{flow:?}").to_lowercase()), count.to_string());
        }
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
    let mut text = format!("seed {}: {}\n", outcome.seed, report.found.violation);
    if let Some(rider) = report.found.rider {
        let _ = writeln!(text, "what concerned rider {rider}, in order:");
    }
    for line in &report.story {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(text, "again: cargo xtask city --first-seed {} --seeds 1", outcome.seed);
    Some(text)
}
