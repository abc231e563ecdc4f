//! `cargo xtask city`: runs simulated cities, one for each seed, and says what came of them.

use std::process::ExitCode;

use tsm_testing::city::report::{self, Summary};
use tsm_testing::city::world::Plan;

const HELP: &str = "city [--first-seed S] [--seeds N] [--riders R] [--hours H] [--json]";

struct Arguments {
    first_seed: u64,
    seeds: u64,
    riders: Option<u32>,
    hours: Option<u32>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
}

fn main() -> ExitCode {
    let arguments = match read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    let last = arguments.first_seed.saturating_add(arguments.seeds);
    let plans = (arguments.first_seed..last).map(|seed| plan(seed, &arguments)).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = report::run_all(plans, threads, |outcome| {
        if let Some(story) = report::story(outcome) {
            eprintln!("{story}");
        }
    });
    print(&summary, arguments.form);
    if summary.numbers().violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(seed: u64, arguments: &Arguments) -> Plan {
    let usual = Plan::of_seed(seed);
    let riders = arguments.riders.unwrap_or(usual.riders);
    let hours = arguments.hours.unwrap_or(usual.hours);
    Plan { riders, hours, ..usual }
}

fn print(summary: &Summary, form: Form) {
    match form {
        Form::Table => print!("{}", summary.table()),
        Form::Json => {
            let numbers = serde_json::to_string(&summary.numbers());
            println!("{}", numbers.expect("five numbers can be written"));
        }
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { first_seed: 1, seeds: 1, riders: None, hours: None, form: Form::Table };
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            value.parse::<u64>().map_err(|_| format!("{word} needs a number, not {value}"))
        };
        let small = |value: u64| u32::try_from(value).map_err(|_| format!("{value} is too many"));
        match word.as_str() {
            "--json" => arguments.form = Form::Json,
            "--first-seed" => arguments.first_seed = number()?,
            "--seeds" => arguments.seeds = number()?,
            "--riders" => arguments.riders = Some(small(number()?)?),
            "--hours" => arguments.hours = Some(small(number()?)?),
            _ => return Err(format!("there is no argument {word}")),
        }
    }
    Ok(arguments)
}
