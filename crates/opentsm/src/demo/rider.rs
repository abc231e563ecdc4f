//! A rider's phone, wherever its wallet and its secure element run.

use async_trait::async_trait;
use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_wallet::Interaction;

use crate::city::CityError;
use crate::handset::CardLink;
use crate::report::Cost;

/// What a card shows of itself.
pub struct Seen {
    /// The last digits of its number.
    pub number_ending: String,
    /// What it holds.
    pub balance_fen: u32,
    /// How many transactions it remembers.
    pub transactions: usize,
    /// How many trip records it remembers.
    pub trips: usize,
}

/// How a deletion ended.
pub enum Deletion {
    /// The application is gone.
    Done(Cost),
    /// The platform refused, and said why.
    Refused(String),
}

/// What a rider does with a phone. Each operation tells what it cost, the login that may come before
/// it left out.
#[async_trait]
pub trait RiderPhone: Send {
    /// Accepts the protocol and registers.
    async fn register(&mut self, number: &str, shown: &mut dyn Interaction) -> Result<Cost, CityError>;

    /// Logs in with SE-ID and TOKEN, and gets full rights.
    async fn log_in(&mut self, shown: &mut dyn Interaction) -> Result<Cost, CityError>;

    /// Opens a card, or downloads an application, by its name. Returns its AID.
    async fn open(&mut self, name: &str, shown: &mut dyn Interaction) -> Result<(HexBytes, Cost), CityError>;

    /// Does the same, and loses all power after so many commands. Returns what the wallet said.
    async fn lose_power_while_opening(
        &mut self,
        name: &str,
        commands: u64,
        shown: &mut dyn Interaction,
    ) -> Result<(String, Cost), CityError>;

    /// Gives the phone power again.
    async fn restore_power(&mut self) -> Result<(), CityError>;

    /// Orders a top-up and pays for it.
    async fn pay(&mut self, aid: &HexBytes, amount_fen: u32) -> Result<Cost, CityError>;

    /// Carries the paid top-up to the card. Returns the new balance in fen.
    async fn top_up(&mut self, aid: &HexBytes, shown: &mut dyn Interaction)
    -> Result<(u32, Cost), CityError>;

    /// Pays a merchant's order from a card, over the network. Returns the new balance in fen.
    async fn pay_online(
        &mut self,
        aid: &HexBytes,
        payment: PaymentId,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError>;

    /// Reads a card without any server.
    async fn view(&mut self, aid: &HexBytes) -> Result<(Seen, Cost), CityError>;

    /// Deletes an application.
    async fn delete(&mut self, aid: &HexBytes, shown: &mut dyn Interaction) -> Result<Deletion, CityError>;

    /// Logs in, which deletes what is left of a closed card once the platform wants it deleted; `None` when it
    /// does not yet.
    async fn delete_closed(&mut self, shown: &mut dyn Interaction) -> Result<Option<Cost>, CityError>;

    /// Locks a card.
    async fn lock(&mut self, aid: &HexBytes, shown: &mut dyn Interaction) -> Result<Cost, CityError>;

    /// Unlocks it.
    async fn unlock(&mut self, aid: &HexBytes, shown: &mut dyn Interaction) -> Result<Cost, CityError>;

    /// Parks a card at the centre for another phone. Returns its balance in fen.
    async fn migrate_out(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError>;

    /// Brings a parked card to this phone.
    async fn migrate_in(&mut self, name: &str, shown: &mut dyn Interaction) -> Result<Cost, CityError>;

    /// Returns a card for what is on it. Returns that in fen.
    async fn return_card(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError>;

    /// Holds the phone to a gate: its contactless interface.
    fn hold_to_gate(&mut self) -> Result<&mut CardLink, CityError>;
}
