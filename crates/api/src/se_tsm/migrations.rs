//! Ordering a migration where the phone is not (P-5.5.4.d): as the logged-in rider from another phone of his, at
//! customer service, and in a hall. Each application is an order of its own (P-5.5.4.e); the phones are told
//! what is due at their next login, and carry it out as if their rider had begun it there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing, StaffRole};
use crate::ids::{OperationId, RequestId};

const DESK: Access = Access::Staff(&[StaffRole::CustomerService, StaffRole::Hall]);
const LOOK: Access =
    Access::Staff(&[StaffRole::SystemAdministrator, StaffRole::CustomerService, StaffRole::Hall]);

/// Orders a migration at the desk.
pub const ORDER_MIGRATION: Endpoint<NewMigration, OrderedMigration> = Endpoint::post(
    "/operator/v1/elements/{se_id}/migrations",
    DESK,
    "Orders that an application moves from this secure element to another one of the same number.",
);
/// The migrations of a secure element.
pub const MIGRATIONS: Endpoint<Nothing, OrderedMigrations> = Endpoint::get(
    "/operator/v1/elements/{se_id}/migrations",
    LOOK,
    "The ordered migrations to and from a secure element, newest first, and how far each has come.",
);
/// Withdraws a migration at the desk.
pub const WITHDRAW_MIGRATION: Endpoint<Withdrawal, OrderedMigration> = Endpoint::post(
    "/operator/v1/migrations/{migration}/withdrawal",
    DESK,
    "Withdraws an ordered migration; what has left its phone already stays parked for the rider.",
);
/// Orders a migration between own phones.
pub const ORDER_OWN_MIGRATION: Endpoint<OwnMigration, OrderedMigration> = Endpoint::post(
    "/wallet/v1/migrations",
    Access::Wallet,
    "Orders that an application moves between two secure elements of the caller's number.",
);
/// The migrations of the own phone.
pub const OWN_MIGRATIONS: Endpoint<Nothing, OrderedMigrations> = Endpoint::get(
    "/wallet/v1/migrations",
    Access::Wallet,
    "The ordered migrations to and from the caller's secure element, newest first.",
);
/// Withdraws a migration of one's own.
pub const WITHDRAW_OWN_MIGRATION: Endpoint<Nothing, OrderedMigration> = Endpoint::post(
    "/wallet/v1/migrations/{migration}/withdrawal",
    Access::Wallet,
    "Withdraws an ordered migration to or from the caller's secure element.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        ORDER_MIGRATION.describe(),
        MIGRATIONS.describe(),
        WITHDRAW_MIGRATION.describe(),
        ORDER_OWN_MIGRATION.describe(),
        OWN_MIGRATIONS.describe(),
        WITHDRAW_OWN_MIGRATION.describe(),
    ]
}

/// Where a migration was ordered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationChannel {
    /// By the rider himself, for another phone of his.
    SelfService,
    /// By customer service.
    CustomerService,
    /// In a hall.
    Hall,
}

/// At which desk a person sits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationDesk {
    /// Customer service.
    CustomerService,
    /// A hall.
    Hall,
}

/// A migration ordered at a desk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewMigration {
    /// Chosen by the desk: the same number gets the same order.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// The secure element that it goes to.
    pub to: HexBytes,
    /// The desk, whose role the person must have.
    pub desk: MigrationDesk,
    /// The person of another house who asks for it at its own desk, as that desk knows him: both phones' journals
    /// name him beside whose session it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clerk: Option<String>,
}

/// A migration between two phones of the caller's number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OwnMigration {
    /// Chosen by the wallet: the same number gets the same order.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// The secure element that has it; the caller's own, when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<HexBytes>,
    /// The secure element that it goes to; the caller's own, when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<HexBytes>,
}

/// Why a migration is withdrawn.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Withdrawal {
    /// The reason.
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
    /// The person of another house who asks for it at its own desk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clerk: Option<String>,
}

/// How far an ordered migration has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationStage {
    /// The phone that has the application is to park it.
    Ordered,
    /// The application's provider has closed it there; the other phone is to fetch it.
    Left,
    /// It is in use on the other phone.
    Arrived,
    /// Nobody is to do anything any more.
    Withdrawn,
}

/// An ordered migration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderedMigration {
    /// Its number.
    pub migration: OperationId,
    /// The application.
    pub aid: HexBytes,
    /// The secure element that has it, or had it.
    pub from: HexBytes,
    /// The secure element that it goes to.
    pub to: HexBytes,
    /// Where it was ordered.
    pub channel: MigrationChannel,
    /// How far it has come.
    pub stage: MigrationStage,
    /// When it was ordered.
    #[schema(value_type = String, format = DateTime)]
    pub ordered_at: Timestamp,
}

/// Ordered migrations.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OrderedMigrations {
    /// The migrations.
    pub migrations: Vec<OrderedMigration>,
}

/// What a secure element has to do for a migration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigrationPart {
    /// Park the application.
    Out,
    /// Fetch it.
    In,
}

/// A part of a migration that is due.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DueMigration {
    /// The migration.
    pub migration: OperationId,
    /// The application.
    pub aid: HexBytes,
    /// What is to be done here.
    pub part: MigrationPart,
}
