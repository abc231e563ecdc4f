//! `opentsm demo`: the main job, shown as it happens.
//!
//! ```text
//! city       the roles come up, the desk publishes        crate::city
//! phone one  registers, opens a card, pays, tops up,
//!            rides, reads back, downloads, deletes        story.rs
//! phone two  the same, and the power goes in mid-download story.rs
//! end        what each step cost; the money equation
//! ```

mod gates;
mod narrator;
mod story;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tsm_api::clearing::{Books, ConsumptionReport, ConsumptionVerdict};
use tsm_api::client::ClearingPeer;
use tsm_services::runtime::Environment;

use crate::city::plan::Role;
use crate::city::{City, CityError, in_step, roles};
use crate::handset::Watched;
use crate::report::{MoneyEquation, RunReport, cost_table};

use narrator::{Audience, Narrator};

/// How often, and how long apart, the demo asks the centre again.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Options of `opentsm demo`.
#[derive(Debug, Args)]
pub struct Options {
    /// Show each APDU in words. Data fields are shown by length only.
    #[arg(long)]
    trace: bool,

    /// Nothing but one JSON object, as the last line.
    #[arg(long)]
    json: bool,
}

/// Runs the demo and prints its report.
pub fn run(options: &Options) -> Result<(), String> {
    let audience = if options.json { Audience::Program } else { Audience::Person };
    let watched = if options.trace && !options.json { Watched::InWords } else { Watched::No };
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("the demo cannot start: {error}"))?;
    let folder = TemporaryFolder::new().map_err(|error| format!("the demo has no folder: {error}"))?;
    let mut narrator = Narrator::new(audience);
    let told = runtime.block_on(tell(folder.path(), &mut narrator, watched));
    runtime.shutdown_timeout(Duration::from_secs(5));
    let report = match told {
        Ok(report) => report,
        Err(error) if options.json => {
            println!("{}", serde_json::json!({ "ok": false, "error": error.to_string() }));
            return Err(error.to_string());
        }
        Err(error) => return Err(error.to_string()),
    };
    show(&report, options);
    if report.ok { Ok(()) } else { Err("the money equation does not hold".to_owned()) }
}

async fn tell(folder: &Path, narrator: &mut Narrator, watched: Watched) -> Result<RunReport, CityError> {
    narrator.chapter("The city comes up");
    let city = City::bring_up(folder, narrator).await?;
    let mut steps = Vec::new();
    let gates = story::ride(&city, folder, narrator, watched, &mut steps).await?;
    narrator.chapter("The clearing centre closes the day");
    let books = close_the_day(&city, &gates).await?;
    let money = equation(&books);
    narrator.happened(&money.sentence());
    let ok = money.holds();
    city.stop().await;
    Ok(RunReport { ok, steps, money })
}

/// Collects the gates' transactions and reads the books when nothing is in flight any more.
async fn close_the_day(city: &City, gates: &[gates::CityGate; 2]) -> Result<Books, CityError> {
    let step = "settling with the clearing centre";
    let environment = roles::runtime();
    let client = roles::partner(&city.plan, Role::SpTsm, Role::Clearing, &environment);
    let centre = ClearingPeer::new(client.map_err(in_step(step))?);
    for batch in gates::batches(gates) {
        deliver(&centre, &environment, &batch).await?;
    }
    // Credits reach the centre through the SP-TSM's outbox, shortly after the rider has them.
    let mut books = centre.books().await.map_err(in_step(step))?;
    for _ in 0..PATIENCE {
        if books.in_flight_fen == 0 && equation(&books).holds() {
            break;
        }
        environment.timer.sleep(PAUSE).await;
        books = centre.books().await.map_err(in_step(step))?;
    }
    Ok(books)
}

/// Delivers a gate's transactions until the centre has taken them all. It takes them only after the
/// credits that come before them on the card, which reach it through the SP-TSM's outbox.
async fn deliver(
    centre: &ClearingPeer,
    environment: &Environment,
    batch: &ConsumptionReport,
) -> Result<(), CityError> {
    let step = "delivering a gate's transactions";
    for _ in 0..PATIENCE {
        let receipt = centre.consumption(batch).await.map_err(in_step(step))?;
        let refused = receipt.verdicts.iter().find(|verdict| match verdict {
            ConsumptionVerdict::Recorded | ConsumptionVerdict::Duplicate | ConsumptionVerdict::NotYet => {
                false
            }
            ConsumptionVerdict::TacWrong
            | ConsumptionVerdict::UnknownCard
            | ConsumptionVerdict::Contradicts
            | ConsumptionVerdict::Malformed => true,
        });
        if let Some(verdict) = refused {
            return Err(in_step(step)(format!("the centre refused one: {verdict:?}")));
        }
        if !receipt.verdicts.contains(&ConsumptionVerdict::NotYet) {
            return Ok(());
        }
        environment.timer.sleep(PAUSE).await;
    }
    Err(in_step(step)("the centre still waits for what comes before them"))
}

fn equation(books: &Books) -> MoneyEquation {
    let fen = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    MoneyEquation {
        paid_in: fen(books.paid_in_fen),
        purses: fen(books.purses_fen),
        in_flight: fen(books.in_flight_fen),
        parked: fen(books.parked_fen),
        refund_payable: fen(books.refund_payable_fen),
        spent: fen(books.spent_fen),
        refunded: fen(books.refunded_fen),
    }
}

fn show(report: &RunReport, options: &Options) {
    if options.json {
        println!(
            "{}",
            serde_json::to_string(report).expect("a report of plain fields can always be written")
        );
        return;
    }
    println!("\n{}", cost_table(&report.steps));
    println!("\n{}", report.money.sentence());
    println!("{}", if report.money.holds() { "The books balance." } else { "THE BOOKS DO NOT BALANCE." });
    if !options.trace {
        println!("\nEvery APDU in words: opentsm demo --trace");
    }
}

/// A folder that goes away with the demo.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> std::io::Result<Self> {
        let mut tag = [0; 8];
        tsm_domain::environment::Entropy::fill(&crate::environment::SystemEntropy, &mut tag);
        let path = std::env::temp_dir().join(format!("opentsm-demo-{}", hex::encode(tag)));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean: the demo is over.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The meter of a phone, shared by its two interfaces.
type SharedMeter = Arc<crate::handset::Meter>;
