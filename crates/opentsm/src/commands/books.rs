//! `opentsm books`: where the money of a running city is.

mod replay;

use std::path::PathBuf;

use clap::Args;

use tsm_services::explain::moment;

use crate::city::centre::Centre;
use crate::city::plan::CityPlan;

/// Options of `opentsm books`.
#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: PathBuf,

    /// Also follows every journal from its first entry, plays it again and compares it with the books; and
    /// follows the seals. The city may run or be stopped.
    #[arg(long)]
    replay: bool,

    /// One JSON object, in fen.
    #[arg(long)]
    json: bool,
}

/// Asks the clearing centre and prints the money equation; fails when it does not hold.
pub fn run(options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = CityPlan::read(&options.city.join("plan.json")).map_err(|error| error.to_string())?;
    if options.replay {
        return replay::run(&runtime, &plan, options.json);
    }
    let books = runtime.block_on(async { Centre::of(&plan)?.balanced().await });
    // A centre whose books do not balance does not show them; it says by how much.
    let books =
        books.map_err(|error| match runtime.block_on(async { Centre::of(&plan)?.watch().await }) {
            Ok(watch) if !watch.holds => {
                format!("ALARM: the money equation does not hold: {} fen are missing", watch.gap_fen)
            }
            Ok(_) | Err(_) => error.to_string(),
        })?;
    if options.json {
        say!("{}", serde_json::to_string(&books).expect("plain fields can always be written"));
    } else {
        say!("{}", books.sentence());
    }
    let watch = runtime.block_on(async { Centre::of(&plan)?.watch().await });
    let watch = watch.map_err(|error| error.to_string())?;
    for alarm in &watch.alarms {
        let card = alarm.card.as_ref().map(|card| format!(", card {card}")).unwrap_or_default();
        eprintln!("! ALARM {} of {}{card}: {}", alarm.kind, moment(alarm.at), alarm.text);
    }
    match (books.holds() && watch.holds, watch.alarms.len()) {
        (false, _) => Err(format!("the money equation does not hold: {} fen are missing", watch.gap_fen)),
        (true, 0) => Ok(()),
        (true, open) => Err(format!("the money equation holds, and {open} alarms are open")),
    }
}
