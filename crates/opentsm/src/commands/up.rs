//! `opentsm up`: a whole city that keeps running, with riders in it, to be looked at and used by hand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::city::centre::Centre;
use crate::city::folder::CityFolder;
use crate::city::gates::{self, CityGate};
use crate::city::terminals::CityTerminals;
use crate::city::{City, CityError, Place, in_step};
use crate::commands::se;
use crate::demo::here::PhoneHere;
use crate::demo::narrator::{Audience, Narrator};
use crate::demo::story;
use crate::folders::{self, TemporaryFolder};
use crate::handset::Watched;
use crate::live::LivePage;
use crate::live::traffic::Streets;
use crate::report::MoneyEquation;
use crate::stop::{self, Attendance};

/// The riders that a new city has: phone, number, and what they paid in.
const RIDERS: [(u32, &str, u32); 3] =
    [(1, "8613900000001", 5_000), (2, "8613900000002", 2_000), (3, "8613900000003", 10_000)];

/// Options of `opentsm up`.
#[derive(Debug, Args)]
pub struct Options {
    /// Keep the city in this folder, and start the one that is there. Without it the city goes away
    /// when it is stopped.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Keep what the roles know in this PostgreSQL instead of in files: postgres://user@host/database.
    /// Certificates, keys and phones stay in the folder. Without --data the tables go away with the city.
    #[arg(long, value_name = "URL")]
    database: Option<String>,

    /// So many simulated riders live in the city while it runs, so that there is something to see.
    #[arg(long, value_name = "N", default_value_t = 0)]
    traffic: u32,

    /// One JSON object when everything serves.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    attendance: Attendance,
}

/// Runs the city until asked to stop.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let told = match &options.data {
        Some(folder) => runtime.block_on(run_in(folder, options)),
        None => {
            let folder =
                TemporaryFolder::new().map_err(|error| format!("the city has no folder: {error}"))?;
            runtime.block_on(run_in(folder.path(), options))
        }
    };
    runtime.shutdown_timeout(Duration::from_secs(5));
    told.map_err(|error| error.to_string())
}

async fn run_in(path: &Path, options: &Options) -> Result<(), CityError> {
    let step = "making the city's folder";
    let folder = CityFolder::new(path).map_err(in_step(step))?;
    let mark = folders::occupy(folder.path()).map_err(in_step(step))?;
    let Some(_mark) = mark else {
        let why = format!("{} is in use by another `opentsm up`", folder.path().display());
        return Err(in_step(step)(why));
    };
    let audience = if options.json { Audience::Program } else { Audience::Person };
    let mut narrator = Narrator::new(audience);
    let Some(up) = stop::unless_asked(come_up(&folder, options, &mut narrator)).await else {
        return Err(in_step("bringing the city up")("it was stopped before it served"));
    };
    let (city, gates) = up?;
    let money = Centre::of(&city.plan)?.balanced().await?;
    let streets = Streets::new(gates);
    let page = LivePage::open(&city.plan, streets.clone()).await?;
    let first_free = match options.traffic {
        0 => 1,
        riders => streets.let_live(&folder, &city, riders)?,
    };
    announce(&folder, &city, page.address, money, first_free, options);
    options.attendance.until_asked().await;
    narrator.chapter("The city stops; requests that run are finished");
    streets.stop();
    page.close();
    if options.data.is_some() {
        city.stop().await;
        Ok(())
    } else {
        city.stop_and_forget().await
    }
}

/// The city of the folder, or a new one.
async fn come_up(
    folder: &CityFolder,
    options: &Options,
    narrator: &mut Narrator,
) -> Result<(City, [CityGate; 2]), CityError> {
    if !folder.plan().exists() {
        return bring_up(folder, options.database.as_deref(), narrator).await;
    }
    narrator.chapter("The city comes up again");
    let city = City::reopen(folder, options.database.as_deref(), narrator).await?;
    let gates = open_gates(folder, &city)?;
    Ok((city, gates))
}

/// A new city, and riders who have used it.
async fn bring_up(
    folder: &CityFolder,
    database: Option<&str>,
    narrator: &mut Narrator,
) -> Result<(City, [CityGate; 2]), CityError> {
    narrator.chapter("The city comes up");
    let city = City::bring_up(folder, Place::Together, database, narrator).await?;
    let mut gates = open_gates(folder, &city)?;
    let centre = Centre::of(&city.plan)?;
    for gate in &mut gates {
        centre.round(gate).await?;
    }
    for (number, msisdn, amount_fen) in RIDERS {
        narrator.chapter(&format!("Phone {number}"));
        let element = se::city_element(folder, &city.maker, number).map_err(in_step("making a phone"))?;
        let (servers, home) = (city.plan.servers(), folder.phone(number));
        let phone = PhoneHere::switch_on(&servers, &home, element, Watched::No).await?;
        story::commuter(Box::new(phone), msisdn, amount_fen, &mut gates, narrator).await?;
    }
    for gate in &mut gates {
        centre.round(gate).await?;
        centre.has_worked_through(gate).await?;
    }
    Ok((city, gates))
}

/// The city's gates as they were left.
fn open_gates(folder: &CityFolder, city: &City) -> Result<[CityGate; 2], CityError> {
    let step = "opening the gates";
    let terminals = CityTerminals::of(folder, &city.plan).map_err(in_step(step))?;
    gates::open(&terminals).map_err(in_step(step))
}

fn announce(
    folder: &CityFolder,
    city: &City,
    page: SocketAddr,
    money: MoneyEquation,
    first_free: u32,
    options: &Options,
) {
    let plan = &city.plan;
    if options.json {
        let line = json!({
            "ready": true, "folder": folder.path(), "money": money,
            "se_tsm": plan.se_tsm.address, "sp_tsm": plan.sp_tsm.address,
            "payment": plan.payment.address, "clearing": plan.clearing.address,
            "page": format!("http://{page}/"),
            "files": plan.lines.map(|lines| lines.files),
            "metrics": plan.lines.map(|lines| format!("http://{}/metrics", lines.metrics)),
        });
        say!("{line}");
        return;
    }
    let path = folder.path().display();
    let number = (first_free..).find(|number| !folder.phone(*number).exists()).unwrap_or_default();
    let phone = folder.phone(number);
    let phone = phone.display();
    say!("\nThe books: {}\n", money.sentence());
    say!("Look at the city: http://{page}/\n");
    say!("SE-TSM           https://{}", plan.se_tsm.address);
    say!("SP-TSM           https://{}", plan.sp_tsm.address);
    say!("payment sandbox  https://{}", plan.payment.address);
    say!("clearing centre  https://{}", plan.clearing.address);
    if let Some(lines) = plan.lines {
        say!("its file transfer  {} (clearing transport under TLS)", lines.files);
        say!("its metrics      http://{}/metrics", lines.metrics);
    }
    say!("\nThe books later on: opentsm books --city {path}, with --replay also from the journal alone");
    say!("Where a card and its money are: opentsm explain card NUMBER --city {path}");
    say!("\nFor a phone of your own, in a second terminal:");
    say!("  opentsm se --city {path} --number {number}");
    say!("and in a third one:");
    say!("  opentsm wallet --phone {phone} register --accept --number 86139{number:08}");
    say!("  opentsm wallet --phone {phone} list");
    for (operation, amount) in [("open", ""), ("top-up", " 5000"), ("records", ""), ("delete", "")] {
        say!("  opentsm wallet --phone {phone} {operation} \"Harbour Transit Card\"{amount}");
    }
    say!("\nStop with Ctrl-C.{}", if options.data.is_some() { " The city stays in its folder." } else { "" });
}
