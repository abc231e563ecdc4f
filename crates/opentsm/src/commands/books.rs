//! `opentsm books`: where the money of a running city is.

mod replay;

use std::path::PathBuf;

use clap::Args;

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
    let books = books.map_err(|error| error.to_string())?;
    if options.json {
        println!("{}", serde_json::to_string(&books).expect("plain fields can always be written"));
    } else {
        println!("{}", books.sentence());
    }
    if books.holds() { Ok(()) } else { Err("the money equation does not hold".to_owned()) }
}
