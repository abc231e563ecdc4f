//! A card on the hall's own reader: the phone lies there, and the hall's system carries what the issuer sends.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tsm_api::client::{ClientError, SpTsmDesk};
use tsm_api::conversation::{ConversationReply, Outcome, TurnRequest};
use tsm_api::sp_tsm::desk::{CardMatter, HallSession, HallWork};
use tsm_iso7816::CommandApdu;
use tsm_se::Interface;
use tsm_se::readers::RemoteCard;
use tsm_terminal::ReaderError;
use tsm_terminal::steps;

use super::OnCard;
use crate::commands::se::{Addresses, CARD_ADDRESS};
use crate::handset::{CardLink, Meter, Watched};

/// A card on the reader, and what is done with it.
#[derive(Debug, Args)]
pub struct Visit {
    /// What is done.
    #[arg(value_enum)]
    work: Work,

    /// The folder of the phone that lies on the reader.
    #[arg(long, value_name = "FOLDER")]
    phone: PathBuf,

    #[command(flatten)]
    pub(super) on: OnCard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Lifts the card's lock.
    Unlock,
    /// Closes the card; its balance goes back.
    Return,
    /// Parks the card for another phone.
    MigrateOut,
}

impl Visit {
    /// Holds the conversation to its outcome.
    pub async fn carry(
        &self,
        desk: &SpTsmDesk,
        matter: CardMatter,
    ) -> Result<Result<Outcome, ClientError>, String> {
        let mut card = self.card()?;
        let mut reader = |command: &CommandApdu| card.exchange(command).ok_or(ReaderError::CardLeft);
        let work = match self.work {
            Work::Unlock => HallWork::Unlock,
            Work::Return => HallWork::Return,
            Work::MigrateOut => HallWork::MigrateOut,
        };
        let mut reply = match desk.hall_session(&HallSession { matter, work }).await {
            Ok(reply) => reply,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let (conversation, request) = match reply {
                ConversationReply::Outcome { outcome, .. } => return Ok(Ok(outcome)),
                ConversationReply::Steps { conversation, turn, steps, .. } => {
                    let (responses, fault) = steps::carry(&mut reader, &steps);
                    (conversation, TurnRequest { turn, responses, fault, ticket: None })
                }
                ConversationReply::Queued { conversation, turn, .. } => {
                    (conversation, TurnRequest { turn, ..TurnRequest::default() })
                }
                ConversationReply::Restart { .. } | ConversationReply::Handover { .. } => {
                    return Err("the issuer has forgotten the conversation; begin again".to_owned());
                }
            };
            reply = match desk.turn(conversation, &request).await {
                Ok(reply) => reply,
                Err(error) => return Ok(Err(error)),
            };
        }
    }

    fn card(&self) -> Result<CardLink, String> {
        let folder = self.phone.display();
        let text = std::fs::read(self.phone.join(CARD_ADDRESS))
            .map_err(|_| format!("the secure element of {folder} is not running"))?;
        let addresses: Addresses = serde_json::from_slice(&text)
            .map_err(|_| format!("the address of the secure element of {folder} cannot be read"))?;
        let mut card = RemoteCard::dial(addresses.contact).map_err(|error| error.to_string())?;
        card.power_on().map_err(|error| error.to_string())?;
        Ok(CardLink::remote(card, Interface::Contact, Meter::new(Watched::No)))
    }
}
