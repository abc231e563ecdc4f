//! `cargo xtask city`: runs simulated cities, one for each seed, and says what came of them; `cargo xtask city
//! cuts`: breaks every flow at each of its places.

use std::process::ExitCode;

use tsm_testing::city::cuts::sweep::{self, Sweep};
use tsm_testing::city::cuts::{Flow, Kind, Next};
use tsm_testing::city::report::{self, Summary};
use tsm_testing::city::world::{Plan, Town};

const HELP: &str = "city [--first-seed S] [--seeds N] [--town usual|small|harsh] [--riders R] [--hours H] [--json]
city cuts [--flow F] [--kind K] [--point P] [--then continue|cancel] [--every N] [--double N] [--seed S] [--json]";

struct Arguments {
    first_seed: u64,
    seeds: u64,
    town: Town,
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
    let mut words = std::env::args().skip(1).peekable();
    let ended = if words.next_if(|word| word == "cuts").is_some() {
        read_cuts(words).map(|(sweep, form)| run_cuts(&sweep, form))
    } else {
        read(words).map(|arguments| run_cities(&arguments))
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}\n{HELP}");
            ExitCode::FAILURE
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Says whether all is well.
fn run_cities(arguments: &Arguments) -> bool {
    let last = arguments.first_seed.saturating_add(arguments.seeds);
    let plans = (arguments.first_seed..last).map(|seed| plan(seed, arguments)).collect();
    let summary = report::run_all(plans, threads(), |outcome| {
        if let Some(story) = report::story(outcome) {
            eprintln!("{story}");
        }
    });
    print(&summary, arguments.form);
    summary.numbers().violations == 0
}

/// Says whether all is well.
fn run_cuts(sweep: &Sweep, form: Form) -> bool {
    let swept = sweep::run(sweep, |cut, failure| eprintln!("{}", sweep::story(cut, failure)));
    let numbers = swept.numbers();
    match form {
        Form::Table => print!("{}", swept.table()),
        Form::Json => println!("{}", serde_json::to_string(&numbers).expect("numbers can be written")),
    }
    numbers.failed == 0
}

fn read_cuts(mut words: impl Iterator<Item = String>) -> Result<(Sweep, Form), String> {
    let mut sweep = Sweep { threads: threads(), ..Sweep::default() };
    let mut form = Form::Table;
    while let Some(word) = words.next() {
        if word == "--json" {
            form = Form::Json;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number, not {value}"));
        let unknown = |what: &str| format!("there is no {what} {value}");
        match word.as_str() {
            "--flow" => {
                let flow = Flow::ALL.into_iter().find(|flow| flow.name() == value);
                sweep.flows = vec![flow.ok_or_else(|| unknown("flow"))?];
            }
            "--kind" => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.name() == value);
                sweep.kinds = vec![kind.ok_or_else(|| unknown("kind"))?];
            }
            "--then" => {
                let next = [Next::Continue, Next::Cancel].into_iter().find(|next| next.name() == value);
                sweep.next = vec![next.ok_or_else(|| unknown("choice"))?];
            }
            "--point" => sweep.only = Some(value.parse()?),
            "--every" => sweep.every = number()? as usize,
            "--double" => sweep.double = number()?,
            "--seed" => sweep.seed = number()?,
            _ => return Err(format!("there is no argument {word}")),
        }
    }
    Ok((sweep, form))
}

fn plan(seed: u64, arguments: &Arguments) -> Plan {
    let town = arguments.town.plan(seed);
    let riders = arguments.riders.unwrap_or(town.riders);
    let hours = arguments.hours.unwrap_or(town.hours);
    Plan { riders, hours, ..town }
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
    let mut arguments = Arguments {
        first_seed: 1,
        seeds: 1,
        town: Town::Usual,
        riders: None,
        hours: None,
        form: Form::Table,
    };
    while let Some(word) = words.next() {
        if word == "--json" {
            arguments.form = Form::Json;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} needs a number, not {value}"));
        let small = |value: u64| u32::try_from(value).map_err(|_| format!("{value} is too many"));
        match word.as_str() {
            "--town" => {
                let town = Town::ALL.into_iter().find(|town| town.name() == value);
                arguments.town = town.ok_or_else(|| format!("there is no town {value}"))?;
            }
            "--first-seed" => arguments.first_seed = number()?,
            "--seeds" => arguments.seeds = number()?,
            "--riders" => arguments.riders = Some(small(number()?)?),
            "--hours" => arguments.hours = Some(small(number()?)?),
            _ => return Err(format!("there is no argument {word}")),
        }
    }
    Ok(arguments)
}
