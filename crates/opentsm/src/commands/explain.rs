//! `opentsm explain`: where a card and its money are, and why.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tsm_api::clearing::evidence::{CardFacts, CardQuery};
use tsm_services::explain::{self, Language, Weight};

use crate::city::centre::{self, Centre};
use crate::city::plan::CityPlan;
use crate::city::{CityError, in_step};

/// Options of `opentsm explain`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// A card: by its number, or by as many of its last digits as tell it from others.
    Card(CardOptions),
}

#[derive(Debug, Args)]
struct CardOptions {
    /// The card's number, or its last digits.
    number: String,

    /// The folder of the running city: that of `opentsm up --data`.
    #[arg(long, value_name = "DIR")]
    city: PathBuf,

    /// The language of the sentences.
    #[arg(long, alias = "language", value_enum, default_value_t = Lang::En)]
    lang: Lang,

    /// One JSON object: the sentences and the facts that they rest on.
    #[arg(long)]
    json: bool,
}

/// The languages on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lang {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::En => Self::English,
            Lang::Zh => Self::Chinese,
        }
    }
}

/// Asks issuer and centre, and explains.
pub fn run(options: &Options) -> Result<(), String> {
    let Subject::Card(options) = &options.subject;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let plan = CityPlan::read(&options.city.join("plan.json")).map_err(|error| error.to_string())?;
    let facts = runtime.block_on(facts(&plan, &options.number)).map_err(|error| error.to_string())?;
    let sentences = explain::sentences(&facts, options.lang.into());
    if options.json {
        let sentences: Vec<_> = sentences
            .iter()
            .map(|said| json!({ "text": said.text, "evidence": said.evidence, "alarm": said.weight == Weight::Alarm }))
            .collect();
        say!("{}", json!({ "sentences": sentences, "facts": facts }));
        return Ok(());
    }
    for said in &sentences {
        let mark = match said.weight {
            Weight::Plain => " ",
            Weight::Waiting => "·",
            Weight::Alarm => "!",
        };
        say!("{mark} {}", said.text);
        for line in &said.evidence {
            say!("      {line}");
        }
    }
    Ok(())
}

async fn facts(plan: &CityPlan, number: &str) -> Result<CardFacts, CityError> {
    let card = Centre::of(plan)?.card(number).await?;
    let facts = centre::issuer(plan)?.explanation(&CardQuery { card }).await;
    facts.map_err(in_step("asking about the card"))
}
