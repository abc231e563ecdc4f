//! Whether a centre's journal tells the same as its books: each chain is followed, replayed from its first entry,
//! and compared with the rows. What does not fit is named: the card, the entry, the transfer.
//!
//! It reads one chain at a time, so its memory does not grow with the centre, and it may run while the centre
//! works: a chain that grew while it was compared is looked at again.

use std::fmt;

use tsm_domain::CardNumber;
use tsm_domain::money::journal::{
    CardReplay, CardRows, Change, Difference, JournalEvent, ReplayRefusal, SealBroken, SignedSeal,
};
use tsm_domain::money::settlement::{BusinessDay, Settlement};
use tsm_domain::money::{AccountKind, MoneyTotals, Transfer};

use super::{ClearingStore, event_of};
use crate::error::{Result, StorageError};
use crate::shared::{ChainKey, Entry};

/// Entries that are read at once.
const PAGE: usize = 256;

/// Chains that are compared in one go by default.
pub const CHAINS: usize = 256;

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The chain.
    pub chain: ChainKey,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An entry does not follow the one before it: it was changed, or one before it is missing.
    Chain {
        /// The first entry that does not fit.
        entry: u64,
    },
    /// An entry cannot be read.
    Unreadable {
        /// The entry.
        entry: u64,
    },
    /// An entry tells what cannot happen after those before it.
    Replay {
        /// The entry.
        entry: u64,
        /// Why not.
        refusal: ReplayRefusal,
    },
    /// The rows differ from what the journal tells.
    Rows(Difference),
    /// A head that was sealed is not in the chain any more.
    Unsealed {
        /// The seal.
        seal: u64,
        /// The entry that it was over.
        entry: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain { entry } => write!(f, "entry {entry} was changed, or one before it is missing"),
            Self::Unreadable { entry } => write!(f, "entry {entry} cannot be read: it was changed"),
            Self::Replay { entry, refusal } => {
                write!(f, "entry {entry} cannot follow those before it: {refusal}")
            }
            Self::Rows(difference) => difference.fmt(f),
            Self::Unsealed { seal, entry } => {
                write!(f, "entry {entry} is not the one that seal {seal} was set on")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.chain, self.fault)
    }
}

/// What a comparison found over some chains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// Chains followed.
    pub chains: u64,
    /// Entries followed.
    pub entries: u64,
    /// Transfers replayed.
    pub transfers: u64,
    /// Card transactions replayed.
    pub transactions: u64,
    /// The terms of the money equation, by the journal.
    pub totals: MoneyTotals,
    /// What does not fit.
    pub findings: Vec<Finding>,
    /// Where to go on; `None` when all chains were compared.
    pub next: Option<ChainKey>,
}

impl Compared {
    /// Adds what was found over further chains.
    pub fn add(&mut self, more: Self) {
        self.chains += more.chains;
        self.entries += more.entries;
        self.transfers += more.transfers;
        self.transactions += more.transactions;
        self.totals.add_all(&more.totals);
        self.findings.extend(more.findings);
        self.next = more.next;
    }
}

/// Compares the chains after `after`, at most `limit` of them.
pub async fn compare_some<S: ClearingStore + ?Sized>(
    store: &S,
    after: Option<ChainKey>,
    limit: usize,
) -> Result<Compared> {
    let heads = store.chain_heads(after.clone(), limit).await?;
    let accounts = accounts_between(store, after, heads.last(), heads.len() < limit).await?;
    let mut found = Compared::default();
    for head in &heads {
        found.add(compare_chain(store, head.note.chain.clone()).await?);
    }
    for card in accounts {
        let chain = ChainKey::Card(card);
        if !heads.iter().any(|head| head.note.chain == chain) {
            found.add(compare_chain(store, chain).await?);
        }
    }
    found.next = heads.last().filter(|_| heads.len() == limit).map(|head| head.note.chain.clone());
    Ok(found)
}

/// Compares everything.
pub async fn compare_all<S: ClearingStore + ?Sized>(store: &S) -> Result<Compared> {
    let mut all = compare_some(store, None, CHAINS).await?;
    while let Some(after) = all.next.clone() {
        all.add(compare_some(store, Some(after), CHAINS).await?);
    }
    Ok(all)
}

/// The cards with an account that sort between two chains, so that one without any entry is found.
async fn accounts_between<S: ClearingStore + ?Sized>(
    store: &S,
    after: Option<ChainKey>,
    last: Option<&Entry>,
    to_the_end: bool,
) -> Result<Vec<CardNumber>> {
    let card_of = |chain: &ChainKey| match chain {
        ChainKey::Card(card) => Some(*card),
        ChainKey::Se(_) | ChainKey::Operator(_) | ChainKey::Day(_) => None,
    };
    let mut after = match after {
        None => None,
        Some(chain) => match card_of(&chain) {
            Some(card) => Some(card),
            // Chains of other kinds come after all cards.
            None => return Ok(Vec::new()),
        },
    };
    let until = last.and_then(|last| card_of(&last.note.chain)).filter(|_| !to_the_end);
    let mut cards = Vec::new();
    loop {
        let rows = store.accounts(after, PAGE).await?;
        let full = rows.len() == PAGE;
        for row in rows {
            if until.is_some_and(|until| row.card > until) {
                return Ok(cards);
            }
            after = Some(row.card);
            cards.push(row.card);
        }
        if !full {
            return Ok(cards);
        }
    }
}

/// Follows and replays one chain, and compares the rows. Looked at again while the chain grows meanwhile.
pub async fn compare_chain<S: ClearingStore + ?Sized>(store: &S, chain: ChainKey) -> Result<Compared> {
    const LOOKS: usize = 8;
    let mut found = Compared::default();
    for _ in 0..LOOKS {
        let followed = follow(store, &chain).await?;
        let differences = match &followed.subject {
            Subject::Card(replay, card) => replay.differences(&rows_of(store, *card).await?),
            Subject::Day(told, day) => {
                let stored = store.control_transfers_on(*day).await?;
                let mut found = of_day(&told.transfers, &stored);
                found.extend(of_settlements(&told.settlements, &settled_on(store, *day).await?));
                found
            }
            Subject::Other => Vec::new(),
        };
        let grown = !store
            .chain(chain.clone(), followed.compared.entries, 1)
            .await
            .map_or(true, |more| more.is_empty());
        found = followed.compared;
        if followed.fault.is_none() {
            found.findings.extend(
                differences
                    .into_iter()
                    .map(|difference| Finding { chain: chain.clone(), fault: Fault::Rows(difference) }),
            );
        }
        found.findings.extend(followed.fault.map(|fault| Finding { chain: chain.clone(), fault }));
        if found.findings.is_empty() || !grown {
            break;
        }
    }
    Ok(found)
}

fn of_day(told: &[Transfer], stored: &[Transfer]) -> Vec<Difference> {
    let skipped = stored.iter().filter(|transfer| !told.contains(transfer));
    let lost = told.iter().filter(|transfer| !stored.contains(transfer));
    let skipped = skipped.cloned().map(Difference::TransferNotJournalled);
    skipped.chain(lost.cloned().map(Difference::TransferNotStored)).collect()
}

/// A day whose chain tells no settlement was settled before settlements were told: then its transfers are the
/// whole of what its journal says.
fn of_settlements(told: &[Settlement], stored: &[Settlement]) -> Vec<Difference> {
    let skipped = stored.iter().filter(|one| !told.is_empty() && !told.contains(one));
    let lost = told.iter().filter(|one| !stored.contains(one));
    let skipped = skipped.cloned().map(Difference::SettlementNotJournalled);
    skipped.chain(lost.cloned().map(Difference::SettlementNotStored)).collect()
}

async fn settled_on<S: ClearingStore + ?Sized>(store: &S, day: jiff::civil::Date) -> Result<Vec<Settlement>> {
    store.settlements(BusinessDay::on(day)).await
}

/// What the chain of a day tells.
#[derive(Default)]
struct DayTold {
    transfers: Vec<Transfer>,
    settlements: Vec<Settlement>,
}

enum Subject {
    Card(Box<CardReplay>, CardNumber),
    Day(DayTold, jiff::civil::Date),
    Other,
}

struct Followed {
    subject: Subject,
    compared: Compared,
    fault: Option<Fault>,
}

async fn follow<S: ClearingStore + ?Sized>(store: &S, chain: &ChainKey) -> Result<Followed> {
    let mut subject = match chain {
        ChainKey::Card(card) => Subject::Card(Box::new(CardReplay::new(*card)), *card),
        ChainKey::Day(day) => Subject::Day(DayTold::default(), *day),
        ChainKey::Se(_) | ChainKey::Operator(_) => Subject::Other,
    };
    let mut compared = Compared { chains: 1, ..Compared::default() };
    let mut last: Option<Entry> = None;
    let mut fault = None;
    'pages: loop {
        let page = match store.chain(chain.clone(), compared.entries, PAGE).await {
            Ok(page) => page,
            Err(StorageError::Corrupt { .. }) => {
                fault = Some(unreadable(store, chain, compared.entries).await?);
                break;
            }
            Err(error) => return Err(error),
        };
        if page.is_empty() {
            break;
        }
        for entry in page {
            let number = compared.entries + 1;
            fault = apply(&mut subject, last.as_ref(), &entry, number);
            if fault.is_some() {
                break 'pages;
            }
            compared.entries = number;
            last = Some(entry);
        }
    }
    if fault.is_none() {
        fault = check_seal(store, chain).await?;
    }
    match &subject {
        Subject::Card(replay, _) => {
            let (transfers, transactions) = replay.counts();
            compared.transfers = transfers as u64;
            compared.transactions = transactions as u64;
            compared.totals = replay.totals();
        }
        Subject::Day(told, _) => {
            compared.transfers = told.transfers.len() as u64;
            compared.totals = MoneyTotals::of_transfers(&told.transfers);
        }
        Subject::Other => {}
    }
    Ok(Followed { subject, compared, fault })
}

fn apply(subject: &mut Subject, last: Option<&Entry>, entry: &Entry, number: u64) -> Option<Fault> {
    if Entry::check_chain(last, [entry]).is_err() {
        return Some(Fault::Chain { entry: number });
    }
    let event: JournalEvent = match (&subject, event_of(entry)) {
        (Subject::Other, _) => return None,
        (_, Ok(event)) => event,
        (_, Err(_)) => return Some(Fault::Unreadable { entry: number }),
    };
    match subject {
        Subject::Card(replay, _) => {
            replay.apply(&event).err().map(|refusal| Fault::Replay { entry: number, refusal })
        }
        Subject::Day(told, _) => {
            for change in &event.changes {
                match change {
                    Change::Transferred(made) => told.transfers.extend(made.about_none()),
                    Change::Settled(settlement) => told.settlements.push(settlement.clone()),
                    _ => {}
                }
            }
            None
        }
        Subject::Other => None,
    }
}

/// Names the first entry after `after` that the store itself finds changed.
async fn unreadable<S: ClearingStore + ?Sized>(store: &S, chain: &ChainKey, after: u64) -> Result<Fault> {
    let mut entry = after;
    loop {
        match store.chain(chain.clone(), entry, 1).await {
            Err(StorageError::Corrupt { .. }) => return Ok(Fault::Unreadable { entry: entry + 1 }),
            Err(error) => return Err(error),
            Ok(one) if one.is_empty() => return Ok(Fault::Unreadable { entry: after + 1 }),
            Ok(_) => entry += 1,
        }
    }
}

/// The chain still has the entries that were sealed: one that was written anew, hashes and all, has not.
async fn check_seal<S: ClearingStore + ?Sized>(store: &S, chain: &ChainKey) -> Result<Option<Fault>> {
    let mut number = 1;
    while let Some(over) = store.seal_over(chain.clone(), number).await? {
        let at = over.head.number;
        let entry = store.chain(chain.clone(), at.saturating_sub(1), 1).await?;
        if entry.first().map(|entry| (entry.number, entry.hash)) != Some((at, over.head.hash)) {
            return Ok(Some(Fault::Unsealed { seal: over.seal, entry: at }));
        }
        number = at + 1;
    }
    Ok(None)
}

async fn rows_of<S: ClearingStore + ?Sized>(store: &S, card: CardNumber) -> Result<CardRows> {
    let account = store.account(card).await?.map(|row| (row.account, row.opened_at));
    let mut balances = Vec::new();
    for kind in AccountKind::ALL.into_iter().filter(|kind| kind.is_of_a_card()) {
        balances.push((kind, store.balance(card, kind).await?));
    }
    Ok(CardRows {
        account,
        transfers: store.transfers_of(card).await?,
        transactions: store.transactions_of(card, usize::MAX).await?,
        balances,
    })
}

/// Follows the seals from the first one on. `signed` tells whether a seal bears the centre's signature.
pub async fn check_seals<S: ClearingStore + ?Sized>(
    store: &S,
    signed: impl Fn(&SignedSeal) -> bool,
) -> Result<std::result::Result<u64, SealBroken>> {
    let mut last: Option<SignedSeal> = None;
    loop {
        let after = last.as_ref().map_or(0, |last| last.seal.number);
        let page = store.seals(after, PAGE).await?;
        if page.is_empty() {
            return Ok(Ok(after));
        }
        for seal in page {
            let heads = store.sealed_heads(seal.seal.number).await?;
            if let Err(broken) = seal.seal.check(last.as_ref().map(|last| &last.seal), &heads) {
                return Ok(Err(broken));
            }
            if !signed(&seal) {
                return Ok(Err(SealBroken::Signature(seal.seal.number)));
            }
            last = Some(seal);
        }
    }
}
