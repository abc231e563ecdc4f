//! A conversation: the server sends a list of steps, the wallet carries them to the secure element and
//! brings the answers back (W-6.6).
//!
//! Turns are numbered. A reply with turn `n` is answered by a request with the same `n`; repeating that
//! request gets the same next reply, so a lost reply costs nothing and does nothing twice.

use serde::{Deserialize, Serialize};
use tsm_iso7816::StatusWord;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::ids::{ConversationId, RequestId};
use crate::{HexBytes, Problem};

/// One step for the secure element.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Select an application by name. A step of its own, because the phone's access API refuses SELECT
    /// inside a transmit.
    Select {
        /// The application.
        aid: HexBytes,
        /// The status words that let the list go on.
        expected: Vec<StatusPattern>,
    },
    /// Transmit a command as it is, except for the channel bits.
    Transmit {
        /// The command.
        apdu: HexBytes,
        /// The status words that let the list go on.
        expected: Vec<StatusPattern>,
    },
}

/// Four hexadecimal digits, `x` standing for any digit: `9000`, `63Cx`, `61xx`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusPattern {
    value: u16,
    mask: u16,
}

impl PartialSchema for StatusPattern {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9A-Fa-fx]{4}$"));
        RefOr::T(text.build().into())
    }
}

impl ToSchema for StatusPattern {}

impl StatusPattern {
    /// Success, 9000.
    pub const SUCCESS: Self = Self { value: 0x9000, mask: 0xFFFF };

    /// Exactly this status word.
    pub const fn exactly(status: StatusWord) -> Self {
        Self { value: status.0, mask: 0xFFFF }
    }

    /// The status words that equal `value` in the bits of `mask`; only whole digits may be masked.
    pub fn masked(value: u16, mask: u16) -> Option<Self> {
        let whole = (0..4).all(|digit| matches!((mask >> (4 * digit)) & 0xF, 0 | 0xF));
        whole.then_some(Self { value: value & mask, mask })
    }

    /// Whether a status word fits.
    pub const fn fits(&self, status: StatusWord) -> bool {
        status.0 & self.mask == self.value
    }
}

impl TryFrom<String> for StatusPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a status word is four hexadecimal digits, x for any";
        if text.len() != 4 {
            return Err(WRONG);
        }
        let (mut value, mut mask) = (0u16, 0u16);
        for digit in text.chars() {
            let (digit, cover) = match digit {
                'x' | 'X' => (0, 0),
                other => (other.to_digit(16).ok_or(WRONG)?, 0xF),
            };
            value = value << 4 | digit as u16;
            mask = mask << 4 | cover;
        }
        Ok(Self { value, mask })
    }
}

impl From<StatusPattern> for String {
    fn from(pattern: StatusPattern) -> Self {
        (0..4)
            .rev()
            .map(|digit| match (pattern.mask >> (4 * digit)) & 0xF {
                0 => 'x',
                _ => char::from_digit(u32::from(pattern.value >> (4 * digit)) & 0xF, 16)
                    .unwrap_or('x')
                    .to_ascii_uppercase(),
            })
            .collect()
    }
}

/// What is being done, for the person who waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading what the card holds.
    Observing,
    /// Creating the security domain.
    CreatingDomain,
    /// Replacing the domain's first keys.
    ReplacingKeys,
    /// Sending the program.
    Loading,
    /// Creating the instance.
    Installing,
    /// Writing keys and card data.
    Personalising,
    /// Writing registration data.
    Writing,
    /// Deleting.
    Deleting,
    /// Locking or unlocking.
    Locking,
    /// Adding money.
    ToppingUp,
    /// Paying from the card.
    Paying,
    /// Reporting the result.
    Closing,
}

/// How far an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Per cent of the whole operation, never falling within a conversation.
    pub percent: u8,
}

/// A party that can hold a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The SE issuer's TSM.
    SeTsm,
    /// The provider's TSM.
    SpTsm,
    /// The payment platform.
    Payment,
}

/// What the server says: the next steps, or how the conversation goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum ConversationReply {
    /// Carry these steps to the card and answer this turn.
    Steps {
        /// The conversation.
        conversation: ConversationId,
        /// The turn to answer.
        turn: u32,
        /// The steps.
        steps: Vec<Step>,
        /// How far it is.
        progress: Progress,
    },
    /// Another operation holds the card; answer this turn without responses to ask again (P-5.8.8.a).
    Queued {
        /// The conversation.
        conversation: ConversationId,
        /// The turn to answer.
        turn: u32,
        /// How many operations are ahead.
        ahead: u32,
    },
    /// The conversation has ended.
    Outcome {
        /// The conversation.
        conversation: ConversationId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The server does not know the conversation any more: begin again with a new observation.
    Restart {
        /// Why.
        reason: RestartReason,
    },
    /// Another party goes on: carry these steps and answer there.
    Handover {
        /// Who goes on.
        party: Party,
        /// The conversation at that party.
        conversation: ConversationId,
        /// What proves that the wallet was sent.
        ticket: String,
        /// The turn to answer there.
        turn: u32,
        /// The steps.
        steps: Vec<Step>,
        /// How far it is.
        progress: Progress,
    },
}

/// Why a conversation cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartReason {
    /// The server was started again, or the conversation lives on another one.
    UnknownConversation,
    /// Nothing was heard for too long.
    Expired,
    /// A newer operation took its place.
    Replaced,
}

/// The wallet's answer to a turn.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TurnRequest {
    /// The turn that is answered.
    pub turn: u32,
    /// The card's answers in order, each with its status word. Shorter than the list when the card
    /// gave an unexpected status word, which is then the last one.
    pub responses: Vec<HexBytes>,
    /// What kept the wallet from carrying on, when it was not the card's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<CardFault>,
    /// The ticket of a handed-over conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// What can go wrong between the wallet and the card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardFault {
    /// The card is gone or has no power.
    CardLost,
    /// The phone's access rules refused the channel.
    AccessDenied,
    /// The person asked to stop.
    Cancelled,
}

/// What to do when the card is busy with another operation (P-5.8.8.b).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfBusy {
    /// Say so.
    #[default]
    Ask,
    /// Wait behind it.
    Queue,
    /// Cancel it and take its place.
    Replace,
}

/// How a conversation ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// The result.
    pub result: OutcomeResult,
    /// Why, unless it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The command that the card refused, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_error: Option<CardRefusal>,
    /// What came of it.
    pub detail: OutcomeDetail,
}

impl Outcome {
    /// It was done.
    pub const fn done(detail: OutcomeDetail) -> Self {
        Self { result: OutcomeResult::Done, problem: None, card_error: None, detail }
    }

    /// It was refused before anything changed.
    pub fn refused(problem: Problem) -> Self {
        Self {
            result: OutcomeResult::Refused,
            problem: Some(problem),
            card_error: None,
            detail: OutcomeDetail::Nothing,
        }
    }

    /// It failed; what was done until then stays and the next attempt goes on from there.
    pub fn failed(problem: Problem) -> Self {
        Self {
            result: OutcomeResult::Failed,
            problem: Some(problem),
            card_error: None,
            detail: OutcomeDetail::Nothing,
        }
    }

    /// It is not known whether it was done.
    pub fn unknown(problem: Problem) -> Self {
        Self {
            result: OutcomeResult::Unknown,
            problem: Some(problem),
            card_error: None,
            detail: OutcomeDetail::Nothing,
        }
    }
}

/// The result of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    /// Done, as the card itself says.
    Done,
    /// Refused before anything changed.
    Refused,
    /// Failed; a new attempt goes on from what the card holds.
    Failed,
    /// Stopped by the person or the operator.
    Cancelled,
    /// Not known: the next contact settles it.
    Unknown,
}

/// A command that the card refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardRefusal {
    /// The command by name.
    pub command: String,
    /// The status word.
    pub status: HexBytes,
    /// Its meaning.
    pub meaning_en: String,
    /// Its meaning in Chinese.
    pub meaning_zh: String,
}

/// Whether what is owed for a closed card goes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundStanding {
    /// It goes back by itself.
    #[default]
    OnItsWay,
    /// The card contradicts the books: its money stays where it is until two people have looked, and goes back then.
    Held,
}

impl RefundStanding {
    /// Whether nothing holds it up.
    pub const fn is_on_its_way(&self) -> bool {
        matches!(self, Self::OnItsWay)
    }
}

/// What came of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutcomeDetail {
    /// Nothing beyond the result.
    Nothing,
    /// The secure element is registered; keep the token.
    Registered {
        /// The token, which every login shows.
        token: HexBytes,
        /// A session that is open already.
        session: String,
    },
    /// A new token is on the card; keep it in place of the old one.
    TokenRenewed {
        /// The token.
        token: HexBytes,
    },
    /// The card shows the new number and is bound to it; the sessions under the old one have ended.
    NumberChanged {
        /// The number.
        msisdn: String,
    },
    /// The application is installed.
    Installed {
        /// The application.
        aid: HexBytes,
        /// Its state.
        state: ApplicationState,
    },
    /// The application is gone.
    Deleted {
        /// The application.
        aid: HexBytes,
        /// Its state.
        state: ApplicationState,
        /// Free space after the deletion, in bytes.
        free_bytes: u32,
    },
    /// The application is locked or unlocked.
    LockChanged {
        /// The application.
        aid: HexBytes,
        /// Its state.
        state: ApplicationState,
    },
    /// The records agree with the card.
    Synchronised {
        /// Free space, in bytes.
        free_bytes: u32,
        /// How many records were corrected.
        corrected: u32,
    },
    /// The issuer's records agree with the purse, which proved itself.
    PurseSynchronised {
        /// What is on the card.
        balance_fen: u32,
        /// The card's online transaction counter.
        counter: u16,
        /// How many records were corrected.
        corrected: u32,
    },
    /// Money is on the card.
    ToppedUp {
        /// What was added.
        amount_fen: u32,
        /// What is on the card now.
        balance_fen: u32,
        /// The card's online transaction counter.
        counter: u16,
    },
    /// The card is closed and its balance goes back to the rider.
    Returned {
        /// What was on the card.
        balance_fen: u32,
        /// What of it goes back to the payments that it came from.
        to_payments_fen: u32,
        /// What of it is paid out at a hall.
        at_hall_fen: u32,
        /// Whether it goes back by itself.
        #[serde(default, skip_serializing_if = "RefundStanding::is_on_its_way")]
        standing: RefundStanding,
    },
    /// The card is parked at the centre, for another phone or a refund.
    MigratedOut {
        /// What was on the card.
        balance_fen: u32,
    },
    /// A migration in was to be given up.
    MigrationIn {
        /// The application.
        aid: HexBytes,
        /// How it stands now; while it is being given up, the application must be deleted.
        state: crate::sp_tsm::migration::MigrationState,
    },
    /// The card holds the data of its holder as he is registered now.
    Repersonalised {
        /// The application.
        aid: HexBytes,
    },
    /// The return or migration was cancelled; the card can be used.
    BackInUse {
        /// The application.
        aid: HexBytes,
        /// What is on the card.
        balance_fen: u32,
    },
    /// The top-up was not done and the order can be used again.
    NotToppedUp {
        /// What is on the card.
        balance_fen: u32,
    },
    /// A merchant's order is paid from the card, as the card proved.
    PaidFromCard {
        /// What was paid.
        amount_fen: u32,
        /// What the card says to hold now.
        balance_fen: u32,
        /// The card's offline transaction counter.
        counter: u16,
    },
    /// The card did not pay.
    NotPaidFromCard {
        /// How the order stands.
        order: UnpaidOrder,
    },
}

/// How an order stands that no card has paid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnpaidOrder {
    /// It can be paid, by this card or otherwise.
    Open,
    /// It is closed, because the person gave it up.
    Closed,
}

/// The state of an application on a secure element (P-5.8.7.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationState {
    /// Not on the card.
    Ready,
    /// The load files are there.
    Loaded,
    /// The instances are there.
    Instantiated,
    /// Personalised, waiting for the open notice.
    Personalized,
    /// In use.
    Useable,
    /// Locked.
    Locked,
}

/// How every conversation starts, whatever it does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StartOptions {
    /// Chosen by the wallet: the same number gets the same conversation.
    pub request: RequestId,
    /// What to do when the card is busy.
    #[serde(default)]
    pub if_busy: IfBusy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_digits() {
        let pattern: StatusPattern = serde_json::from_str("\"63Cx\"").unwrap();
        assert!(pattern.fits(StatusWord(0x63C3)));
        assert!(!pattern.fits(StatusWord(0x6310)));
        assert_eq!(serde_json::to_string(&pattern).unwrap(), "\"63Cx\"");
        assert!(StatusPattern::masked(0x9000, 0xFFF7).is_none());
        assert_eq!(StatusPattern::masked(0x6123, 0xFF00).map(String::from).as_deref(), Some("61xx"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["\"\"", "\"900\"", "\"90000\"", "\"90g0\"", "\"９000\"", "7"] {
            assert!(serde_json::from_str::<StatusPattern>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn replies_keep_their_tags() {
        let reply = ConversationReply::Restart { reason: RestartReason::UnknownConversation };
        assert_eq!(
            serde_json::to_string(&reply).unwrap(),
            r#"{"reply":"restart","reason":"unknown_conversation"}"#
        );
    }
}
