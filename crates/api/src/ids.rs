//! Identifiers that servers mint. Each is a random UUID, so that none can be guessed from another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! wire_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

wire_ids! {
    /// One conversation between a server and a secure element.
    ConversationId;
    /// A request the wallet chose a number for, so that repeating it starts nothing new.
    RequestId;
    /// One task: an operation on one secure element.
    TaskId;
    /// An operation that both TSMs know by the same number.
    OperationId;
    /// A provider (and its SP-TSM operator) registered at the SE-TSM.
    ProviderId;
    /// An application record at the SE-TSM, before and after it has an AID.
    ApplicationId;
    /// A security-domain definition.
    DomainId;
    /// A batch of secure elements.
    BatchId;
    /// A member of the operator's staff.
    StaffId;
    /// An order of a card holder at the SP-TSM: opening or top-up.
    OrderId;
    /// An order at the payment platform.
    PaymentId;
    /// A card account at the clearing centre.
    AccountId;
}
