//! `opentsm demo`: the main job, shown as it happens.
//!
//! ```text
//! city       the roles come up, the desk publishes        crate::city
//! phone one  registers, opens a card, pays, tops up,
//!            rides, locks, downloads, deletes, parks      story.rs
//! phone two  the same, and the power goes in mid-download;
//!            the card is returned for its money           story.rs
//! new phone  the parked card comes to it as it was        story.rs
//! end        what each step cost; the money equation
//!
//! rider.rs   what a rider does with a phone
//! here.rs    a phone in this process
//! apart.rs   a phone of several processes, cut.rs its power cut
//! ```

mod apart;
mod cut;
pub mod here;
pub mod narrator;
pub mod rider;
pub mod story;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tsm_se::SecureElement;
use tsm_se::card::SystemRandomness;
use tsm_se::memory::LoadFileLibrary;

use crate::city::centre::Centre;
use crate::city::folder::CityFolder;
use crate::city::terminals::CityTerminals;
use crate::city::{City, CityError, Nights, Place, ceremony, gates, in_step, se_id};
use crate::folders::TemporaryFolder;
use crate::handset::Watched;
use crate::report::{RunReport, cost_table};
use crate::stop;

use apart::PhoneApart;
use here::PhoneHere;
use narrator::{Audience, Narrator};
use rider::RiderPhone;

/// Options of `opentsm demo`.
#[derive(Debug, Args)]
pub struct Options {
    /// Show each APDU in words. Data fields are shown by length only.
    #[arg(long)]
    trace: bool,

    /// Nothing but one JSON object, as the last line.
    #[arg(long)]
    json: bool,

    /// Wallet, secure elements and roles as separate processes; the power cut is a killed process.
    #[arg(long)]
    processes: bool,
}

/// Runs the demo and prints its report.
pub fn run(options: &Options) -> Result<(), String> {
    let audience = if options.json { Audience::Program } else { Audience::Person };
    let watched = if options.trace && !options.json { Watched::InWords } else { Watched::No };
    let place = if options.processes { Place::Apart } else { Place::Together };
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("the demo cannot start: {error}"))?;
    let folder = TemporaryFolder::new().map_err(|error| format!("the demo has no folder: {error}"))?;
    let mut narrator = Narrator::new(audience);
    let told = runtime.block_on(stop::unless_asked(tell(folder.path(), place, &mut narrator, watched)));
    runtime.shutdown_timeout(Duration::from_secs(5));
    let told =
        told.unwrap_or_else(|| Err(in_step("the demo")("it was stopped; nothing of it is left behind")));
    let report = match told {
        Ok(report) => report,
        Err(error) if options.json => {
            say!("{}", serde_json::json!({ "ok": false, "error": error.to_string() }));
            return Err(error.to_string());
        }
        Err(error) => return Err(error.to_string()),
    };
    show(&report, options);
    if report.ok { Ok(()) } else { Err("the books do not agree".to_owned()) }
}

async fn tell(
    folder: &Path,
    place: Place,
    narrator: &mut Narrator,
    watched: Watched,
) -> Result<RunReport, CityError> {
    narrator.chapter("The city comes up");
    let folder = CityFolder::new(folder).map_err(in_step("making the city's folder"))?;
    let city = City::bring_up_with(&folder, place, None, Nights::PassQuickly, narrator).await?;
    let phones = Phones { city: &city, folder: &folder, place, watched, library: LoadFileLibrary::new() };
    let step = "opening the gates";
    let terminals = CityTerminals::of(&folder, &city.plan).map_err(in_step(step))?;
    let mut gates = gates::open(&terminals).map_err(in_step(step))?;
    let centre = Centre::of(&city.plan)?;
    for gate in &mut gates {
        centre.round(gate).await?;
    }
    narrator.happened("both gates fetch the fare table and the list of refused cards, and verify them");
    let mut steps = Vec::new();
    story::first_rider(phones.switch_on(1).await?, &mut gates, &city.plan, narrator, &mut steps).await?;
    story::second_rider(phones.switch_on(2).await?, &mut gates, narrator, &mut steps).await?;
    story::new_phone(phones.switch_on(3).await?, &mut gates, narrator, &mut steps).await?;
    narrator.chapter("The clearing centre closes the day");
    for gate in &mut gates {
        centre.round(gate).await?;
        centre.has_worked_through(gate).await?;
    }
    narrator.happened("the gates, offline all day, deliver batches that they sign: each TAC is verified");
    centre.settled().await?;
    let agrees = story::close_the_day(&centre, &city.plan, narrator).await?;
    let money = centre.settled().await?;
    narrator.happened(&money.sentence());
    let ok = money.holds() && agrees;
    city.stop().await;
    Ok(RunReport { ok, steps, money })
}

/// Where the riders' phones come from.
struct Phones<'a> {
    city: &'a City,
    folder: &'a CityFolder,
    place: Place,
    watched: Watched,
    library: LoadFileLibrary,
}

impl Phones<'_> {
    async fn switch_on(&self, number: u32) -> Result<Box<dyn RiderPhone>, CityError> {
        match self.place {
            Place::Together => {
                let profile = ceremony::profile(&self.city.maker, &se_id(number), self.library.clone());
                let element = SecureElement::create(&profile, Box::new(SystemRandomness))
                    .map_err(in_step("making a secure element"))?;
                let (servers, home) = (self.city.plan.servers(), self.folder.phone(number));
                Ok(Box::new(PhoneHere::switch_on(&servers, &home, element, self.watched).await?))
            }
            Place::Apart => Ok(Box::new(PhoneApart::switch_on(self.folder, number, self.watched).await?)),
        }
    }
}

fn show(report: &RunReport, options: &Options) {
    if options.json {
        say!("{}", serde_json::to_string(report).expect("a report of plain fields can always be written"));
        return;
    }
    say!("\n{}", cost_table(&report.steps));
    say!("\n{}", report.money.sentence());
    say!("{}", if report.money.holds() { "The books balance." } else { "THE BOOKS DO NOT BALANCE." });
    if !options.trace {
        say!("\nEvery APDU in words: opentsm demo --trace");
    }
}
