//! What a purse remembers between two commands of one channel: the challenge it gave, and the
//! transaction that was begun. Both are lost with the selection, the channel and the power.

use tsm_epurse::card::load::PendingLoad;
use tsm_epurse::card::overdraft::PendingOverdraft;
use tsm_epurse::card::purchase::PendingPurchase;
use tsm_epurse::card::unload::PendingUnload;
use tsm_epurse::file::RecordId;
use tsm_epurse::{CardRandom, Challenge};
use tsm_iso7816::StatusWord;

use super::ledger::Ledger;
use crate::applet::AppletContext;

/// The volatile state of the purse on one channel.
#[derive(Default)]
pub(super) struct Session {
    /// The answer to GET CHALLENGE, good for one command.
    pub(super) challenge: Option<Challenge>,
    pending: Option<Begun>,
}

/// A transaction that was begun and waits for its second command.
#[derive(Debug)]
pub(super) enum Pending {
    /// INITIALIZE FOR LOAD was answered.
    Load(PendingLoad),
    /// INITIALIZE FOR (CAPP) PURCHASE was answered.
    Purchase {
        /// The purchase.
        purchase: PendingPurchase,
        /// The records that the debit of a composite one will write.
        cache: Vec<Cached>,
    },
    /// INITIALIZE FOR UNLOAD was answered.
    Unload(PendingUnload),
    /// INITIALIZE FOR UPDATE was answered.
    Overdraft(PendingOverdraft),
}

/// A record waiting for its debit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cached {
    /// A new record of EF1E.
    History(Vec<u8>),
    /// A record of EF1A, from its beginning.
    Transit(RecordId, Vec<u8>),
}

impl Pending {
    const fn is_online(&self) -> bool {
        match self {
            Self::Load(_) | Self::Unload(_) | Self::Overdraft(_) => true,
            Self::Purchase { .. } => false,
        }
    }
}

struct Begun {
    transaction: Pending,
    /// The ledger's revision at the first command: any other transaction voids this one.
    revision: u32,
}

/// Draws the card's number for one transaction.
pub(super) fn random(context: &mut AppletContext<'_>) -> CardRandom {
    let mut random = [0; CardRandom::LENGTH];
    context.random(&mut random);
    CardRandom::new(random)
}

/// Remembers a transaction on this channel, in the place of any begun before.
///
/// A purse has one online transaction at a time, wherever it was begun: a host that has begun anew, with a new
/// random number, knows that no MAC2 from before is good any more.
pub(super) fn begin(context: &mut AppletContext<'_>, ledger: &Ledger, transaction: Pending) {
    if transaction.is_online() {
        context.elsewhere::<Session>(|other| {
            other.pending.take_if(|begun| begun.transaction.is_online());
        });
    }
    context.volatile::<Session>().pending = Some(Begun { transaction, revision: ledger.revision });
}

/// Takes the transaction begun on this channel: whatever comes of the second command, it is over.
pub(super) fn take(context: &mut AppletContext<'_>, ledger: &Ledger) -> Result<Pending, StatusWord> {
    let begun = context.volatile::<Session>().pending.take();
    begun
        .filter(|begun| begun.revision == ledger.revision)
        .map(|begun| begun.transaction)
        .ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)
}

/// The purchase begun on this channel and its cache.
pub(super) fn purchase<'a>(
    context: &'a mut AppletContext<'_>,
    ledger: &Ledger,
) -> Result<(&'a PendingPurchase, &'a mut Vec<Cached>), StatusWord> {
    match &mut context.volatile::<Session>().pending {
        Some(Begun { transaction: Pending::Purchase { purchase, cache }, revision })
            if *revision == ledger.revision =>
        {
            Ok((purchase, cache))
        }
        _ => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
    }
}

/// Remembers the challenge that was drawn now. It is the purse's only one: a command that was made for an
/// earlier one, on whatever channel, is good for nothing.
pub(super) fn give_challenge(context: &mut AppletContext<'_>, challenge: Challenge) {
    context.elsewhere::<Session>(|other| other.challenge = None);
    context.volatile::<Session>().challenge = Some(challenge);
}

/// Takes the challenge; 6985 when none was given since it was last used.
pub(super) fn take_challenge(context: &mut AppletContext<'_>) -> Result<Challenge, StatusWord> {
    context.volatile::<Session>().challenge.take().ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)
}
