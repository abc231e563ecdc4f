//! One next contact: the rider opens the wallet, goes on with what is open or cancels it, and lets issuer and
//! operator look at the card. Nothing goes wrong any more, so all of it must succeed.

use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::operator::Listing;
use tsm_api::sp_tsm::desk::HallWork;
use tsm_wallet::service::{Interrupted, InterruptedKind};
use tsm_wallet::{NetworkError, Quiet, WalletError};

use super::flows::Flow;
use super::point::Next;
use super::stage::{Broke, Stage};
use crate::city::keys::TRANSIT;
use crate::city::trace::{Event, Flow as Doing};

/// Taps after which both gates of a station have seen a card.
const TAPS: usize = 12;
/// How often the wallet is asked what is open, at most.
const ROUNDS: usize = 4;

impl Stage {
    /// The next contact.
    pub(super) async fn contact(&mut self, flow: Flow, next: Next) -> Result<(), Broke> {
        let person = flow.person();
        self.close_wallet(person);
        match flow {
            Flow::Renumber => self.change_number_again(person).await?,
            Flow::Cash if self.people[person].cash.is_some() => self.bring_cash(person, 0).await?,
            Flow::Ride if self.people[person].inside => self.ride(person, 5)?,
            Flow::Register => self.register_again(person).await?,
            Flow::BlackList => self.come_again_to_gate(person).await?,
            Flow::Lost => {
                // The hall says it again; nobody uses the phone.
                self.list_as_lost(person, Listing::On).await?;
                self.wait(60).await;
                return Ok(());
            }
            Flow::HallUnlock => self.unlock_with_hall(person).await?,
            Flow::HallReturn => self.come_again_to_hall(person, HallWork::Return).await?,
            Flow::HallMigrate => self.come_again_to_hall(person, HallWork::MigrateOut).await?,
            Flow::Found | Flow::LostFound => self.list_as_lost(person, Listing::Off).await?,
            _ => {}
        }
        self.settle_open_works(person, next).await?;
        // What servers tell each other arrives; the next login hears of it.
        self.wait(60).await;
        self.clean_up(person).await?;
        let reading = self.world.truth.reading(self.people[person].element);
        let must_work = matches!(flow, Flow::BlackList | Flow::LostFound);
        if reading.is_some_and(|reading| reading.spendable || must_work) {
            self.synchronise_purse(person).await?;
        }
        self.synchronise(person).await?;
        if flow == Flow::HallMigrate {
            // What was taken off the card in the hall is whole only when another phone has all of it.
            self.forget_session(1);
            self.migrate_in(1).await?;
        }
        self.world.check_inventory(&self.people[person].phone.card);
        self.check_lists(person).await
    }

    /// The staff says it again when it does not know whether it was heard; a number that has changed already is
    /// refused.
    async fn change_number_again(&mut self, person: usize) -> Result<(), Broke> {
        if let Err(Broke::Other(why)) = self.change_number(person).await {
            self.told(person, &why);
        }
        Ok(())
    }

    /// A phone that does not know its registration asks for it again.
    async fn register_again(&mut self, person: usize) -> Result<(), Broke> {
        let started = self.people[person].phone.start().await?;
        if started.record().registration.is_some() {
            return Ok(());
        }
        self.register(person).await
    }

    /// The card is lost by now, and comes to the gates of the station until the one that locked it knows.
    async fn come_again_to_gate(&mut self, person: usize) -> Result<(), Broke> {
        self.report_lost(person).await?;
        self.wait(60).await;
        for _ in 0..TAPS {
            self.be_locked_at_gate(person).await?;
        }
        self.deliver().await;
        Ok(())
    }

    pub(super) async fn settle_open_works(&mut self, person: usize, next: Next) -> Result<(), Broke> {
        for _ in 0..ROUNDS {
            let works = self
                .with_wallet(person, Doing::Synchronise, async |wallet| wallet.interrupted().await)
                .await?;
            if works.is_empty() {
                return Ok(());
            }
            for work in works {
                self.settle(person, &work, next).await?;
            }
        }
        Err(Broke::Other("work stays open, however often it is settled".into()))
    }

    async fn settle(&mut self, person: usize, work: &Interrupted, next: Next) -> Result<(), Broke> {
        let cancels = work.may_cancel && (next == Next::Cancel || !work.may_continue);
        let choice = if cancels { "cancels" } else { "continues" };
        self.told(person, &format!("the rider {choice} {:?}", work.kind));
        let result = self
            .with_wallet(person, doing(work.kind), async |wallet| {
                if cancels {
                    return wallet.cancel_interrupted(work, &mut Quiet).await.map(|done| format!("{done:?}"));
                }
                wallet.continue_interrupted(work, &mut Quiet).await.map(|done| format!("{done:?}"))
            })
            .await;
        let result = match result {
            // The shop's order has expired unpaid: then nothing of it is open any more.
            Err(broke) if work.kind == InterruptedKind::PayOnline && broke.is_forbidden() => {
                broke.to_string()
            }
            result => result?,
        };
        self.told(person, &result);
        Ok(())
    }

    /// Table S.2: what may be done with the card now is what the wallet is offered.
    async fn check_lists(&mut self, person: usize) -> Result<(), Broke> {
        let lists = self.with_wallet(person, Doing::Synchronise, async |wallet| wallet.lists().await).await?;
        let reading = self.world.truth.reading(self.people[person].element);
        let spendable = reading.map(|reading| reading.spendable);
        let offered = [&lists.delete, &lists.lock, &lists.unlock]
            .map(|list| list.iter().any(|listed| listed.aid == TRANSIT.into()));
        let expected = match spendable {
            None => [false, false, false],
            Some(true) => [true, true, false],
            Some(false) => [false, false, true],
        };
        if offered == expected {
            return Ok(());
        }
        Err(Broke::Other(format!(
            "deletion, lock and unlock are offered as {offered:?}, and should be as {expected:?} (S.2)"
        )))
    }

    pub(super) fn told(&self, person: usize, what: &str) {
        self.world.trace.rider(self.people[person].element.rider, Event::Contact(what.to_owned()));
    }
}

const fn doing(kind: InterruptedKind) -> Doing {
    match kind {
        InterruptedKind::Opening => Doing::Open,
        InterruptedKind::TopUp => Doing::TopUp,
        InterruptedKind::Return => Doing::Return,
        InterruptedKind::MigrationOut => Doing::MigrateOut,
        InterruptedKind::MigrationIn => Doing::MigrateIn,
        InterruptedKind::Repersonalisation => Doing::SynchronisePurse,
        InterruptedKind::PayOnline => Doing::PayOnline,
        InterruptedKind::Lock => Doing::Lock,
        InterruptedKind::Unlock => Doing::Unlock,
        InterruptedKind::Deletion => Doing::Delete,
    }
}

impl Broke {
    /// Whether the present state does not allow it.
    fn is_forbidden(&self) -> bool {
        match self {
            Self::Wallet(
                WalletError::Refused(problem) | WalletError::Network(NetworkError::Refused(problem)),
            ) => matches!(problem.code, ProblemCode::StateForbids),
            Self::Wallet(_) | Self::PhoneDied | Self::Other(_) => false,
        }
    }

    /// Whether the wallet was told that this is not known.
    pub(super) const fn is_unknown(&self) -> bool {
        matches!(self, Self::Wallet(WalletError::Unknown))
    }
}
