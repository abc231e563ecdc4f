//! Identifiers. Those that servers mint are random UUIDs, so that none can be guessed from another; those
//! that people use are names.

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
    /// An application record at the SE-TSM, before and after it has an AID.
    ApplicationId;
    /// An order of a card holder at the SP-TSM: opening or top-up.
    OrderId;
    /// An order at the payment platform.
    PaymentId;
    /// A refund, by the merchant's number.
    RefundId;
    /// A card account at the clearing centre.
    AccountId;
}

macro_rules! wire_names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(text.to_owned()))
            }
        }
    )*};
}

wire_names! {
    /// A provider (and its SP-TSM operator) registered at the SE-TSM.
    ProviderId;
    /// A batch of secure elements, by name.
    BatchId;
    /// A member of the operator's staff, by account.
    StaffId;
    /// A security-domain definition, by its AID in hexadecimal.
    DomainId;
}
