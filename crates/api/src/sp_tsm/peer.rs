//! SP-TSM, as the SE-TSM and the payment platform see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::{Progress, Step};
use crate::endpoint::{Access, Endpoint, EndpointInfo};
use crate::ids::{ConversationId, OperationId};
use crate::payment::PaymentNotification;
use crate::se_tsm::peer::{DomainObservation, OperationKind, OperationResult};
use crate::{HexBytes, Nothing, Problem, ProblemCode};

/// Consent before an operation.
pub const PRE_OPERATION: Endpoint<PreOperationRequest, PreOperationReply> = Endpoint::post(
    "/peer/v1/pre-operations",
    Access::Peer,
    "Asks for consent to a download or deletion, and for the keys of the domain.",
);
/// Hand-over of a conversation.
pub const HANDOVER: Endpoint<HandoverRequest, HandoverReply> = Endpoint::post(
    "/peer/v1/handovers",
    Access::Peer,
    "Passes the card's answer to INITIALIZE UPDATE; the SP-TSM goes on with the conversation.",
);
/// Result of an operation at the SE-TSM.
pub const RESULT: Endpoint<OperationResult, Nothing> = Endpoint::post(
    "/peer/v1/results",
    Access::Peer,
    "Reports how an operation at the SE-TSM ended; repeating the report changes nothing.",
);
/// Change of a rider's number.
pub const NUMBER_CHANGED: Endpoint<NumberChanged, Nothing> = Endpoint::post(
    "/peer/v1/number-changes",
    Access::Peer,
    "Tells that the user of a secure element has another number; telling it again changes nothing.",
);
/// Loss of a secure element.
pub const LOSS: Endpoint<SeLoss, Nothing> = Endpoint::post(
    "/peer/v1/losses",
    Access::Peer,
    "Tells that a secure element is lost, or found again; telling it again, or an older word, changes nothing.",
);
/// Payment notification.
pub const PAYMENT_NOTIFICATION: Endpoint<PaymentNotification, Nothing> = Endpoint::post(
    "/peer/v1/payment-notifications",
    Access::Payment,
    "The payment platform's signed word that an order is paid.",
)
.refusing(&[
    ProblemCode::UnknownId,
    ProblemCode::AmountRefused,
    ProblemCode::OrderUsed,
    ProblemCode::StateForbids,
]);

/// Every endpoint for institutions.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        PRE_OPERATION.describe(),
        HANDOVER.describe(),
        RESULT.describe(),
        NUMBER_CHANGED.describe(),
        LOSS.describe(),
        PAYMENT_NOTIFICATION.describe(),
    ]
}

/// The user of a secure element has another number (P-5.5.5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NumberChanged {
    /// The secure element.
    pub se_id: HexBytes,
    /// The number that it is bound to now.
    pub msisdn: String,
    /// The numbers that the same user had on it before.
    pub formerly: Vec<String>,
}

/// A secure element is on the loss list, or not any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SeLoss {
    /// The secure element.
    pub se_id: HexBytes,
    /// How it stands.
    pub standing: LossStanding,
    /// Which change of the loss list about this secure element it is. A word that is not newer than the last one
    /// changes nothing, however late it comes.
    pub change: u64,
}

/// Whether a secure element is lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossStanding {
    /// It was reported lost.
    Lost,
    /// It was taken off the loss list.
    Found,
}

/// Asks for consent (B-8.5.2.b, B-8.5.3.b).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreOperationRequest {
    /// The operation's number at both TSMs; repeating it gets the same answer.
    pub operation: OperationId,
    /// What will be done.
    pub kind: OperationKind,
    /// The secure element.
    pub se_id: HexBytes,
    /// The application.
    pub aid: HexBytes,
    /// The domain it belongs to.
    pub domain_aid: HexBytes,
    /// The bound number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// The order that the wallet named, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// Consent or refusal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "consent", rename_all = "snake_case")]
pub enum PreOperationReply {
    /// Allowed.
    Allowed {
        /// The domain's keys under the KEK that both organisations share; absent for a deletion.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain_keys: Option<WrappedKeySet>,
        /// The INITIALIZE UPDATE command, with the SP-TSM's host challenge, of the secure channel that the
        /// SP-TSM will open; absent when it will open none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initialize_update: Option<HexBytes>,
        /// Who loads and personalises.
        way: HandoverWay,
        /// The secure element that the application leaves for this one, when it migrates (P-5.5.4).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved_from: Option<HexBytes>,
    },
    /// Refused.
    Refused {
        /// Why.
        problem: Problem,
    },
}

/// What the SP-TSM does after the hand-over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoverWay {
    /// Loads, installs and personalises by its own domain (authorised management).
    LoadAndPersonalise,
    /// Personalises what the SE-TSM installed.
    Personalise,
    /// Nothing: the SE-TSM does it all.
    Nothing,
}

/// A key set under a key-encryption key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WrappedKeySet {
    /// The version the keys get on the card.
    pub key_version: u8,
    /// The name of the KEK that both organisations share.
    pub kek: String,
    /// ENC, MAC and DEK, in this order.
    pub keys: Vec<WrappedKey>,
}

/// A key under a key-encryption key. Neither side can read it outside its key service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WrappedKey {
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// The key under the KEK.
    pub wrapped: HexBytes,
    /// The key's check value.
    pub check_value: HexBytes,
}

/// The algorithm of a domain key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyAlgorithm {
    /// Two-key triple DES.
    TripleDes,
    /// AES with a 16-byte key.
    Aes128,
    /// AES with a 24-byte key.
    Aes192,
    /// AES with a 32-byte key.
    Aes256,
}

/// Passes a conversation on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HandoverRequest {
    /// The operation that consent was given for; repeating the hand-over gets the same answer.
    pub operation: OperationId,
    /// The card's answer to INITIALIZE UPDATE with the SP-TSM's host challenge, with its status word.
    pub initialize_update: HexBytes,
    /// What the card holds of the domain, as the SE-TSM observed it, the domain itself included: where
    /// its life cycle is not yet PERSONALIZED (0F), the SP-TSM sets it.
    pub observation: DomainObservation,
    /// How far the operation is.
    pub progress: Progress,
}

/// The SP-TSM's first steps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HandoverReply {
    /// The conversation at the SP-TSM.
    pub conversation: ConversationId,
    /// What the wallet shows with its turns.
    pub ticket: String,
    /// The first turn to answer.
    pub turn: u32,
    /// The steps.
    pub steps: Vec<Step>,
    /// How far it is.
    pub progress: Progress,
}
