//! Cards that somebody has to look at, what terminals reported of cards and the centre did not take, and the list by
//! which terminals refuse cards.

use clap::{Subcommand, ValueEnum};
use tsm_api::HexBytes;
use tsm_api::clearing::collection::{self, PageQuery};
use tsm_api::clearing::kept::{self, KeptQuery, KeptStanding};
use tsm_api::clearing::lists::{self, Decision, ListProposal, ProposalDecision, WireListKind};
use tsm_api::clearing::watch::{self, CardGapQuery};
use tsm_api::client::Client;
use tsm_api::endpoint::Nothing;
use uuid::Uuid;

use crate::city::centre::Centre;
use crate::city::plan::CityPlan;
use crate::city::roles;
use crate::commands::clerks::Who;
use crate::commands::wallet::Spoken;

/// What is done about cards.
#[derive(Debug, Subcommand)]
pub enum Matter {
    /// Cards that are on no phone: their value and data are at the centre.
    Parked(Page),
    /// Cards whose riders are owed money.
    Refunds(Page),
    /// Cards that are frozen for value, with the reason.
    Suspicious(Page),
    /// One card: how it stands, why it is frozen, how terminals know it, and its closings.
    Card {
        /// The card's number, or its last digits.
        number: String,
    },
    /// Transactions that are missing between those that cards have counted.
    CardGaps(Page),
    /// Transactions that terminals reported and the centre did not take, each with its reason.
    Quarantine {
        /// Where to go on, as the last page said.
        #[arg(long)]
        after: Option<String>,
    },
    /// The proposed changes of the list by which terminals refuse cards.
    Listings,
    /// Proposes to put a card on that list, or to take it off. Another person approves.
    ProposeListing {
        /// The card's number, or its last digits.
        number: String,
        /// How it is to be listed.
        #[arg(value_enum)]
        how: Listed,
        /// Why, in words.
        #[arg(long)]
        why: String,
    },
    /// Approves such a change.
    ApproveListing {
        /// The proposal.
        proposal: Uuid,
    },
    /// Refuses it.
    RefuseListing {
        /// The proposal.
        proposal: Uuid,
    },
}

/// Where a list begins.
#[derive(Debug, clap::Args)]
pub struct Page {
    /// Where to go on, as the last page said.
    #[arg(long, value_name = "CARD", value_parser = serial)]
    after: Option<HexBytes>,
}

fn serial(text: &str) -> Result<HexBytes, hex::FromHexError> {
    hex::decode(text).map(HexBytes)
}

/// How a card is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Refused, and locked by the terminal that meets it.
    Black,
    /// Refused until it has been examined.
    Grey,
    /// Not listed.
    Off,
}

/// Does one of these.
pub async fn run(plan: &CityPlan, who: &Who, client: &Client, matter: &Matter) -> Result<(), String> {
    let (output, spoken) = (&who.output, who.language);
    match matter {
        Matter::Parked(page) => {
            kept_cards(who, client, KeptStanding::Parked, page, ("no card is parked", "没有寄存的卡")).await
        }
        Matter::Refunds(page) => {
            let none = ("no rider is owed money", "没有待退款的卡");
            kept_cards(who, client, KeptStanding::RefundPayable, page, none).await
        }
        Matter::Suspicious(page) => {
            kept_cards(who, client, KeptStanding::Suspicious, page, ("no card is frozen", "没有冻结的卡"))
                .await
        }
        Matter::Card { number } => {
            let card = card(plan, number).await?.to_string();
            let reply = client.call(&kept::KEPT_CARD, &[&card], &Nothing {}).await;
            output.say(spoken, reply, |one| spoken.kept_card(one))
        }
        Matter::CardGaps(page) => {
            let query = CardGapQuery { after: page.after.clone() };
            let reply = client.call(&watch::CARD_GAPS, &[], &query).await;
            let none = ("no transaction of a card is missing", "没有缺失的卡片交易");
            output.say(spoken, reply, |known| {
                let next = known.next.as_ref().map(ToString::to_string);
                spoken.page(&known.gaps, Spoken::card_gap, none, next)
            })
        }
        Matter::Quarantine { after } => {
            let query = PageQuery { after: after.clone() };
            let reply = client.call(&collection::QUARANTINE, &[], &query).await;
            let none = ("nothing was kept aside", "没有隔离的交易");
            output.say(spoken, reply, |known| {
                spoken.page(&known.entries, Spoken::quarantined, none, known.next.clone())
            })
        }
        Matter::Listings => {
            let reply = client.call(&lists::PROPOSALS, &[], &Nothing {}).await;
            let none = ("no change of the list waits", "没有待审批的名单变更");
            output.say(spoken, reply, |known| spoken.lines(&known.proposals, Spoken::listing, none))
        }
        Matter::ProposeListing { number, how, why } => {
            let new = ListProposal {
                proposal: roles::runtime().uuid(),
                card: card(plan, number).await?,
                listed: how.to_wire(),
                why: why.clone(),
            };
            let reply = client.call(&lists::PROPOSE, &[], &new).await;
            output.say(spoken, reply, |one| spoken.listing(one))
        }
        Matter::ApproveListing { proposal } => decide(who, client, proposal, Decision::Approve).await,
        Matter::RefuseListing { proposal } => decide(who, client, proposal, Decision::Refuse).await,
    }
}

async fn kept_cards(
    who: &Who,
    client: &Client,
    standing: KeptStanding,
    page: &Page,
    none: (&str, &str),
) -> Result<(), String> {
    let query = KeptQuery { standing, after: page.after.clone() };
    let reply = client.call(&kept::KEPT_CARDS, &[], &query).await;
    who.output.say(who.language, reply, |known| {
        let next = known.next.as_ref().map(ToString::to_string);
        who.language.page(&known.cards, Spoken::kept_card, none, next)
    })
}

async fn decide(who: &Who, client: &Client, proposal: &Uuid, decision: Decision) -> Result<(), String> {
    let decision = ProposalDecision { decision };
    let reply = client.call(&lists::DECIDE, &[&proposal.to_string()], &decision).await;
    who.output.say(who.language, reply, |one| who.language.listing(one))
}

async fn card(plan: &CityPlan, number: &str) -> Result<HexBytes, String> {
    let centre = Centre::of(plan).map_err(|error| error.to_string())?;
    centre.card(number).await.map_err(|error| error.to_string())
}

impl Listed {
    const fn to_wire(self) -> Option<WireListKind> {
        match self {
            Self::Black => Some(WireListKind::Black),
            Self::Grey => Some(WireListKind::Grey),
            Self::Off => None,
        }
    }
}
