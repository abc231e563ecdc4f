//! SP-TSM, as the wallet sees it: bringing a parked card to another phone (B-7.6.1.e to i).
//!
//! The order claims the card at the centre. What follows is the download at the SE-TSM, which hands over to
//! the SP-TSM as for a new card; a migration that broke off goes on by the same download.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::conversation::RefundStanding;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{OperationId, RequestId};

/// The rider's parked cards.
pub const PARKED_CARDS: Endpoint<Nothing, ParkedCards> = Endpoint::get(
    "/wallet/v1/parked-cards",
    Access::Wallet,
    "The cards of the caller's number that are parked at the centre and can be brought to this phone.",
);
/// Order to bring a parked card here.
pub const ORDER_MIGRATION: Endpoint<MigrationOrder, MigrationRecord> = Endpoint::post(
    "/wallet/v1/orders/migrations",
    Access::Wallet,
    "Claims a parked card for this phone; the phone it left must be registered to the same number.",
);
/// Gives an order to bring a card here up.
pub const CANCEL_MIGRATION: Endpoint<Nothing, MigrationRecord> = Endpoint::post(
    "/wallet/v1/orders/migrations/{migration}/cancellation",
    Access::Wallet,
    "Gives a migration up before the card's data were sent here; the card stays parked.",
);

/// Order to return a parked card.
pub const RETURN_PARKED: Endpoint<ParkedReturn, ReturnedCard> = Endpoint::post(
    "/wallet/v1/orders/returns",
    Access::Wallet,
    "Returns a card of the caller's number that is parked at the centre, from whichever phone: its balance goes \
     back. Refused while a phone is bringing the card to itself.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        PARKED_CARDS.describe(),
        ORDER_MIGRATION.describe(),
        CANCEL_MIGRATION.describe(),
        RETURN_PARKED.describe(),
    ]
}

/// A parked card, for its holder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ParkedCard {
    /// The application.
    pub aid: HexBytes,
    /// The card number, masked.
    pub card_number: String,
    /// What it holds.
    pub balance_fen: u32,
}

/// The rider's parked cards.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ParkedCards {
    /// The cards.
    pub cards: Vec<ParkedCard>,
}

/// An order to bring a parked card here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MigrationOrder {
    /// Chosen by the wallet: the same number gets the same order.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// Which card, masked as it was listed; the only one, when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_number: Option<String>,
}

/// An order to return a parked card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ParkedReturn {
    /// Chosen by the wallet.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// Which card, masked as it was listed; the only one, when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_number: Option<String>,
}

/// A card that is returned, and what goes back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReturnedCard {
    /// The card number, masked.
    pub card_number: String,
    /// What was on the card.
    pub balance_fen: u32,
    /// What of it goes back to the payments that it came from.
    pub to_payments_fen: u32,
    /// What of it is paid out at a hall.
    pub at_hall_fen: u32,
    /// Whether it goes back by itself.
    #[serde(default, skip_serializing_if = "RefundStanding::is_on_its_way")]
    pub standing: RefundStanding,
}

/// How far a migration has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// The card is kept for this phone.
    Claimed,
    /// The card's data were sent, and the phone has not yet proved that it holds them.
    InFlight,
    /// The phone holds the card.
    Done,
    /// Given up, and the phone has yet to prove that it holds nothing.
    GivingUp,
    /// The card stays parked.
    Cancelled,
}

/// A migration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct MigrationRecord {
    /// The migration.
    pub migration: OperationId,
    /// The application.
    pub aid: HexBytes,
    /// The card number, masked.
    pub card_number: String,
    /// How far it has come.
    pub state: MigrationState,
    /// When it was ordered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}
