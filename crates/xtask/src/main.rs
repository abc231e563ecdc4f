//! Developer commands. `cargo xtask help` lists them.

mod bench;
mod city;
mod kill;
mod source;
mod test;
mod tidy;
mod trace;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [--fast]    everything: packages, format, lints, rules, traceability, tests
                   (--fast leaves out the packages, lints and the reader tests)
  trace [--json] [--check]
                   requirement rows and the tests that name them; writes docs/conformance.md
                   (--json prints instead, --check fails when the file is out of date)
  tidy             dependency direction and the rules that ARCHITECTURE.md states as absences
  city [--first-seed S] [--seeds N] [--town usual|small|harsh] [--riders R] [--hours H] [--json]
                   whole cities on virtual time in which everything goes wrong, one for each seed;
                   fails when money is lost or made, and then prints the story of the card
  city cuts [--flow F] [--kind K] [--json]
                   breaks every flow at each of its places, and goes on at the next contact
  bench            every benchmark, then `opentsm bench`
  kill [--times N] kills a whole city under load N times (100) on each store, and counts the money";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => test::run(test::Extent::Everything),
        ["test", "--fast"] => test::run(test::Extent::Fast),
        ["trace"] => trace::write(),
        ["trace", "--json"] => trace::print_json(),
        ["trace", "--check"] => trace::check(),
        ["tidy"] => tidy::run(),
        ["city", arguments @ ..] => city::run(arguments),
        ["bench"] => bench::run(),
        ["kill"] => kill::run("100"),
        ["kill", "--times", times] => kill::run(times),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(format!("there is no such command\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
