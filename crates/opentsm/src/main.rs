//! OpenTSM: transit cards on phones, every role in one program.

#[macro_use]
mod say;

mod apdu_words;
mod children;
mod city;
mod commands;
mod demo;
mod environment;
mod errors;
mod folders;
mod handset;
mod live;
mod packages;
mod phone;
mod profile;
mod report;
mod riders;
mod sample_card;
mod stop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// OpenTSM: transit cards on phones. Every role in one program.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open a card, pay, top up, ride, cut the power and resume: the main job, shown as it happens.
    Demo(demo::Options),
    /// A whole city that keeps running, with riders in it.
    Up(commands::up::Options),
    /// One role of a city alone.
    Serve(commands::serve::Options),
    /// Where the money of a running city is.
    Books(commands::books::Options),
    /// Where a card and its money are, and why, in plain words with the evidence.
    Explain(commands::explain::Options),
    /// The card issuer's desk: payouts in cash, lost cards, unlocking, claims of phones that are gone.
    Desk(commands::desk::Options),
    /// The people at the clearing centre: differences, fare tables, accounts.
    Centre(commands::centre::Options),
    /// Receipts that riders keep.
    Receipt(commands::receipt::Options),
    /// Phones that top up at a running city without pause, whatever happens to its servers.
    Load(commands::load::Options),
    /// The wallet on the command line.
    Wallet(commands::wallet::Options),
    /// A gate, a POS or a top-up terminal of a running city; or how long their taps take.
    Terminal(commands::terminal::Options),
    /// A merchant of a running city, who sells to riders over the network.
    Shop(commands::shop::Options),
    /// The software secure element with a contact and a contactless interface: for PC/SC, or for `wallet`.
    Se(commands::se::Options),
    /// Figures of this machine, beside the cost of their primitives in the same process.
    Bench(commands::bench::Options),
    /// What this machine has of what OpenTSM uses, and what to do about the rest.
    Doctor(commands::doctor::Options),
}

/// Waits for a future that needs no reactor.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers can always be built").block_on(future)
}

fn main() -> ExitCode {
    let outcome = match Program::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Up(options) => commands::up::run(&options),
        Command::Serve(options) => commands::serve::run(&options),
        Command::Books(options) => commands::books::run(&options),
        Command::Centre(options) => commands::centre::run(&options),
        Command::Explain(options) => commands::explain::run(&options),
        Command::Desk(options) => commands::desk::run(&options),
        Command::Receipt(options) => commands::receipt::run(&options),
        Command::Load(options) => commands::load::run(&options),
        Command::Wallet(options) => commands::wallet::run(&options),
        Command::Terminal(options) => commands::terminal::run(&options),
        Command::Shop(options) => commands::shop::run(&options),
        Command::Se(options) => commands::se::run(&options),
        Command::Bench(options) => commands::bench::run(&options),
        Command::Doctor(options) => commands::doctor::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("opentsm: {why}");
            ExitCode::FAILURE
        }
    }
}
