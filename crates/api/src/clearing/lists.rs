//! The black and grey lists on their way to terminals, and who puts cards on them.
//!
//! The centre signs the *head* of the list: version, digest of the whole list, time. A terminal that applies
//! the changes since its own version reaches a list, computes its digest and compares it with the signed one;
//! so whoever carries the changes can neither add a card nor leave one out, and the terminal needs nothing but
//! the centre's public key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tsm_domain::CardNumber;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::{
    CardList, ListAction, ListChange, ListError, ListKind, ListReason, ListVersion, ListedCard,
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::fares::SignedFares;
use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::signature::{MessageVerifier, SignatureError};

/// What changed since a version.
pub const LIST_CHANGES: Endpoint<ChangesQuery, ListUpdate> = Endpoint::get(
    "/peer/v1/lists/changes",
    Access::Peer,
    "What changed on the black and grey list since a version, or the whole list when that is shorter.",
);
/// The whole list.
pub const WHOLE_LIST: Endpoint<Nothing, ListUpdate> =
    Endpoint::get("/peer/v1/lists/whole", Access::Peer, "The whole black and grey list.");
/// The key of the list's signature.
pub const LIST_KEY: Endpoint<Nothing, ListKey> = Endpoint::get(
    "/peer/v1/lists/key",
    Access::Peer,
    "The centre's public key, with which terminals verify the list.",
);
/// What a terminal has, and what it should have.
pub const TERMINAL_STATUS: Endpoint<TerminalStatus, TerminalParameters> = Endpoint::post(
    "/peer/v1/terminals/status",
    Access::Peer,
    "Tells which versions a terminal has, and gets those that it should have.",
);
/// The caller's terminals.
pub const TERMINALS: Endpoint<Nothing, TerminalList> = Endpoint::get(
    "/peer/v1/terminals",
    Access::Peer,
    "The caller's terminals, the versions that they have, and which of them are behind.",
);
/// A card is lost.
pub const REPORT_LOST: Endpoint<LostCard, ListStanding> = Endpoint::post(
    "/peer/v1/lists/lost",
    Access::Peer,
    "Puts a card that its rider lost on the black list; repeating it, or an older word, changes nothing.",
);
/// A lost card is found.
pub const REPORT_FOUND: Endpoint<LostCard, ListStanding> = Endpoint::post(
    "/peer/v1/lists/found",
    Access::Peer,
    "Takes a card off the list that is there because it was lost, and for no other reason.",
);
/// A terminal locked a card.
pub const REPORT_LOCKED: Endpoint<LockedCard, ListStanding> = Endpoint::post(
    "/peer/v1/lists/locked",
    Access::Peer,
    "Tells that a terminal met a listed card and locked it, which closes the matter.",
);
/// A card's standing.
pub const STANDING: Endpoint<Nothing, ListStanding> = Endpoint::get(
    "/peer/v1/lists/cards/{card}",
    Access::Peer,
    "How a card is listed, and whether it is locked.",
);
/// A person proposes a change.
pub const PROPOSE: Endpoint<ListProposal, ProposalRecord> = Endpoint::post(
    "/peer/v1/lists/proposals",
    Access::Peer,
    "Proposes a change of the list; it is made when another person approves.",
);
/// Another person decides.
pub const DECIDE: Endpoint<ProposalDecision, ProposalRecord> = Endpoint::post(
    "/peer/v1/lists/proposals/{proposal}/decision",
    Access::Peer,
    "Approves or refuses a proposed change; never the person who proposed it.",
);
/// What waits for a decision.
pub const PROPOSALS: Endpoint<Nothing, ProposalList> =
    Endpoint::get("/peer/v1/lists/proposals", Access::Peer, "The proposed changes that nobody has decided.");

/// Every endpoint of the lists.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        LIST_CHANGES.describe(),
        WHOLE_LIST.describe(),
        LIST_KEY.describe(),
        TERMINAL_STATUS.describe(),
        TERMINALS.describe(),
        REPORT_LOST.describe(),
        REPORT_FOUND.describe(),
        REPORT_LOCKED.describe(),
        STANDING.describe(),
        PROPOSE.describe(),
        DECIDE.describe(),
        PROPOSALS.describe(),
    ]
}

/// From which version on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangesQuery {
    /// The version that the asker has; 0 for none.
    pub since: u64,
}

/// How strictly a card is listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WireListKind {
    /// Refused, and locked by the terminal that meets it.
    Black,
    /// Refused until it has been examined.
    Grey,
}

/// Why a card is listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WireListReason {
    /// The rider reported it lost.
    Lost,
    /// It was copied or put back to an earlier state.
    Copied,
    /// A counter went back.
    CounterWentBack,
    /// The balance does not follow from the transactions.
    BalanceDoesNotFollow,
    /// Frozen for another reason.
    Frozen,
    /// Its account is closed.
    Closed,
    /// Decided by two people.
    Decided,
}

/// A listed card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WireListedCard {
    /// The application serial number of the card.
    pub card: HexBytes,
    /// How strictly.
    pub kind: WireListKind,
    /// Why.
    pub reason: WireListReason,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WireListChange {
    /// The version that it makes.
    pub version: u64,
    /// The application serial number of the card.
    pub card: HexBytes,
    /// How the card is listed from then on; absent when it is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<WireStanding>,
}

/// How a card is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WireStanding {
    /// How strictly.
    pub kind: WireListKind,
    /// Why.
    pub reason: WireListReason,
}

/// The centre's signed word about its list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignedHead {
    /// The version.
    pub version: u64,
    /// SHA-256 of the whole list at this version.
    pub digest: HexBytes,
    /// When it was signed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// ECDSA on P-256 with SHA-256, r and s.
    pub signature: HexBytes,
}

/// What brings a terminal's list up to date.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListUpdate {
    /// The head that the list has afterwards.
    pub head: SignedHead,
    /// What to do.
    pub content: ListContent,
}

/// Changes, or the whole list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListContent {
    /// The changes since the version that was asked about, in order.
    Changes(Vec<WireListChange>),
    /// Every listed card.
    Whole(Vec<WireListedCard>),
}

/// The key of the list's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListKey {
    /// An uncompressed point of P-256.
    pub point: HexBytes,
}

/// What a terminal has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TerminalStatus {
    /// The terminal.
    pub terminal: HexBytes,
    /// The version of the list that it verified and uses.
    pub list_version: u64,
    /// The version of the fare table that it uses; 0 for none.
    pub fare_version: u32,
    /// The highest version that it holds, for now or later; 0 for none.
    #[serde(default)]
    pub fares_held: u32,
    /// Records that it has not delivered.
    pub undelivered: u64,
}

/// What a terminal should have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TerminalParameters {
    /// The terminal.
    pub terminal: HexBytes,
    /// The version of the list.
    pub list_version: u64,
    /// The version of the fare table that is in force; 0 when the centre distributes none to it.
    pub fare_version: u32,
    /// The versions that are in force now or later, in order, each signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fares: Vec<SignedFares>,
    /// The last batch of the terminal that the centre has whole; 0 for none.
    pub batch_sequence: u64,
    /// The centre's time.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
}

/// Whether a terminal has what it should have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Currency {
    /// It has.
    Current,
    /// Its list is older, or it does not hold the fare table that is in force.
    Behind,
    /// It has never told.
    Silent,
}

/// A terminal as the centre knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TerminalRecord {
    /// The terminal.
    pub terminal: HexBytes,
    /// Whether it has what it should have.
    pub currency: Currency,
    /// The version of the list that it acknowledged last.
    pub list_version: u64,
    /// The version of its fare table.
    pub fare_version: u32,
    /// Records that it had not delivered then.
    pub undelivered: u64,
    /// When it told; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<Timestamp>,
}

/// The caller's terminals.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TerminalList {
    /// The version that they should have.
    pub list_version: u64,
    /// In order of number.
    pub terminals: Vec<TerminalRecord>,
}

/// A card that was lost or found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LostCard {
    /// The application serial number of the card.
    pub card: HexBytes,
    /// How often the card was lost or found until now, as its issuer counts. A word that is not newer than the
    /// last one changes nothing, however late it comes.
    pub change: u64,
}

/// A card that a terminal locked (transaction type 0A).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LockedCard {
    /// The application serial number of the card.
    pub card: HexBytes,
    /// The terminal.
    pub terminal: HexBytes,
    /// The number of the record in the terminal.
    pub number: u64,
    /// The version of the list that it acted upon.
    pub list_version: u64,
    /// The date at the terminal.
    pub date: HexBytes,
    /// The time at the terminal.
    pub time: HexBytes,
}

/// How a card is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListStanding {
    /// The card.
    pub card: HexBytes,
    /// How it is listed, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<WireStanding>,
    /// The version of the list.
    pub list_version: u64,
    /// The terminal that locked the card, if one did since it was listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_by: Option<HexBytes>,
}

/// A proposed change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListProposal {
    /// The proposal's number, which is taken once.
    pub proposal: Uuid,
    /// The card.
    pub card: HexBytes,
    /// How the card is to be listed; absent to take it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<WireListKind>,
    /// Why, in words.
    #[serde(deserialize_with = "crate::text::line")]
    pub why: String,
}

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProposalDecision {
    /// The decision.
    pub decision: Decision,
}

/// Yes or no.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The change is made.
    Approve,
    /// It is not made.
    Refuse,
}

/// A proposal and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProposalRecord {
    /// The proposal.
    pub proposal: ListProposal,
    /// The person who proposed it.
    pub proposed_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub proposed_at: Timestamp,
    /// The decision, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<ProposalDecision>,
    /// The person who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// What waits for a decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProposalList {
    /// Oldest first.
    pub proposals: Vec<ProposalRecord>,
}

/// Why a terminal does not take an update of its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateError {
    /// The head is not signed by the centre.
    #[error("the list is not signed by the centre")]
    Signature(#[from] SignatureError),
    /// A field cannot be read.
    #[error("the field {0} of the list cannot be read")]
    Field(&'static str),
    /// The head is older than the list that the terminal has.
    #[error("the list of version {offered} is older than the one in use, {held}")]
    Older {
        /// In use.
        held: ListVersion,
        /// Offered.
        offered: ListVersion,
    },
    /// Changes and list do not fit.
    #[error(transparent)]
    List(#[from] ListError),
}

impl SignedHead {
    /// The bytes that the centre signs.
    pub fn signed_bytes(version: u64, digest: &[u8], at: Timestamp) -> Vec<u8> {
        format!("OPENTSM-LIST-HEAD-1\n{version}\n{}\n{at}\n", hex::encode(digest)).into_bytes()
    }

    /// What the head says, if the centre signed it.
    pub fn verify(&self, centre: &MessageVerifier) -> Result<(ListVersion, Sha256Digest), UpdateError> {
        let digest: [u8; 32] = self.digest.as_bytes().try_into().map_err(|_| UpdateError::Field("digest"))?;
        let signed = Self::signed_bytes(self.version, &digest, self.at);
        centre.verify(&signed, self.signature.as_bytes())?;
        Ok((ListVersion(self.version), Sha256Digest(digest)))
    }
}

impl ListUpdate {
    /// The list that the centre has, reached from the one that is `held`. On any error the held list stays in
    /// use; after [`UpdateError::List`] the whole list should be asked for.
    pub fn apply(&self, held: &CardList, centre: &MessageVerifier) -> Result<CardList, UpdateError> {
        let (version, digest) = self.head.verify(centre)?;
        if version < held.version() {
            return Err(UpdateError::Older { held: held.version(), offered: version });
        }
        let list = match &self.content {
            ListContent::Changes(changes) => {
                let changes: Result<Vec<_>, _> = changes.iter().map(WireListChange::to_domain).collect();
                held.clone().after(changes?)?
            }
            ListContent::Whole(cards) => {
                let cards: Result<Vec<_>, _> = cards.iter().map(WireListedCard::to_domain).collect();
                CardList::new(version, cards?)?
            }
        };
        list.check(version, digest)?;
        Ok(list)
    }
}

impl WireListChange {
    /// The change in the rules' types.
    pub fn to_domain(&self) -> Result<ListChange, UpdateError> {
        let action = match self.listed {
            Some(standing) => ListAction::Put(standing.kind.into(), standing.reason.into()),
            None => ListAction::Remove,
        };
        Ok(ListChange { version: ListVersion(self.version), card: card(&self.card)?, action })
    }
}

impl From<ListChange> for WireListChange {
    fn from(change: ListChange) -> Self {
        let listed = match change.action {
            ListAction::Put(kind, reason) => Some(WireStanding { kind: kind.into(), reason: reason.into() }),
            ListAction::Remove => None,
        };
        let card = HexBytes(change.card.application_serial().to_vec());
        Self { version: change.version.0, card, listed }
    }
}

impl WireListedCard {
    /// The card in the rules' types.
    pub fn to_domain(&self) -> Result<ListedCard, UpdateError> {
        Ok(ListedCard { card: card(&self.card)?, kind: self.kind.into(), reason: self.reason.into() })
    }
}

impl From<ListedCard> for WireListedCard {
    fn from(listed: ListedCard) -> Self {
        let card = HexBytes(listed.card.application_serial().to_vec());
        Self { card, kind: listed.kind.into(), reason: listed.reason.into() }
    }
}

fn card(serial: &HexBytes) -> Result<CardNumber, UpdateError> {
    let serial: &[u8; 10] = serial.as_bytes().try_into().map_err(|_| UpdateError::Field("card"))?;
    CardNumber::from_application_serial(serial).map_err(|_| UpdateError::Field("card"))
}

macro_rules! same_variants {
    ($wire:ident, $domain:ident: $($variant:ident),*) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value {
                    $($domain::$variant => Self::$variant,)*
                }
            }
        }

        impl From<$wire> for $domain {
            fn from(value: $wire) -> Self {
                match value {
                    $($wire::$variant => Self::$variant,)*
                }
            }
        }
    };
}

same_variants!(WireListKind, ListKind: Black, Grey);
same_variants!(
    WireListReason, ListReason:
    Lost, Copied, CounterWentBack, BalanceDoesNotFollow, Frozen, Closed, Decided
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::SigningIdentity;
    use crate::signature::{MessageSigner as _, SoftwareSigner};

    fn number(own: u64) -> CardNumber {
        CardNumber::compose("31049990", own).unwrap()
    }

    fn change(version: u64, own: u64, action: ListAction) -> ListChange {
        ListChange { version: ListVersion(version), card: number(own), action }
    }

    fn head(list: &CardList, signer: &SoftwareSigner) -> SignedHead {
        let at: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
        let digest = list.digest().0;
        let signature = signer.sign(&SignedHead::signed_bytes(list.version().0, &digest, at));
        SignedHead {
            version: list.version().0,
            digest: digest.to_vec().into(),
            at,
            signature: signature.to_vec().into(),
        }
    }

    #[test]
    fn a_terminal_takes_what_the_centre_signed_and_nothing_else() {
        let signer = SigningIdentity::generate().unwrap().signer().unwrap();
        let centre = MessageVerifier::from_point(signer.public_key().as_bytes()).unwrap();
        let lost = ListAction::Put(ListKind::Black, ListReason::Lost);
        let changes = [change(1, 1, lost), change(2, 2, lost), change(3, 1, ListAction::Remove)];
        let held = CardList::default().after(changes[..1].iter().copied()).unwrap();
        let whole = held.clone().after(changes).unwrap();
        let wire: Vec<WireListChange> = changes[1..].iter().copied().map(Into::into).collect();
        let update = ListUpdate { head: head(&whole, &signer), content: ListContent::Changes(wire.clone()) };
        assert_eq!(update.apply(&held, &centre), Ok(whole.clone()));
        assert_eq!(update.apply(&whole, &centre), Ok(whole.clone()), "again");

        let shorter = ListUpdate { content: ListContent::Changes(wire[..1].to_vec()), ..update.clone() };
        assert_eq!(shorter.apply(&held, &centre), Err(ListError::Digest(ListVersion(3)).into()));
        let mut changed = wire;
        changed[0].card = HexBytes(number(9).application_serial().to_vec());
        let changed = ListUpdate { content: ListContent::Changes(changed), ..update.clone() };
        assert_eq!(changed.apply(&held, &centre), Err(ListError::Digest(ListVersion(3)).into()));
        let cards: Vec<WireListedCard> = whole.cards().map(Into::into).collect();
        let complete = ListUpdate { content: ListContent::Whole(cards), ..update.clone() };
        assert_eq!(complete.apply(&CardList::default(), &centre), Ok(whole.clone()));
        let emptied = ListUpdate { content: ListContent::Whole(Vec::new()), ..update.clone() };
        assert_eq!(emptied.apply(&whole, &centre), Err(ListError::Digest(ListVersion(3)).into()));

        let older = ListUpdate { head: head(&held, &signer), content: ListContent::Changes(Vec::new()) };
        assert!(matches!(older.apply(&whole, &centre), Err(UpdateError::Older { .. })));
        let stranger = SigningIdentity::generate().unwrap().signer().unwrap();
        let forged = ListUpdate { head: head(&whole, &stranger), ..update.clone() };
        assert_eq!(forged.apply(&held, &centre), Err(UpdateError::Signature(SignatureError::Wrong)));
        let mut moved = update;
        moved.head.version += 1;
        assert_eq!(moved.apply(&held, &centre), Err(UpdateError::Signature(SignatureError::Wrong)));
    }
}
