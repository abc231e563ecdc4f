//! A difference and what is done about it: two people, one to propose and another to approve.

use serde::{Deserialize, Serialize};

use super::{Arrivals, Cause, Finding};
use crate::amount::Fen;
use crate::id::{
    AsideId, CardNumber, DifferenceId, IncidentId, InstitutionId, OperatorId, OrderId, TerminalNumber,
};
use crate::money::ledger::TransferCode;
use crate::money::settlement::BusinessDay;
use crate::money::transaction::{TransactionKey, TransactionType};

/// A person of an institution.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Clerk {
    /// The institution whose signed message carries the person's name.
    pub institution: InstitutionId,
    /// The person.
    pub person: OperatorId,
}

/// What is done about a difference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Book what the other side says. A payment that is unknown to us needs the card that it was for.
    Book {
        /// The card, where the difference does not name it.
        card: Option<CardNumber>,
    },
    /// Owe it to the rider.
    Refund {
        /// The card, where the difference does not name it.
        card: Option<CardNumber>,
    },
    /// Write it off.
    WriteOff,
    /// Nothing, for the reason that the note gives.
    Ignore,
    /// Freeze the card for value.
    FreezeCard,
    /// Let the frozen card move value again: it was examined.
    ReleaseCard,
    /// Reconcile the day without the statement that is missing.
    GoOnWithout,
}

/// Where the money of an order is, which decides how it is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoneyIs {
    /// Not on a card.
    InFlight,
    /// A card has it, or had.
    OnCard,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who.
    pub by: Clerk,
    /// What.
    pub action: Action,
    /// Why.
    pub note: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// What explained a difference by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// A later statement has it.
    LaterStatement,
    /// It was booked on a later day.
    LaterEntry,
    /// The payment's own report came.
    PaymentReported,
    /// The order was credited or cancelled.
    Settled,
    /// What was missing came, or what was kept aside was taken after all.
    Arrived,
    /// What it is about has come to its end, and the books account for it.
    Ended,
}

/// What a difference about reports stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A row that was kept aside, and the incident that was opened for it.
    Aside {
        /// The row.
        row: AsideId,
        /// The incident.
        incident: IncidentId,
    },
    /// Something that somebody has to look at.
    Incident(IncidentId),
    /// Numbers that are missing since then.
    Missing {
        /// Whose numbers.
        of: Numbered,
        /// Since when.
        since: jiff::Timestamp,
    },
}

/// Whose numbers are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbered {
    /// The offline transactions of a card.
    Card(CardNumber),
    /// The records of a terminal.
    Terminal(TerminalNumber),
    /// The batches of a terminal.
    Batches(TerminalNumber),
}

/// Where a difference stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceState {
    /// Not yet one: it is until this day is over.
    Waiting {
        /// The day.
        until: BusinessDay,
    },
    /// Somebody has to look at it.
    Open,
    /// One person has proposed what to do.
    Proposed(Proposal),
    /// Another has approved it, and it was done.
    Resolved {
        /// What was done.
        proposal: Proposal,
        /// Who approved it.
        approved_by: Clerk,
        /// When.
        at: jiff::Timestamp,
    },
    /// A later day explained it.
    Explained {
        /// That day.
        on: BusinessDay,
        /// How.
        by: Explanation,
    },
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its identity, which follows from day, cause and subject.
    pub id: DifferenceId,
    /// The day whose reconciliation found it.
    pub day: BusinessDay,
    /// Its cause.
    pub cause: Cause,
    /// The order or purchase.
    pub reference: Option<OrderId>,
    /// The card.
    pub card: Option<CardNumber>,
    /// The card's transaction.
    pub transaction: Option<TransactionKey>,
    /// What our books say.
    pub ours: Option<Fen>,
    /// What the other side says.
    pub theirs: Option<Fen>,
    /// What else is known, in words.
    pub text: String,
    /// The report that it stands on, for one that no comparison of books found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// When it was found.
    pub found_at: jiff::Timestamp,
    /// Where it stands.
    pub state: DifferenceState,
}

/// Why a proposal or approval is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DifferenceRefusal {
    /// It is settled.
    #[error("the difference is settled already")]
    Settled,
    /// There is nothing to approve.
    #[error("nobody has proposed what to do about the difference")]
    NothingProposed,
    /// The proposer approves.
    #[error("the person who proposed this may not approve it")]
    FourEyes,
    /// The action does not fit.
    #[error(transparent)]
    Action(#[from] ActionRefusal),
}

/// Why an action does not fit a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActionRefusal {
    /// Nothing of this kind can be done about the cause.
    #[error("this cannot be done about a difference of this kind")]
    DoesNotFit,
    /// A card has to be named.
    #[error("the card that it is about must be named")]
    CardMissing,
    /// Another card was named.
    #[error("the difference is about another card")]
    AnotherCard,
}

impl DifferenceState {
    /// The name, as stores and the wire write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Open => "open",
            Self::Proposed(_) => "proposed",
            Self::Resolved { .. } => "resolved",
            Self::Explained { .. } => "explained",
        }
    }

    const fn is_settled(&self) -> bool {
        match self {
            Self::Resolved { .. } | Self::Explained { .. } => true,
            Self::Waiting { .. } | Self::Open | Self::Proposed(_) => false,
        }
    }
}

impl Difference {
    /// Proposes what to do. A later proposal takes the place of an earlier one.
    pub fn propose(self, proposal: Proposal) -> Result<Self, DifferenceRefusal> {
        if self.state.is_settled() {
            return Err(DifferenceRefusal::Settled);
        }
        self.check_action(&proposal.action)?;
        Ok(Self { state: DifferenceState::Proposed(proposal), ..self })
    }

    /// Approves what another person proposed. The caller books [`Self::entries`] in the same step.
    pub fn approve(self, by: Clerk, at: jiff::Timestamp) -> Result<Self, DifferenceRefusal> {
        match self.state {
            DifferenceState::Proposed(proposal) if proposal.by == by => {
                drop(proposal);
                Err(DifferenceRefusal::FourEyes)
            }
            DifferenceState::Proposed(proposal) => {
                let state = DifferenceState::Resolved { proposal, approved_by: by, at };
                Ok(Self { state, ..self })
            }
            DifferenceState::Waiting { .. } | DifferenceState::Open => {
                Err(DifferenceRefusal::NothingProposed)
            }
            DifferenceState::Resolved { .. } | DifferenceState::Explained { .. } => {
                Err(DifferenceRefusal::Settled)
            }
        }
    }

    /// Sends a proposal back.
    pub fn reject(self) -> Result<Self, DifferenceRefusal> {
        match self.state {
            DifferenceState::Proposed(_) => Ok(Self { state: DifferenceState::Open, ..self }),
            DifferenceState::Waiting { .. } | DifferenceState::Open => {
                Err(DifferenceRefusal::NothingProposed)
            }
            DifferenceState::Resolved { .. } | DifferenceState::Explained { .. } => {
                Err(DifferenceRefusal::Settled)
            }
        }
    }

    /// The card that an action is about: the difference's own, or the one that the action names.
    pub fn card_for(&self, action: &Action) -> Result<Option<CardNumber>, ActionRefusal> {
        let named = match action {
            Action::Book { card } | Action::Refund { card } => *card,
            Action::WriteOff
            | Action::Ignore
            | Action::FreezeCard
            | Action::ReleaseCard
            | Action::GoOnWithout => None,
        };
        match (self.card, named) {
            (Some(own), Some(named)) if own != named => Err(ActionRefusal::AnotherCard),
            (own, named) => Ok(own.or(named)),
        }
    }

    /// Whether an action fits, wherever the money is.
    pub fn check_action(&self, action: &Action) -> Result<(), ActionRefusal> {
        self.entries(action, MoneyIs::OnCard).map(drop)
    }

    /// The transfers that an action makes, in order, with the card that they are about.
    pub fn entries(
        &self,
        action: &Action,
        money: MoneyIs,
    ) -> Result<Vec<(TransferCode, Fen)>, ActionRefusal> {
        use TransferCode as T;
        let card = self.card_for(action)?;
        let surplus = || {
            let ours = self.ours.unwrap_or(Fen::ZERO);
            self.theirs.and_then(|theirs| theirs.checked_sub(ours)).filter(|fen| !fen.is_zero())
        };
        let shortage = || {
            let theirs = self.theirs.unwrap_or(Fen::ZERO);
            self.ours.and_then(|ours| ours.checked_sub(theirs)).filter(|fen| !fen.is_zero())
        };
        let does_not_fit = ActionRefusal::DoesNotFit;
        let is_load = self.transaction.is_some_and(|key| key.kind == TransactionType::Load);
        let entries = match (self.cause, action) {
            // Nothing but this lets the day go on: an overdue statement stays overdue when it is looked away from.
            (Cause::StatementOverdue, Action::GoOnWithout) => return Ok(Vec::new()),
            (Cause::StatementOverdue, _) | (_, Action::GoOnWithout) => return Err(does_not_fit),
            (_, Action::Ignore) => return Ok(Vec::new()),
            (_, Action::FreezeCard | Action::ReleaseCard) => {
                return if card.is_some() { Ok(Vec::new()) } else { Err(ActionRefusal::CardMissing) };
            }
            (Cause::PaidUnknownToUs | Cause::AmountDiffers | Cause::PaidTwice, Action::Book { .. }) => {
                vec![(T::PaymentConfirmed, surplus().ok_or(does_not_fit)?)]
            }
            (Cause::PaidUnknownToUs | Cause::AmountDiffers | Cause::PaidTwice, Action::Refund { .. }) => {
                let amount = surplus().ok_or(does_not_fit)?;
                vec![(T::PaymentConfirmed, amount), (T::TopUpCancelled, amount)]
            }
            (
                Cause::NotInStatement
                | Cause::StatementMissing
                | Cause::CreditWithoutPayment
                | Cause::AmountDiffers,
                Action::WriteOff,
            ) => {
                let code = match money {
                    MoneyIs::InFlight => T::PaymentReversed,
                    MoneyIs::OnCard => T::PaymentLost,
                };
                vec![(code, shortage().ok_or(does_not_fit)?)]
            }
            (Cause::RefundMissing | Cause::RefundAmountDiffers, Action::Refund { .. }) => {
                vec![(T::RefundReversed, shortage().ok_or(does_not_fit)?)]
            }
            (Cause::RefundExtra | Cause::RefundAmountDiffers, Action::Book { .. }) => {
                vec![(T::RefundPaid, surplus().ok_or(does_not_fit)?)]
            }
            (Cause::RefundExtra | Cause::RefundAmountDiffers, Action::WriteOff) => {
                vec![(T::RefundLost, surplus().ok_or(does_not_fit)?)]
            }
            (Cause::TransactionWithoutEntry, Action::Book { .. }) if !is_load => {
                vec![(T::Spent, surplus().ok_or(does_not_fit)?)]
            }
            // The row that was kept aside is taken, and makes its own entry.
            (Cause::WrongTac | Cause::Unproven, Action::Book { .. })
                if matches!(self.evidence, Some(Evidence::Aside { .. })) =>
            {
                return Ok(Vec::new());
            }
            // How much it is, the card's books say: all that is left on it.
            (Cause::CounterGap, Action::WriteOff)
                if matches!(self.evidence, Some(Evidence::Missing { of: Numbered::Card(_), .. })) =>
            {
                return Ok(Vec::new());
            }
            (_, Action::Book { .. } | Action::Refund { .. } | Action::WriteOff) => return Err(does_not_fit),
        };
        let of_a_card = |code: TransferCode| {
            let (from, to) = code.accounts();
            from.is_of_a_card() || to.is_of_a_card()
        };
        if card.is_none() && entries.iter().any(|(code, _)| of_a_card(*code)) {
            return Err(ActionRefusal::CardMissing);
        }
        Ok(entries)
    }

    /// The difference, explained by a later day; settled ones stay as they are.
    pub fn explained(self, on: BusinessDay, by: Explanation) -> Self {
        if self.state.is_settled() {
            return self;
        }
        Self { state: DifferenceState::Explained { on, by }, ..self }
    }

    /// What of this difference, found on an earlier day, a later day's `arrivals` explain.
    pub fn explanation(&self, arrivals: &Arrivals) -> Option<Explanation> {
        if self.state.is_settled() {
            return None;
        }
        let meets = |arrived: Option<Fen>, waited: Option<Fen>| arrived.is_some() && arrived == waited;
        match self.cause {
            Cause::NotInStatement | Cause::StatementMissing | Cause::CreditWithoutPayment
                if meets(arrivals.paid_in_statement, self.ours) =>
            {
                Some(Explanation::LaterStatement)
            }
            Cause::CreditWithoutPayment if arrivals.reported => Some(Explanation::PaymentReported),
            Cause::PaidUnknownToUs if meets(arrivals.paid_in_ledger, self.theirs) => {
                Some(Explanation::LaterEntry)
            }
            Cause::RefundMissing if meets(arrivals.refund_in_statement, self.ours) => {
                Some(Explanation::LaterStatement)
            }
            Cause::RefundExtra if meets(arrivals.refund_in_ledger, self.theirs) => {
                Some(Explanation::LaterEntry)
            }
            Cause::InFlightTooLong if arrivals.settled => Some(Explanation::Settled),
            _ => None,
        }
    }

    /// Whether this earlier difference, explained or resolved by a booking, accounts for a later day's finding.
    pub fn accounts_for(&self, finding: &Finding) -> bool {
        let booked = match &self.state {
            DifferenceState::Resolved { proposal, .. } => {
                matches!(proposal.action, Action::Book { .. } | Action::Refund { .. })
            }
            DifferenceState::Waiting { .. }
            | DifferenceState::Open
            | DifferenceState::Proposed(_)
            | DifferenceState::Explained { .. } => true,
        };
        let surplus = self.theirs.and_then(|theirs| theirs.checked_sub(self.ours.unwrap_or(Fen::ZERO)));
        match (self.cause, finding.cause) {
            (
                Cause::PaidUnknownToUs | Cause::AmountDiffers | Cause::PaidTwice,
                Cause::NotInStatement | Cause::StatementMissing | Cause::CreditWithoutPayment,
            ) => booked && finding.ours == surplus,
            (
                Cause::NotInStatement | Cause::StatementMissing | Cause::CreditWithoutPayment,
                Cause::PaidUnknownToUs,
            ) => !self.was_written_off() && finding.theirs == self.ours,
            (Cause::RefundMissing, Cause::RefundExtra) => {
                !self.was_written_off() && finding.theirs == self.ours
            }
            (Cause::RefundExtra | Cause::RefundAmountDiffers, Cause::RefundMissing) => {
                booked && finding.ours == surplus
            }
            // A purchase that two people booked has its transaction on the earlier day.
            (Cause::TransactionWithoutEntry, Cause::EntryWithoutTransaction) => {
                booked && finding.ours == self.theirs
            }
            _ => false,
        }
    }

    /// Whether this difference of a day without its statement, which was settled since, stands for what the same
    /// day shows with the statement: the money is lost as decided, or came with another day's statement.
    pub fn stands_for(&self, finding: &Finding) -> bool {
        let is_dealt_with = match &self.state {
            DifferenceState::Explained { .. } => true,
            DifferenceState::Resolved { .. } => self.was_written_off(),
            DifferenceState::Waiting { .. } | DifferenceState::Open | DifferenceState::Proposed(_) => false,
        };
        let is_same = (self.cause, finding.cause) == (Cause::StatementMissing, Cause::NotInStatement);
        is_dealt_with && is_same && finding.ours == self.ours
    }

    /// What the day shows when two people took money for lost that its statement, which came later, has: it is
    /// there, and our books do not know it any more.
    pub fn reappears(&self, arrivals: &Arrivals) -> Option<Finding> {
        let (cause, theirs) = match self.cause {
            Cause::NotInStatement | Cause::StatementMissing | Cause::CreditWithoutPayment => {
                (Cause::PaidUnknownToUs, arrivals.paid_in_statement)
            }
            Cause::RefundMissing => (Cause::RefundExtra, arrivals.refund_in_statement),
            _ => return None,
        };
        let theirs = theirs.filter(|_| self.was_written_off());
        theirs.map(|theirs| Finding {
            cause,
            card: self.card,
            transaction: None,
            ours: None,
            theirs: Some(theirs),
        })
    }

    fn was_written_off(&self) -> bool {
        match &self.state {
            DifferenceState::Resolved { proposal, .. } => match proposal.action {
                Action::WriteOff | Action::Refund { .. } => true,
                Action::Book { .. }
                | Action::Ignore
                | Action::FreezeCard
                | Action::ReleaseCard
                | Action::GoOnWithout => false,
            },
            DifferenceState::Waiting { .. }
            | DifferenceState::Open
            | DifferenceState::Proposed(_)
            | DifferenceState::Explained { .. } => false,
        }
    }
}
