//! The state machine of an application on one SE (P-5.8.7.2, table S.1), as data.
//!
//! [`SeApplication::apply`] looks an event up in the table, checks the row's guard and consumes the old
//! value. What the table does not have is refused with a reason. The state alone does not tell whether
//! personalisation data are on the SE, so a second field keeps that (D-28).

use serde::{Deserialize, Serialize};

use crate::amount::Fen;

/// Where an application stands on an SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SeState {
    /// Not on the SE.
    Ready,
    /// All load files and extensions are on the SE.
    Loaded,
    /// All instances are created.
    Instantiated,
    /// Personalised, and waiting to be opened by the business platform.
    Personalized,
    /// In use.
    Useable,
    /// Locked.
    Locked,
}

/// Whether an application needs personalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PersonalisationNeed {
    /// It works as installed.
    NotNeeded,
    /// It needs its keys and data first.
    Needed,
}

/// Whether an application needs opening by the business platform (开通).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OpeningNeed {
    /// It is useable when the download is done.
    NotNeeded,
    /// It waits for the business platform's notice.
    Needed,
}

/// Whether personalisation data are on the SE (D-28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PersoOnSe {
    /// None was written.
    None,
    /// Personalisation began and did not end.
    Partial,
    /// All of it is there and counts.
    Complete,
    /// It is there and does not count any more: the next download writes it anew.
    Void,
}

/// What a preset load file was found to hold at the first contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Preset {
    /// The code only.
    Code,
    /// The code and its instances.
    Instances,
}

/// On whose behalf an operation is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// The user, with the client.
    User,
    /// A staffed hall.
    Hall,
    /// The platform's operator.
    Operator,
    /// The archive campaign of a deregistered application.
    Archive,
    /// A loss report.
    Loss,
    /// The return of a card.
    Return,
    /// The migration of a card to another SE.
    Migration,
}

/// Whether an application holds value that its deletion would destroy (B-8.5.3, D-42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HeldValue {
    /// The application holds no value by its nature.
    None,
    /// The balance was read, reported and taken over by the centre.
    Settled,
    /// This much is still on the SE.
    Unsettled(Fen),
    /// Nobody knows.
    Unknown,
}

/// Who may unlock an application (D-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnlockPolicy {
    /// A staffed hall only (P-5.8.4.3.1.b).
    HallOnly,
    /// The client only.
    ClientOnly,
    /// Both.
    HallOrClient,
}

/// Whether an application may be deleted while it is locked (D-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// It is unlocked first, whoever asks.
    UnlockFirst,
    /// Archive, loss, return and migration may delete it as it is.
    WhileLocked,
}

/// What happens to an application on an SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SeEvent {
    /// All load files and extensions are on the SE.
    AllLoaded,
    /// All instances are created.
    AllInstancesCreated,
    /// Personalisation begins. The value of the last personalisation must be settled (D-28).
    PersonalisationBegun(HeldValue),
    /// Personalisation is complete.
    PersonalisationComplete,
    /// The business platform opened the application.
    OpenNotice,
    /// The period to wait for the open notice is over.
    OpeningExpired,
    /// The user chose the download of an application that is partly or wholly there.
    DownloadChosen,
    /// An unsubscribe notice came, or the user left the network.
    Unsubscribed,
    /// All instances were locked.
    Locked,
    /// All instances were unlocked.
    Unlocked(Actor, UnlockPolicy),
    /// The instances were deleted and the file kept.
    InstanceDeleted(Actor, HeldValue, DeletionPolicy),
    /// The application file was deleted too.
    FileDeleted(Actor, HeldValue, DeletionPolicy),
    /// The file was found in read-only memory, where it cannot be deleted.
    RomFileDeleted,
    /// The residue of a failed download was deleted.
    ResidueDeleted,
    /// The download broke off.
    DownloadInterrupted,
    /// At the first contact the code was found preset.
    FoundPreset(Preset),
}

/// Why an event is refused. The sentences are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The table has no such row.
    #[error("{event} cannot happen to an application that is {state}")]
    NotInTable {
        /// The state.
        state: &'static str,
        /// The event in words.
        event: &'static str,
    },
    /// Only for applications that need personalisation.
    #[error("this application needs no personalisation")]
    NeedsNoPersonalisation,
    /// Only for applications that need opening.
    #[error("this application needs no opening by the business platform")]
    NeedsNoOpening,
    /// The application still holds money.
    #[error("the application still holds {0} yuan, which must be refunded or moved first")]
    HoldsValue(Fen),
    /// Nobody read the balance.
    #[error("whether the application still holds value is not known; the card must be read first")]
    ValueUnknown,
    /// Unlock at a hall.
    #[error("this application is unlocked at a staffed hall only")]
    UnlockAtHall,
    /// Unlock with the client.
    #[error("this application is unlocked with the client only")]
    UnlockWithClient,
    /// A locked application is unlocked before it is deleted.
    #[error("a locked application is unlocked before it is deleted")]
    UnlockFirst,
    /// Wait for the opening.
    #[error("the application waits to be opened; only the operator may delete it now")]
    AwaitsOpening,
    /// The business must be unsubscribed first.
    #[error("the business must be cancelled at its provider before the application is deleted")]
    UnsubscribeFirst,
    /// The file is in ROM.
    #[error("the application file is in read-only memory and cannot be deleted")]
    RomPreset,
}

/// Whether a transition needs commands to the SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SeOperation {
    /// The event reports commands that the SE carried out.
    Done,
    /// Only what is missing on the SE.
    MissingStepsOnly,
    /// Only the platform's record changes; no APDU is sent.
    None,
}

/// An application on one SE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeApplication {
    /// Where it stands.
    pub state: SeState,
    /// Whether personalisation data are on the SE.
    pub perso_on_se: PersoOnSe,
    /// Whether it needs personalisation.
    pub personalisation: PersonalisationNeed,
    /// Whether it needs opening.
    pub opening: OpeningNeed,
}

/// What an event did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The application afterwards.
    pub application: SeApplication,
    /// Whether the SE had or has work to do.
    pub operation: SeOperation,
    /// The rows of table S.1 that were taken, in order.
    pub rows: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AllLoaded,
    AllInstancesCreated,
    FollowsInstances,
    PersonalisationBegun,
    PersonalisationComplete,
    OpenNotice,
    OpeningExpired,
    DownloadChosen,
    Unsubscribed,
    Locked,
    Unlocked,
    InstanceDeleted,
    FileDeleted,
    RomFileDeleted,
    ResidueDeleted,
    DownloadInterrupted,
    FoundCode,
    FoundInstances,
}

/// A need that a row asks for; `None` asks for nothing.
type Perso = Option<PersonalisationNeed>;
type Open = Option<OpeningNeed>;

struct Row {
    number: u8,
    from: &'static [SeState],
    event: Kind,
    perso: Perso,
    open: Open,
    to: Option<SeState>,
    operation: SeOperation,
}

const PERSO: Perso = Some(PersonalisationNeed::Needed);
const NO_PERSO: Perso = Some(PersonalisationNeed::NotNeeded);
const OPEN: Open = Some(OpeningNeed::Needed);
const NO_OPEN: Open = Some(OpeningNeed::NotNeeded);

const fn row(
    number: u8,
    from: &'static [SeState],
    event: Kind,
    (perso, open): (Perso, Open),
    to: Option<SeState>,
    operation: SeOperation,
) -> Row {
    Row { number, from, event, perso, open, to, operation }
}

/// Table S.1. A target of `None` is "stays". Rows 13 and 14 have a second line each for the deletions
/// that D-7 and D-9 allow from Locked and Personalized. Row 19 is [`SeApplication::reconciled`].
const TABLE: &[Row] = {
    use Kind as K;
    use SeOperation::{Done, MissingStepsOnly, None as NoOperation};
    use SeState::{Instantiated as I, Loaded as L, Locked as X, Personalized as P, Ready as R, Useable as U};
    const ANY: (Perso, Open) = (None, None);
    &[
        row(1, &[R], K::AllLoaded, ANY, Some(L), Done),
        row(2, &[L], K::AllInstancesCreated, ANY, Some(I), Done),
        row(3, &[I], K::FollowsInstances, (NO_PERSO, OPEN), Some(P), NoOperation),
        row(4, &[I], K::FollowsInstances, (NO_PERSO, NO_OPEN), Some(U), NoOperation),
        row(5, &[I], K::PersonalisationComplete, (PERSO, OPEN), Some(P), Done),
        row(6, &[I], K::PersonalisationComplete, (PERSO, NO_OPEN), Some(U), Done),
        row(7, &[P], K::OpenNotice, (None, OPEN), Some(U), NoOperation),
        row(8, &[P], K::OpeningExpired, (None, OPEN), Some(I), NoOperation),
        row(9, &[I], K::DownloadChosen, (NO_PERSO, OPEN), Some(P), NoOperation),
        row(10, &[U], K::Unsubscribed, ANY, Some(I), NoOperation),
        row(11, &[U], K::Locked, ANY, Some(X), Done),
        row(12, &[X], K::Unlocked, ANY, Some(U), Done),
        row(13, &[I, U], K::InstanceDeleted, ANY, Some(L), Done),
        row(13, &[P, X], K::InstanceDeleted, ANY, Some(L), Done),
        row(14, &[I, U], K::FileDeleted, ANY, Some(R), Done),
        row(14, &[P, X], K::FileDeleted, ANY, Some(R), Done),
        row(15, &[L], K::ResidueDeleted, ANY, Some(R), Done),
        // A download broken inside LOAD leaves residue while the state is still Ready.
        row(15, &[R], K::ResidueDeleted, ANY, None, Done),
        row(16, &[R, L, I], K::DownloadInterrupted, ANY, None, NoOperation),
        row(17, &[L], K::DownloadChosen, ANY, None, MissingStepsOnly),
        row(17, &[I], K::DownloadChosen, (PERSO, None), None, MissingStepsOnly),
        // Nothing is missing, so row 4 follows at once.
        row(17, &[I], K::DownloadChosen, (NO_PERSO, NO_OPEN), Some(U), NoOperation),
        row(17, &[I], K::PersonalisationBegun, (PERSO, None), None, MissingStepsOnly),
        row(18, &[R], K::FoundCode, ANY, Some(L), NoOperation),
        row(18, &[R], K::FoundInstances, ANY, Some(I), NoOperation),
    ]
};

impl SeState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Ready, Self::Loaded, Self::Instantiated, Self::Personalized, Self::Useable, Self::Locked];

    /// The state in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ready => "not on the SE",
            Self::Loaded => "loaded",
            Self::Instantiated => "instantiated",
            Self::Personalized => "personalised and not yet opened",
            Self::Useable => "useable",
            Self::Locked => "locked",
        }
    }
}

impl SeEvent {
    const fn kind(self) -> Kind {
        match self {
            Self::AllLoaded => Kind::AllLoaded,
            Self::AllInstancesCreated => Kind::AllInstancesCreated,
            Self::PersonalisationBegun(_) => Kind::PersonalisationBegun,
            Self::PersonalisationComplete => Kind::PersonalisationComplete,
            Self::OpenNotice => Kind::OpenNotice,
            Self::OpeningExpired => Kind::OpeningExpired,
            Self::DownloadChosen => Kind::DownloadChosen,
            Self::Unsubscribed => Kind::Unsubscribed,
            Self::Locked => Kind::Locked,
            Self::Unlocked(..) => Kind::Unlocked,
            Self::InstanceDeleted(..) => Kind::InstanceDeleted,
            Self::FileDeleted(..) => Kind::FileDeleted,
            Self::RomFileDeleted => Kind::RomFileDeleted,
            Self::ResidueDeleted => Kind::ResidueDeleted,
            Self::DownloadInterrupted => Kind::DownloadInterrupted,
            Self::FoundPreset(Preset::Code) => Kind::FoundCode,
            Self::FoundPreset(Preset::Instances) => Kind::FoundInstances,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::AllLoaded => "the loading of its files",
            Self::AllInstancesCreated => "the creation of its instances",
            Self::PersonalisationBegun(_) | Self::PersonalisationComplete => "personalisation",
            Self::OpenNotice => "opening",
            Self::OpeningExpired => "the end of the opening period",
            Self::DownloadChosen => "a download",
            Self::Unsubscribed => "an unsubscription",
            Self::Locked => "a lock",
            Self::Unlocked(..) => "an unlock",
            Self::InstanceDeleted(..) => "the deletion of its instances",
            Self::FileDeleted(..) | Self::RomFileDeleted => "the deletion of its file",
            Self::ResidueDeleted => "the deletion of residue",
            Self::DownloadInterrupted => "the interruption of a download",
            Self::FoundPreset(_) => "the discovery as preset",
        }
    }
}

impl SeApplication {
    /// An application that is not on the SE.
    pub const fn absent(personalisation: PersonalisationNeed, opening: OpeningNeed) -> Self {
        Self { state: SeState::Ready, perso_on_se: PersoOnSe::None, personalisation, opening }
    }

    /// The application after `event`, or the reason why the event is refused.
    ///
    /// Where a row of the table follows another at once (rows 3 and 4), both are taken.
    pub fn apply(self, event: SeEvent) -> Result<Transition, Refusal> {
        self.guard(event)?;
        let row = self.find(event.kind()).ok_or_else(|| self.not_in_table(event))?;
        let mut next = self;
        next.state = row.to.unwrap_or(self.state);
        next.perso_on_se = self.perso_after(event);
        let mut rows = vec![row.number];
        let instances_appeared =
            matches!(event, SeEvent::AllInstancesCreated | SeEvent::FoundPreset(Preset::Instances));
        if let Some(follows) = next.find(Kind::FollowsInstances).filter(|_| instances_appeared) {
            next.state = follows.to.unwrap_or(next.state);
            rows.push(follows.number);
        }
        Ok(Transition { application: next, operation: row.operation, rows })
    }

    /// The application as the card shows it (row 19, D-42). The caller records an incident: this is not
    /// a step of any flow but the repair of a difference.
    pub const fn reconciled(self, state: SeState, perso_on_se: PersoOnSe) -> Transition19 {
        Transition19 { before: self, after: Self { state, perso_on_se, ..self } }
    }

    fn find(self, kind: Kind) -> Option<&'static Row> {
        TABLE.iter().find(|row| {
            row.event == kind
                && row.from.contains(&self.state)
                && row.perso.is_none_or(|need| need == self.personalisation)
                && row.open.is_none_or(|need| need == self.opening)
        })
    }

    const fn not_in_table(self, event: SeEvent) -> Refusal {
        Refusal::NotInTable { state: self.state.words(), event: event.words() }
    }

    fn guard(self, event: SeEvent) -> Result<(), Refusal> {
        match event {
            SeEvent::PersonalisationBegun(held) => {
                self.guard_personalisation()?;
                value_is_settled(held)
            }
            SeEvent::PersonalisationComplete => self.guard_personalisation(),
            SeEvent::OpenNotice | SeEvent::OpeningExpired if self.opening == OpeningNeed::NotNeeded => {
                Err(Refusal::NeedsNoOpening)
            }
            SeEvent::Unlocked(actor, policy) => self.guard_unlock(actor, policy),
            SeEvent::InstanceDeleted(actor, held, policy) | SeEvent::FileDeleted(actor, held, policy) => {
                self.guard_deletion(actor, held, policy)
            }
            SeEvent::RomFileDeleted => Err(Refusal::RomPreset),
            SeEvent::AllLoaded
            | SeEvent::AllInstancesCreated
            | SeEvent::OpenNotice
            | SeEvent::OpeningExpired
            | SeEvent::DownloadChosen
            | SeEvent::Unsubscribed
            | SeEvent::Locked
            | SeEvent::ResidueDeleted
            | SeEvent::DownloadInterrupted
            | SeEvent::FoundPreset(_) => Ok(()),
        }
    }

    fn guard_personalisation(self) -> Result<(), Refusal> {
        match self.personalisation {
            PersonalisationNeed::Needed => Ok(()),
            PersonalisationNeed::NotNeeded => Err(Refusal::NeedsNoPersonalisation),
        }
    }

    fn guard_unlock(self, actor: Actor, policy: UnlockPolicy) -> Result<(), Refusal> {
        match (actor, policy) {
            (Actor::User, UnlockPolicy::HallOnly) => Err(Refusal::UnlockAtHall),
            (Actor::Hall, UnlockPolicy::ClientOnly) => Err(Refusal::UnlockWithClient),
            _ => Ok(()),
        }
    }

    fn guard_deletion(self, actor: Actor, held: HeldValue, policy: DeletionPolicy) -> Result<(), Refusal> {
        match (self.state, actor) {
            (SeState::Ready | SeState::Loaded, _) => return Ok(()),
            (SeState::Personalized, Actor::Operator | Actor::Archive) => {}
            (SeState::Personalized, _) => return Err(Refusal::AwaitsOpening),
            (SeState::Locked, Actor::Archive | Actor::Loss | Actor::Return | Actor::Migration)
                if policy == DeletionPolicy::WhileLocked => {}
            (SeState::Locked, _) => return Err(Refusal::UnlockFirst),
            (SeState::Useable, Actor::User) if self.opening == OpeningNeed::Needed => {
                return Err(Refusal::UnsubscribeFirst);
            }
            (SeState::Instantiated | SeState::Useable, _) => {}
        }
        value_is_settled(held)
    }

    const fn perso_after(self, event: SeEvent) -> PersoOnSe {
        match event {
            SeEvent::AllLoaded
            | SeEvent::AllInstancesCreated
            | SeEvent::InstanceDeleted(..)
            | SeEvent::FileDeleted(..)
            | SeEvent::ResidueDeleted
            | SeEvent::FoundPreset(_) => PersoOnSe::None,
            SeEvent::PersonalisationBegun(_) => PersoOnSe::Partial,
            SeEvent::PersonalisationComplete => PersoOnSe::Complete,
            SeEvent::OpeningExpired | SeEvent::Unsubscribed => match self.perso_on_se {
                PersoOnSe::None => PersoOnSe::None,
                PersoOnSe::Partial | PersoOnSe::Complete | PersoOnSe::Void => PersoOnSe::Void,
            },
            SeEvent::OpenNotice
            | SeEvent::DownloadChosen
            | SeEvent::Locked
            | SeEvent::Unlocked(..)
            | SeEvent::RomFileDeleted
            | SeEvent::DownloadInterrupted => self.perso_on_se,
        }
    }
}

/// A repair by row 19: what the record said, and what the card shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition19 {
    /// What the record said.
    pub before: SeApplication,
    /// What the card shows.
    pub after: SeApplication,
}

fn value_is_settled(held: HeldValue) -> Result<(), Refusal> {
    match held {
        HeldValue::None | HeldValue::Settled => Ok(()),
        HeldValue::Unsettled(balance) if balance.is_zero() => Ok(()),
        HeldValue::Unsettled(balance) => Err(Refusal::HoldsValue(balance)),
        HeldValue::Unknown => Err(Refusal::ValueUnknown),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
