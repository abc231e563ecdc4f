//! The flows: how the world stands before one, and the flow itself, once.

use super::stage::{Broke, Stage};
use crate::city::trace::Flow as Doing;
use tsm_api::se_tsm::operator::Listing;
use tsm_api::sp_tsm::desk::HallWork;
use tsm_wallet::service::InterruptedKind;
use tsm_wallet::{Quiet, WalletError};

/// A flow that is broken at each of its places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    /// Registering the phone.
    Register,
    /// Opening a card.
    Open,
    /// Topping up: order, payment, card.
    TopUp,
    /// Topping up with cash at a kiosk.
    Cash,
    /// Locking the card.
    Lock,
    /// Unlocking it.
    Unlock,
    /// Entering and leaving through gates, and the delivery of the ride.
    Ride,
    /// Two sales in shops, and their delivery.
    Sale,
    /// Returning a card that was topped up twice and used, and deleting it.
    Return,
    /// Returning a card that is parked at the centre.
    ReturnParked,
    /// Parking the card at the centre, and deleting it.
    MigrateOut,
    /// Bringing the parked card to another phone.
    MigrateIn,
    /// The rider's number changes, and the card that holds it is personalised again.
    Renumber,
    /// Issuer and operator look at a card that was used.
    Synchronise,
    /// Terminals deliver what they took, transaction by transaction.
    Notices,
    /// Terminals deliver what they took, in numbered batches.
    Batches,
    /// A shop's order is paid from the card over the network.
    PayOnline,
    /// A paid top-up is cancelled, and the payment given back.
    Refund,
    /// The rider reports the card lost, a gate hears of it and locks the card, and everybody learns of the lock.
    BlackList,
    /// A hall puts the secure element on the loss list; issuer and centre follow.
    Lost,
    /// A hall takes it off the loss list; issuer and centre follow.
    Found,
    /// A hall puts it on the loss list and takes it off again, while words of the first may still be on their way.
    LostFound,
    /// The rider reports his locked card lost, a hall allows the unlock, and the phone unlocks it.
    HallUnlock,
    /// A locked card is returned on the hall's reader.
    HallReturn,
    /// A card whose answers carry no MAC is parked on the hall's reader; afterwards it comes to another phone.
    HallMigrate,
    /// Such a card, parked in a hall, comes to the other phone.
    HallArrive,
    /// A card whose arrival on another phone was given up is returned from the phone that it left.
    ReturnUnclaimed,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Register,
        Self::Open,
        Self::TopUp,
        Self::Cash,
        Self::Lock,
        Self::Unlock,
        Self::Ride,
        Self::Sale,
        Self::Return,
        Self::ReturnParked,
        Self::MigrateOut,
        Self::MigrateIn,
        Self::Renumber,
        Self::Synchronise,
        Self::Notices,
        Self::Batches,
        Self::PayOnline,
        Self::Refund,
        Self::BlackList,
        Self::Lost,
        Self::Found,
        Self::LostFound,
        Self::HallUnlock,
        Self::HallReturn,
        Self::ReturnUnclaimed,
        Self::HallMigrate,
        Self::HallArrive,
    ];

    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Open => "open",
            Self::TopUp => "top-up",
            Self::Cash => "cash",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::Ride => "ride",
            Self::Sale => "sale",
            Self::Return => "return",
            Self::ReturnParked => "return-parked",
            Self::MigrateOut => "migrate-out",
            Self::MigrateIn => "migrate-in",
            Self::Renumber => "renumber",
            Self::Synchronise => "synchronise",
            Self::Notices => "notices",
            Self::Batches => "batches",
            Self::PayOnline => "pay-online",
            Self::Refund => "refund",
            Self::BlackList => "black-list",
            Self::Lost => "lost",
            Self::Found => "found",
            Self::LostFound => "lost-found",
            Self::HallUnlock => "hall-unlock",
            Self::HallReturn => "hall-return",
            Self::HallMigrate => "hall-migrate",
            Self::HallArrive => "hall-arrive",
            Self::ReturnUnclaimed => "return-unclaimed",
        }
    }

    /// The rider with the phone that the flow is on.
    pub(super) const fn person(self) -> usize {
        matches!(self, Self::MigrateIn | Self::HallArrive) as usize
    }

    /// Whether the issuer's domains answer without a MAC in it.
    pub(super) const fn proves_nothing(self) -> bool {
        matches!(self, Self::HallMigrate | Self::HallArrive)
    }

    /// How many phones it needs.
    pub(super) const fn phones(self) -> u8 {
        1 + matches!(self, Self::MigrateIn | Self::ReturnUnclaimed | Self::HallMigrate | Self::HallArrive)
            as u8
    }

    /// Whether the rider can cancel something of it at the next contact.
    pub const fn has_cancel(self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::TopUp
                | Self::Return
                | Self::ReturnParked
                | Self::MigrateOut
                | Self::MigrateIn
                | Self::HallArrive
                | Self::Renumber
                | Self::PayOnline
        )
    }

    /// Whether terminals write down something of it.
    pub(super) const fn taps(self) -> bool {
        matches!(self, Self::Ride | Self::Sale | Self::BlackList)
    }
}

impl Stage {
    /// Brings the world to where the flow begins. Nothing goes wrong.
    pub(super) async fn set_up(&mut self, flow: Flow) -> Result<(), Broke> {
        if flow == Flow::Register {
            return Ok(());
        }
        self.register(0).await?;
        if flow == Flow::Open {
            return Ok(());
        }
        self.open(0).await?;
        if flow == Flow::TopUp {
            return Ok(());
        }
        self.top_up(0, 5_000).await?;
        match flow {
            Flow::Unlock => self.lock(0).await?,
            Flow::Return | Flow::Synchronise => {
                self.top_up(0, 3_100).await?;
                self.buy(0, 1, 700)?;
                self.deliver().await;
                self.buy(0, 2, 300)?;
            }
            Flow::ReturnParked => {
                self.buy(0, 1, 700)?;
                self.deliver().await;
                self.park(0).await?;
            }
            Flow::MigrateIn | Flow::ReturnUnclaimed => {
                self.buy(0, 1, 700)?;
                self.deliver().await;
                self.park(0).await?;
                // The operator hears that the card may be deleted.
                self.wait(60).await;
                self.clean_up(0).await?;
                self.register(1).await?;
            }
            Flow::MigrateOut => {
                self.buy(0, 1, 700)?;
                self.deliver().await;
            }
            Flow::Notices | Flow::Batches => {
                self.buy(0, 1, 700)?;
                self.buy(0, 1, 150)?;
                self.buy(0, 2, 300)?;
                self.ride(0, 1)?;
            }
            Flow::Refund => drop(self.pay(0, 2_900).await?),
            Flow::Found => self.list_as_lost(0, Listing::On).await?,
            Flow::HallUnlock | Flow::HallReturn => {
                self.lock(0).await?;
                self.staff_hall().await?;
            }
            Flow::HallMigrate | Flow::HallArrive => {
                self.buy(0, 1, 700)?;
                self.deliver().await;
                self.staff_hall().await?;
                if flow == Flow::HallArrive {
                    self.leave_at_hall(0).await?;
                }
                self.register(1).await?;
            }
            _ => {}
        }
        if flow == Flow::ReturnUnclaimed {
            self.give_arrival_up(1).await?;
        }
        // What is on its way arrives.
        self.wait(1_200).await;
        Ok(())
    }

    /// The flow, once.
    pub(super) async fn run(&mut self, flow: Flow) -> Result<(), Broke> {
        // The rider opens the wallet for it.
        self.forget_session(flow.person());
        match flow {
            Flow::Register => self.register(0).await,
            Flow::Open => self.open(0).await,
            Flow::TopUp => self.top_up(0, 5_000).await,
            Flow::Cash => self.bring_cash(0, 4_200).await,
            Flow::Lock => self.lock(0).await,
            Flow::Unlock => self.unlock(0).await,
            Flow::Ride => {
                self.ride(0, 1)?;
                self.wait(900).await;
                self.ride(0, 5)?;
                self.deliver().await;
                Ok(())
            }
            Flow::Sale => {
                self.buy(0, 1, 250)?;
                self.buy(0, 2, 125)?;
                self.deliver().await;
                Ok(())
            }
            Flow::Return | Flow::ReturnParked | Flow::ReturnUnclaimed => self.give_back(0).await,
            Flow::MigrateOut => {
                self.park(0).await?;
                self.clean_up(0).await
            }
            Flow::MigrateIn | Flow::HallArrive => self.migrate_in(1).await,
            Flow::Renumber => self.renumber(0).await,
            Flow::Synchronise => {
                self.synchronise_purse(0).await?;
                self.synchronise(0).await
            }
            Flow::Notices => {
                self.deliver().await;
                Ok(())
            }
            Flow::Batches => {
                self.deliver_batches().await;
                Ok(())
            }
            Flow::PayOnline => self.pay_online(0, 1_200).await,
            Flow::Refund => self.cancel_top_up(0).await,
            Flow::BlackList => {
                self.report_lost(0).await?;
                self.wait(60).await;
                self.be_locked_at_gate(0).await?;
                self.deliver().await;
                self.synchronise_purse(0).await
            }
            Flow::LostFound => self.lose_and_find(0).await,
            Flow::HallUnlock => {
                self.report_lost(0).await?;
                self.wait(15).await;
                self.allow_unlock(0).await?;
                self.wait(15).await;
                self.unlock(0).await
            }
            Flow::HallReturn => {
                self.visit_hall(0, HallWork::Return).await?;
                self.wait(60).await;
                self.clean_up(0).await
            }
            Flow::HallMigrate => self.leave_at_hall(0).await,
            Flow::Lost | Flow::Found => {
                let listing = if flow == Flow::Lost { Listing::On } else { Listing::Off };
                self.list_as_lost(0, listing).await?;
                // The operator tells the issuer in its own time, and that one the centre.
                self.wait(60).await;
                Ok(())
            }
        }
    }

    /// The card leaves its phone on the hall's reader, and the operator deletes it when it hears of that.
    async fn leave_at_hall(&mut self, person: usize) -> Result<(), Broke> {
        self.visit_hall(person, HallWork::MigrateOut).await?;
        self.wait(60).await;
        self.clean_up(person).await
    }

    /// Loss and end of the loss, one after the other, each heard by issuer and centre before the next as long as
    /// nothing goes wrong. Whoever has the phone meanwhile opens the wallet, which locks the card; its holder opens
    /// it afterwards, and may use it.
    async fn lose_and_find(&mut self, person: usize) -> Result<(), Broke> {
        self.list_as_lost(person, Listing::On).await?;
        self.wait(15).await;
        self.open_while_lost(person).await?;
        self.list_as_lost(person, Listing::Off).await?;
        self.wait(75).await;
        self.forget_session(person);
        self.synchronise_purse(person).await
    }

    /// The desk records the new number, the card is given it at the next login, and holds it afterwards.
    async fn renumber(&mut self, person: usize) -> Result<(), Broke> {
        self.change_number(person).await?;
        self.forget_session(person);
        self.with_wallet(person, Doing::Synchronise, async |_| Ok(())).await?;
        // The operator tells the issuer in its own time.
        self.wait(60).await;
        self.with_wallet(person, Doing::Synchronise, async |wallet| {
            let works = wallet.interrupted().await?;
            let due = works.iter().find(|work| work.kind == InterruptedKind::Repersonalisation);
            let due = due.ok_or(WalletError::UnexpectedOutcome)?;
            wallet.continue_interrupted(due, &mut Quiet).await.map(drop)
        })
        .await
    }

    async fn cancel_top_up(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Cancel, async |wallet| {
            let works = wallet.interrupted().await?;
            let paid = works.iter().find(|work| work.kind == InterruptedKind::TopUp);
            let paid = paid.ok_or(WalletError::UnexpectedOutcome)?;
            wallet.cancel_interrupted(paid, &mut Quiet).await.map(drop)
        })
        .await
    }
}
