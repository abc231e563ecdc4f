//! What gate and POS have in common: a PSAM, a store, the list of refused cards, and who is admitted.
//!
//! The purchase itself is in `purchase.rs`, what becomes of a torn one in `settle.rs`, and the lock of a
//! black-listed card in `lock.rs`.

use jiff::Timestamp;
use tsm_api::{
    clearing::lists::{ListUpdate, UpdateError},
    signature::MessageVerifier,
};
use tsm_domain::money::ListKind;
use tsm_epurse::{DateTime, TerminalNumber, psam::select_directory};
use tsm_iso7816::{CommandApdu, StatusWord};

use crate::{
    black_list::{ListInUse, ListPolicy, WhenOld},
    card::{Found, PurseCard},
    centre_fares::CentreFares,
    clock,
    psam::{CardKeys, Psam, PsamProfile},
    reader::{CardReader, ExchangeError},
    record::{Pending, Refusal, RefusalRecord},
    state::{Limits, StoreLoss, TerminalState},
    store::{Change, Line, StoreError, TerminalStore},
};

/// The two classes of terminals by their physical make (DB11/T 159.6, 3.7); either can load, take
/// payment and serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TerminalClass {
    /// Class A.
    A,
    /// Class B.
    B,
}

/// Why a tap does not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The terminal does not serve this card, and has recorded why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The exchange with the card failed before any debit: nothing has happened.
    #[error("the card could not be worked with")]
    Exchange(#[from] ExchangeError),
    /// The debit was sent and its answer lost: the card must come back, and is not charged twice.
    #[error("the card left during its debit; hold it to this terminal again")]
    Torn(#[source] ExchangeError),
    /// The terminal's own PSAM failed.
    #[error("the PSAM refuses {command} with {status}: {}", status.meaning())]
    Psam {
        /// The command.
        command: &'static str,
        /// What it answered.
        status: StatusWord,
    },
    /// The store could not be written. The terminal serves nobody until it is started again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an update of the list is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ListUpdateError {
    /// It is not the centre's, or does not fit.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a tap takes value from the card or lets somebody out who is inside already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// A purchase or an entry.
    Value,
    /// An exit.
    WayOut,
}

/// A terminal with its PSAM, its state and where the state is kept.
#[derive(Debug)]
pub struct Terminal<K, S> {
    class: TerminalClass,
    number: TerminalNumber,
    pub(crate) psam: Psam<K>,
    pub(crate) state: TerminalState,
    store: S,
    /// After a failed write the store may have more than the state: only starting again tells.
    broken: bool,
    /// The purchase that was recorded last before the terminal stopped: its rider may not have been told.
    pub(crate) untold: Option<Pending>,
    list: ListInUse,
    list_policy: ListPolicy,
    pub(crate) fares: Option<CentreFares>,
    pub(crate) limits: Limits,
}

impl<K: CardKeys, S: TerminalStore> Terminal<K, S> {
    /// A terminal that goes on where `state` left off. It reads its number from its PSAM.
    pub fn start(
        class: TerminalClass,
        profile: PsamProfile,
        keys: K,
        state: TerminalState,
        store: S,
        limits: Limits,
    ) -> Result<Self, TapError> {
        let mut psam = Psam::new(profile, keys, state.psam);
        ask(&mut psam, "SELECT", &select_directory())?;
        let number = ask(&mut psam, "READ BINARY", &CommandApdu::new(0x00, 0xB0, 0x96, 0x00).with_ne(6))?;
        let number = <[u8; 6]>::try_from(number)
            .map_err(|_| TapError::Psam { command: "READ BINARY", status: StatusWord::WRONG_LENGTH })?;
        let untold = state.just_booked().cloned();
        Ok(Self {
            class,
            number: TerminalNumber::new(number),
            psam,
            state,
            store,
            broken: false,
            untold,
            list: ListInUse::default(),
            list_policy: ListPolicy::default(),
            fares: None,
            limits,
        })
    }

    /// The same terminal with the list that its store kept.
    #[must_use]
    pub fn with_list(self, list: ListInUse, list_policy: ListPolicy) -> Self {
        Self { list, list_policy, ..self }
    }

    /// The terminal's class.
    pub const fn class(&self) -> TerminalClass {
        self.class
    }

    /// The terminal's number.
    pub const fn number(&self) -> TerminalNumber {
        self.number
    }

    /// What the terminal keeps.
    pub const fn state(&self) -> &TerminalState {
        &self.state
    }

    /// Where it keeps it.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The list of refused cards.
    pub const fn list(&self) -> &ListInUse {
        &self.list
    }

    /// Takes an update of the list that the centre signed, durably.
    pub fn update_list(
        &mut self,
        update: &ListUpdate,
        centre: &MessageVerifier,
    ) -> Result<(), ListUpdateError> {
        let list = self.list.after(update, centre)?;
        self.keep(|store| store.keep_list(&list))?;
        self.list = list;
        Ok(())
    }

    /// Writes something beside the lines. After a failed write only starting again tells what is there.
    pub(crate) fn keep(
        &mut self,
        write: impl FnOnce(&mut S) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let written = write(&mut self.store);
        self.broken |= written.is_err();
        written
    }

    /// Gives up on torn debits whose cards have not come back, at the end of a day: they become records of
    /// unknown outcome, which the centre settles from the cards' next transactions.
    pub fn abandon_pending(&mut self) -> Result<(), StoreError> {
        let changes = self.state.giving_up(usize::MAX);
        if changes.is_empty() { Ok(()) } else { self.commit(changes) }
    }

    /// Writes down that lines were missing when the store was opened.
    pub fn note_loss(&mut self, loss: StoreLoss) -> Result<(), StoreError> {
        self.commit(vec![Change::Lost(loss)])
    }

    /// Writes changes down and takes them.
    pub(crate) fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError("an earlier write failed; start the terminal again".into()));
        }
        let line = Line { psam: self.psam.state(), changes };
        let written = self.store.append(&line);
        if written.is_err() {
            self.broken = true;
            return written;
        }
        self.state.apply(&line);
        if self.store.wants_compaction() {
            let compacted = self.store.compact(&self.state);
            self.broken = compacted.is_err();
            return compacted;
        }
        Ok(())
    }

    /// Finds the purse, and refuses one that is blocked, not valid, or listed.
    pub(crate) fn admit(
        &mut self,
        reader: &mut impl CardReader,
        at: DateTime,
        service: Service,
    ) -> Result<PurseCard, TapError> {
        if self.broken {
            return Err(StoreError("an earlier write failed; start the terminal again".into()).into());
        }
        self.watch_clock(at)?;
        let card = match PurseCard::find_any(reader) {
            Err(TapError::Refused(refusal)) => return Err(self.refuse(None, at, refusal)?),
            Ok(Found::Blocked(card)) => return Err(self.meet_blocked(card.as_ref(), at)?),
            Ok(Found::Open(card)) => card,
            Err(error) => return Err(error),
        };
        if let Err(refusal) = card.check_validity(at.date) {
            return Err(self.refuse(Some(&card), at, refusal)?);
        }
        match self.list.standing(card.serial()) {
            Some(ListKind::Black) => {
                let refusal = self.lock(reader, &card, at)?;
                return Err(self.refuse(Some(&card), at, refusal)?);
            }
            Some(ListKind::Grey) => return Err(self.refuse(Some(&card), at, Refusal::GreyListed)?),
            None => {}
        }
        if service == Service::Value && self.list_is_too_old(at) {
            return Err(self.refuse(Some(&card), at, Refusal::ListTooOld)?);
        }
        Ok(card)
    }

    /// Records a refusal and gives it as the error that the rider sees.
    pub(crate) fn refuse(
        &mut self,
        card: Option<&PurseCard>,
        at: DateTime,
        refusal: Refusal,
    ) -> Result<TapError, TapError> {
        let change = self.refusal(card, at, refusal);
        self.commit(vec![change])?;
        Ok(refusal.into())
    }

    /// A refusal to be written down with other changes.
    pub(crate) fn refusal(&self, card: Option<&PurseCard>, at: DateTime, refusal: Refusal) -> Change {
        let card = card.map(PurseCard::serial);
        Change::Refused { record: RefusalRecord { card, at, refusal }, keep: self.limits.refusals }
    }

    fn list_is_too_old(&self, at: DateTime) -> bool {
        let now: Option<Timestamp> = clock::moment(at);
        self.list_policy.when_old == WhenOld::Refuse
            && now.is_none_or(|now| self.list.is_old(&self.list_policy, now))
    }

    /// Notes a clock that shows less than it did, or a good deal more.
    fn watch_clock(&mut self, at: DateTime) -> Result<(), StoreError> {
        match self.state.latest().and_then(|before| clock::jump(before, at)) {
            Some(jump) => self.commit(vec![Change::Clock(jump)]),
            None => Ok(()),
        }
    }
}

pub(crate) fn ask<K: CardKeys>(
    psam: &mut Psam<K>,
    command: &'static str,
    apdu: &CommandApdu,
) -> Result<Vec<u8>, TapError> {
    let answer = psam.transmit(apdu);
    if answer.status.is_success() {
        return Ok(answer.data);
    }
    Err(TapError::Psam { command, status: answer.status })
}
