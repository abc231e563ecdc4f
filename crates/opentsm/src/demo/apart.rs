//! A phone of two processes: `opentsm se` for as long as the phone has power, and one `opentsm wallet`
//! an operation.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_se::Interface;
use tsm_se::readers::RemoteCard;
use tsm_wallet::Interaction;

use super::cut;
use super::rider::{Deletion, RiderPhone, Seen};
use crate::children::{self, Program};
use crate::city::folder::CityFolder;
use crate::city::{CityError, in_step};
use crate::commands::se::Addresses;
use crate::commands::wallet::reply::{Ending, Reply};
use crate::handset::{CardLink, Meter, Watched};
use crate::report::Cost;

/// A phone of two processes.
pub struct PhoneApart {
    folder: CityFolder,
    number: u32,
    watched: Watched,
    meter: Arc<Meter>,
    element: Element,
}

/// The process of the secure element, and the gate's line to it.
struct Element {
    process: Program,
    addresses: Addresses,
    at_gate: Option<CardLink>,
}

/// What is needed to start a wallet.
struct Wallet {
    servers: PathBuf,
    home: PathBuf,
    card: SocketAddr,
}

impl PhoneApart {
    /// Switches the city's phone `number` on.
    pub async fn switch_on(folder: &CityFolder, number: u32, watched: Watched) -> Result<Self, CityError> {
        let element = Element::power_on(folder, number, watched).await?;
        Ok(Self { folder: folder.clone(), number, watched, meter: Meter::new(Watched::No), element })
    }

    fn wallet(&self) -> Wallet {
        let (servers, home) = (self.folder.servers(), self.folder.phone(self.number));
        Wallet { servers, home, card: self.element.addresses.contact }
    }

    /// Runs an operation that must end well.
    async fn operate(&self, step: &'static str, words: &[&str]) -> Result<Reply, CityError> {
        let reply = self.wallet().run(step, words).await?;
        match reply.ending {
            Ending::Done => Ok(reply),
            Ending::Refused | Ending::Unfinished | Ending::Failed => {
                Err(in_step(step)(reply.error.unwrap_or_default()))
            }
        }
    }
}

impl Element {
    async fn power_on(folder: &CityFolder, number: u32, watched: Watched) -> Result<Self, CityError> {
        let step = "switching a phone on";
        let (city, number) = (folder.path().into(), number.to_string().into());
        let mut arguments: Vec<OsString> =
            vec!["se".into(), "--city".into(), city, "--number".into(), number];
        arguments.extend(["--listen".into(), "127.0.0.1:0".into(), "--json".into()]);
        if watched == Watched::InWords {
            arguments.push("--trace".into());
        }
        let started = Program::start("the secure element", &arguments, watched).await;
        let (process, line) = started.map_err(in_step(step))?;
        let addresses = serde_json::from_str(&line).map_err(in_step(step))?;
        Ok(Self { process, addresses, at_gate: None })
    }
}

impl Wallet {
    async fn run(&self, step: &'static str, words: &[&str]) -> Result<Reply, CityError> {
        let mut command = children::program().map_err(in_step(step))?;
        command.arg("wallet").arg("--servers").arg(&self.servers).arg("--home").arg(&self.home);
        command.arg("--card").arg(self.card.to_string()).arg("--json").args(words);
        let output = command.kill_on_drop(true).output().await.map_err(in_step(step))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            in_step(step)(format!("the wallet ended without a result: {}", said.trim()))
        })
    }
}

#[async_trait]
impl RiderPhone for PhoneApart {
    async fn register(&mut self, number: &str, _: &mut dyn Interaction) -> Result<Cost, CityError> {
        let words = ["register", "--accept", "--number", number];
        Ok(self.operate("registering a phone", &words).await?.operation)
    }

    async fn log_in(&mut self, _: &mut dyn Interaction) -> Result<Cost, CityError> {
        Ok(self.operate("logging in", &["login"]).await?.operation)
    }

    async fn open(&mut self, name: &str, _: &mut dyn Interaction) -> Result<(HexBytes, Cost), CityError> {
        let step = "opening a card";
        let reply = self.operate(step, &["open", name]).await?;
        let aid = reply.detail.aid.ok_or_else(|| in_step(step)("the wallet named no application"))?;
        Ok((aid, reply.operation))
    }

    async fn lose_power_while_opening(
        &mut self,
        name: &str,
        commands: u64,
        _: &mut dyn Interaction,
    ) -> Result<(String, Cost), CityError> {
        let step = "cutting the power";
        let mut line = cut::Line::to(self.element.addresses.contact, commands).map_err(in_step(step))?;
        let wallet = Wallet { card: line.address, ..self.wallet() };
        let words = ["open", name];
        let mut opening = std::pin::pin!(wallet.run(step, &words));
        let reply = tokio::select! {
            reply = &mut opening => reply?,
            Ok(()) = &mut line.worn => {
                self.element.process.kill().await.map_err(in_step(step))?;
                drop(line.gone);
                opening.await?
            }
        };
        match reply.ending {
            Ending::Unfinished => Ok((reply.error.unwrap_or_default(), reply.operation)),
            Ending::Done => Err(in_step(step)("the card was open before the power went")),
            Ending::Refused | Ending::Failed => Err(in_step(step)(reply.error.unwrap_or_default())),
        }
    }

    async fn restore_power(&mut self) -> Result<(), CityError> {
        self.element = Element::power_on(&self.folder, self.number, self.watched).await?;
        Ok(())
    }

    async fn pay(&mut self, aid: &HexBytes, amount_fen: u32) -> Result<Cost, CityError> {
        let words = ["pay", &aid.to_string(), &amount_fen.to_string()];
        Ok(self.operate("paying", &words).await?.operation)
    }

    async fn top_up(&mut self, aid: &HexBytes, _: &mut dyn Interaction) -> Result<(u32, Cost), CityError> {
        let step = "topping up";
        let reply = self.operate(step, &["top-up", &aid.to_string()]).await?;
        let balance_fen = reply.detail.balance_fen;
        match reply.detail.credited {
            Some(true) => Ok((balance_fen.unwrap_or_default(), reply.operation)),
            Some(false) | None => Err(in_step(step)("the card was not credited")),
        }
    }

    async fn pay_online(
        &mut self,
        aid: &HexBytes,
        payment: PaymentId,
        _: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError> {
        let step = "paying a shop over the network";
        let reply = self.operate(step, &["pay-online", &aid.to_string(), &payment.to_string()]).await?;
        match reply.detail.paid {
            Some(true) => Ok((reply.detail.balance_fen.unwrap_or_default(), reply.operation)),
            Some(false) | None => Err(in_step(step)("the card did not pay")),
        }
    }

    async fn view(&mut self, aid: &HexBytes) -> Result<(Seen, Cost), CityError> {
        let step = "reading the card back";
        let reply = self.operate(step, &["records", &aid.to_string()]).await?;
        let incomplete = || in_step(step)("the wallet did not say everything about the card");
        let seen = Seen {
            number_ending: reply.detail.number_ending.ok_or_else(incomplete)?,
            balance_fen: reply.detail.balance_fen.ok_or_else(incomplete)?,
            transactions: reply.detail.transactions.unwrap_or_default(),
            trips: reply.detail.trips.unwrap_or_default(),
        };
        Ok((seen, reply.operation))
    }

    async fn delete(&mut self, aid: &HexBytes, _: &mut dyn Interaction) -> Result<Deletion, CityError> {
        let step = "deleting an application";
        let reply = self.wallet().run(step, &["delete", &aid.to_string()]).await?;
        match reply.ending {
            Ending::Done => Ok(Deletion::Done(reply.operation)),
            Ending::Refused => Ok(Deletion::Refused(reply.error.unwrap_or_default())),
            Ending::Unfinished | Ending::Failed => Err(in_step(step)(reply.error.unwrap_or_default())),
        }
    }

    async fn delete_closed(&mut self, _: &mut dyn Interaction) -> Result<Option<Cost>, CityError> {
        let reply = self.operate("deleting a closed card", &["login"]).await?;
        Ok(reply.detail.deleted.is_some_and(|deleted| deleted > 0).then_some(reply.operation))
    }

    async fn lock(&mut self, aid: &HexBytes, _: &mut dyn Interaction) -> Result<Cost, CityError> {
        Ok(self.operate("locking a card", &["lock", &aid.to_string()]).await?.operation)
    }

    async fn unlock(&mut self, aid: &HexBytes, _: &mut dyn Interaction) -> Result<Cost, CityError> {
        Ok(self.operate("unlocking a card", &["unlock", &aid.to_string()]).await?.operation)
    }

    async fn migrate_out(
        &mut self,
        aid: &HexBytes,
        _: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError> {
        let reply = self.operate("migrating a card out", &["migrate-out", &aid.to_string()]).await?;
        Ok((reply.detail.balance_fen.unwrap_or_default(), reply.operation))
    }

    async fn migrate_in(&mut self, name: &str, _: &mut dyn Interaction) -> Result<Cost, CityError> {
        Ok(self.operate("bringing a card to another phone", &["migrate-in", name]).await?.operation)
    }

    async fn return_card(
        &mut self,
        aid: &HexBytes,
        _: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError> {
        let reply = self.operate("returning a card", &["return", &aid.to_string()]).await?;
        Ok((reply.detail.balance_fen.unwrap_or_default(), reply.operation))
    }

    fn hold_to_gate(&mut self) -> Result<&mut CardLink, CityError> {
        let step = "holding the phone to a gate";
        let link = match self.element.at_gate.take() {
            Some(link) => link,
            None => {
                let mut card = RemoteCard::dial(self.element.addresses.contactless).map_err(in_step(step))?;
                card.power_on().map_err(in_step(step))?;
                CardLink::remote(card, Interface::Contactless, self.meter.clone())
            }
        };
        Ok(self.element.at_gate.insert(link))
    }
}
