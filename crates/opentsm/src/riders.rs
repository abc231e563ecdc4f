//! Riders for measuring and for breaking things: phones with software SEs in this process, each with a wallet
//! of its own.

use std::sync::{Arc, Mutex};

use tsm_api::HexBytes;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_se::card::SystemRandomness;
use tsm_se::{Interface, SecureElement};
use tsm_wallet::service::{PaidTopUp, TopUpResult};
use tsm_wallet::{Quiet, WalletError};

use crate::city::TRANSIT_AID;
use crate::city::folder::CityFolder;
use crate::handset::{CardLink, Meter, Watched};
use crate::phone::{Phone, Servers};

/// A phone of the city that is switched on; nothing is registered yet.
pub async fn switch_on(
    servers: &Servers,
    folder: &CityFolder,
    number: u32,
    profile: &tsm_se::Profile,
) -> Result<Phone, String> {
    let element =
        SecureElement::create(profile, Box::new(SystemRandomness)).map_err(|error| error.to_string())?;
    let link = CardLink::here(Arc::new(Mutex::new(element)), Interface::Contact, Meter::new(Watched::No));
    Phone::start(servers, &folder.phone(number), link).await.map_err(|error| error.to_string())
}

/// Accepts the utilisation protocol, registers and logs in.
pub async fn register(phone: &mut Phone, number: u32) -> Result<(), WalletError> {
    let agreement = phone.wallet.agreement().await?;
    let accepted = phone.wallet.accept(&agreement);
    phone.wallet.register(accepted, Some(format!("86139{number:08}")), &mut Quiet).await?;
    phone.wallet.login(&mut Quiet).await.map(drop)
}

/// Opens the city's transit card.
pub async fn open_card(phone: &mut Phone) -> Result<(), WalletError> {
    let offers = phone.wallet.catalogue(CatalogueList::Recommendation).await?;
    let card = offers.iter().find(|entry| entry.aid.as_bytes() == TRANSIT_AID);
    phone.wallet.open_card(card.ok_or(WalletError::UnexpectedOutcome)?, &mut Quiet).await.map(drop)
}

/// Orders a top-up.
pub async fn order(phone: &Phone, amount_fen: u32) -> Result<(OrderId, PaymentId), WalletError> {
    phone.wallet.order_top_up(&HexBytes(TRANSIT_AID.to_vec()), amount_fen).await
}

/// Pays for an order; again, when it is not known whether it was paid.
pub async fn pay(
    phone: &mut Phone,
    (order, payment): (OrderId, PaymentId),
) -> Result<PaidTopUp, WalletError> {
    phone.wallet.pay(&HexBytes(TRANSIT_AID.to_vec()), order, payment).await
}

/// Carries a paid top-up to the card; whether the card took it.
pub async fn carry(phone: &mut Phone, paid: &PaidTopUp) -> Result<bool, WalletError> {
    Ok(match phone.wallet.top_up(paid, &mut Quiet).await? {
        TopUpResult::Credited { .. } => true,
        TopUpResult::NotCredited { .. } => false,
    })
}

/// Parks the card at the centre, for another phone. Returns its balance in fen.
pub async fn park(phone: &mut Phone) -> Result<u32, WalletError> {
    phone.wallet.migrate_out(&HexBytes(TRANSIT_AID.to_vec()), &mut Quiet).await
}

/// Brings the rider's parked card to this phone.
pub async fn fetch(phone: &mut Phone) -> Result<(), WalletError> {
    phone.wallet.migrate_in(&HexBytes(TRANSIT_AID.to_vec()), None, &mut Quiet).await
}

/// Returns the card. Gives what was on it, in fen.
pub async fn give_back(phone: &mut Phone) -> Result<u32, WalletError> {
    let returned = phone.wallet.return_card(&HexBytes(TRANSIT_AID.to_vec()), &mut Quiet).await?;
    Ok(returned.balance_fen)
}
