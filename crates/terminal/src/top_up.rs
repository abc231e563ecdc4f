//! A top-up terminal for cash (B-7.4): the rider puts the phone on it and the notes in; the card's issuer, asked
//! online, loads the card through the terminal.
//!
//! The terminal holds no load key. It carries the steps of a conversation to the card and the answers back,
//! and keeps account of its cash: [`Flow`] says what to ask the issuer next, and has no I/O of its own.
//!
//! ```text
//! insert     the card is found, the cash is taken, durably
//! BEGIN      the issuer makes an order of it, and its first steps
//! turns      SELECT, INITIALIZE FOR LOAD | CREDIT FOR LOAD
//! outcome    topped up:        the cash is kept
//!            not topped up:    CANCEL, and the cash goes back when the issuer has cancelled
//!            anything unknown: the cash stays; the card is asked when it comes back, here or elsewhere
//! ```
//!
//! What it never does: give cash back because something took too long.

use core::fmt;

use tsm_api::{
    HexBytes,
    conversation::{ConversationReply, Outcome, OutcomeDetail, OutcomeResult, TurnRequest},
    ids::{ConversationId, OperationId, RequestId},
    problem::Problem,
    sp_tsm::terminal::{CashTopUpRecord, CashTopUpReply, CashTopUpRequest, CashTopUpState},
};
use tsm_epurse::{Amount, DateTime, TerminalNumber, file::ApplicationSerial};
use uuid::Uuid;

use crate::{
    card::PurseCard,
    cash::{CashChange, CashPlace, CashRecord},
    psam::PsamState,
    reader::CardReader,
    state::TerminalState,
    steps::carry,
    store::{Change, Line, StoreError, TerminalStore},
    terminal::{TapError, TerminalClass},
};

/// How often an attempt that did not credit is repeated before the cash goes back.
const ATTEMPTS: u32 = 2;

/// What the issuer is asked next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To begin, or to go on.
    Begin(CashTopUpRequest),
    /// A turn of the conversation.
    Turn(ConversationId, TurnRequest),
    /// To cancel, so that the cash may go back.
    Cancel(CashTopUpRequest),
}

/// What the issuer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Begin`].
    Begun(CashTopUpReply),
    /// To [`Ask::Turn`].
    Turned(ConversationReply),
    /// To [`Ask::Cancel`].
    Cancelled(CashTopUpRecord),
    /// A refusal, with its reason.
    Refused(Problem),
    /// No answer: nobody knows whether the question arrived.
    Nothing,
}

/// How it ends for the rider who stands at the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CashOutcome {
    /// The money is on the card.
    ToppedUp {
        /// How much was added.
        amount: Amount,
        /// What is on the card, if the issuer said so.
        balance: Option<Amount>,
        /// Cash that was taken for the card before and is not on it.
        waiting: Vec<CashTopUpRecord>,
    },
    /// Nothing is on the card, and the cash goes back.
    GivenBack {
        /// How much.
        amount: Amount,
        /// Why.
        problem: Option<Problem>,
    },
    /// Nobody knows yet. The cash stays; the rider keeps the number and holds the card to a terminal again.
    Unknown {
        /// The number.
        operation: OperationId,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Ask the issuer, and bring its answer to [`TopUpTerminal::answered`].
    Ask(Ask),
    /// It is over.
    Done(CashOutcome),
}

/// Why a top-up cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TopUpError {
    /// The card cannot be served; no cash was taken.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The store could not be written: no cash is taken, and none is given back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no cash with this number.
    #[error("the terminal holds no cash under this number")]
    NoSuchCash,
    /// The card in the field is not the one that the cash is for.
    #[error("the cash is for another card")]
    AnotherCard,
}

/// One top-up under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    operation: OperationId,
    card: ApplicationSerial,
    amount: Amount,
    /// The terminal that took the cash: this one, or another whose cash goes on the card here.
    taken_by: TerminalNumber,
    /// How many attempts were begun, this one included.
    attempt: u32,
    tries_here: u32,
    waiting: Vec<CashTopUpRecord>,
    cancelling: Option<Option<Problem>>,
}

/// A top-up terminal.
#[derive(Debug)]
pub struct TopUpTerminal<S> {
    class: TerminalClass,
    number: TerminalNumber,
    state: TerminalState,
    store: S,
    /// After a failed write the store may have more than the state: only starting again tells.
    broken: bool,
}

impl<S: TerminalStore> TopUpTerminal<S> {
    /// A terminal that goes on where `state` left off.
    pub const fn new(class: TerminalClass, number: TerminalNumber, state: TerminalState, store: S) -> Self {
        Self { class, number, state, store, broken: false }
    }

    /// The terminal's class.
    pub const fn class(&self) -> TerminalClass {
        self.class
    }

    /// The terminal's number.
    pub const fn number(&self) -> TerminalNumber {
        self.number
    }

    /// What the terminal keeps: its cash.
    pub const fn state(&self) -> &TerminalState {
        &self.state
    }

    /// The rider has put a phone on the terminal and `amount` into it. `operation` is a number never used before.
    pub fn insert(
        &mut self,
        reader: &mut impl CardReader,
        amount: Amount,
        operation: Uuid,
        at: DateTime,
    ) -> Result<(Flow, Next), TopUpError> {
        let card = PurseCard::find(reader)?;
        card.check_validity(at.date).map_err(TapError::from)?;
        let record = CashRecord {
            operation,
            card: card.serial(),
            amount_fen: amount.fen(),
            at,
            attempts: 0,
            place: CashPlace::Held,
        };
        self.commit(CashChange::Taken(record.clone()))?;
        self.begin(&record)
    }

    /// The rider's card is back: goes on with cash that is held here.
    pub fn again(
        &mut self,
        reader: &mut impl CardReader,
        operation: Uuid,
    ) -> Result<(Flow, Next), TopUpError> {
        let record = self.state.cash().find(operation).cloned().ok_or(TopUpError::NoSuchCash)?;
        if PurseCard::find(reader)?.serial() != record.card {
            return Err(TopUpError::AnotherCard);
        }
        self.begin(&record)
    }

    /// Goes on with cash that another terminal took: only its number and amount are needed, as the issuer or
    /// the rider's slip has them.
    pub fn elsewhere(
        &mut self,
        reader: &mut impl CardReader,
        taken: &CashTopUpRecord,
        attempt: u32,
    ) -> Result<(Flow, Next), TopUpError> {
        let card = PurseCard::find(reader)?.serial();
        let taken_by: Option<[u8; 6]> = taken.terminal.as_bytes().try_into().ok();
        if taken.card.as_bytes() != card.0 {
            return Err(TopUpError::AnotherCard);
        }
        let flow = Flow {
            operation: taken.operation,
            card,
            amount: Amount::from_fen(taken.amount_fen),
            taken_by: TerminalNumber::new(taken_by.ok_or(TopUpError::NoSuchCash)?),
            attempt,
            tries_here: 1,
            waiting: Vec::new(),
            cancelling: None,
        };
        let ask = Ask::Begin(flow.request());
        Ok((flow, Next::Ask(ask)))
    }

    /// The issuer's word about cash that is held, asked for without a card: it is kept when the card has the
    /// money. Cancelled cash stays until the rider fetches it.
    pub fn learn(&mut self, record: &CashTopUpRecord) -> Result<(), StoreError> {
        if record.state == CashTopUpState::Credited {
            self.move_cash(record.operation, CashPlace::Kept)?;
        }
        Ok(())
    }

    /// Takes the issuer's answer to what it was asked, with the card still in the field.
    pub fn answered(
        &mut self,
        reader: &mut impl CardReader,
        flow: &mut Flow,
        answer: Answer,
    ) -> Result<Next, StoreError> {
        match answer {
            Answer::Begun(CashTopUpReply { record, conversation, waiting }) => {
                flow.waiting = waiting;
                match conversation {
                    Some(reply) => self.converse(reader, flow, reply),
                    None => self.stands(flow, &record),
                }
            }
            Answer::Turned(reply) => self.converse(reader, flow, reply),
            Answer::Cancelled(record) => self.stands(flow, &record),
            // Nothing is cancelled while the outcome is unknown; a person helps with anything else.
            Answer::Refused(_) if flow.cancelling.is_some() => Ok(flow.unknown()),
            Answer::Refused(problem) => Ok(flow.cancel(Some(problem))),
            Answer::Nothing => Ok(flow.unknown()),
        }
    }

    fn begin(&mut self, record: &CashRecord) -> Result<(Flow, Next), TopUpError> {
        self.commit(CashChange::Attempted { operation: record.operation })?;
        let flow = Flow {
            operation: OperationId(record.operation),
            card: record.card,
            amount: Amount::from_fen(record.amount_fen),
            taken_by: self.number,
            attempt: record.attempts + 1,
            tries_here: 1,
            waiting: Vec::new(),
            cancelling: None,
        };
        let ask = Ask::Begin(flow.request());
        Ok((flow, Next::Ask(ask)))
    }

    /// How the operation stands without a conversation.
    fn stands(&mut self, flow: &Flow, record: &CashTopUpRecord) -> Result<Next, StoreError> {
        match record.state {
            CashTopUpState::Credited => self.topped_up(flow, None),
            CashTopUpState::Cancelled => {
                let mine = self.move_cash(flow.operation, CashPlace::GivenBack)?;
                let problem = flow.cancelling.clone().flatten();
                // Cash that another terminal took is given back there.
                let back = Next::Done(CashOutcome::GivenBack { amount: flow.amount, problem });
                Ok(if mine { back } else { flow.unknown() })
            }
            CashTopUpState::Waiting | CashTopUpState::InFlight | CashTopUpState::Suspicious => {
                Ok(flow.unknown())
            }
        }
    }

    fn converse(
        &mut self,
        reader: &mut impl CardReader,
        flow: &mut Flow,
        reply: ConversationReply,
    ) -> Result<Next, StoreError> {
        match reply {
            ConversationReply::Steps { conversation, turn, steps, .. } => {
                let (responses, fault) = carry(reader, &steps);
                Ok(Next::Ask(Ask::Turn(conversation, TurnRequest { turn, responses, fault, ticket: None })))
            }
            ConversationReply::Queued { conversation, turn, .. } => {
                Ok(Next::Ask(Ask::Turn(conversation, TurnRequest { turn, ..TurnRequest::default() })))
            }
            ConversationReply::Outcome { outcome, .. } => self.ended(flow, outcome),
            ConversationReply::Restart { .. } | ConversationReply::Handover { .. } => {
                self.try_again(flow, None)
            }
        }
    }

    fn ended(&mut self, flow: &mut Flow, outcome: Outcome) -> Result<Next, StoreError> {
        match (outcome.result, outcome.detail) {
            (OutcomeResult::Done, OutcomeDetail::ToppedUp { balance_fen, .. }) => {
                self.topped_up(flow, Some(Amount::from_fen(balance_fen)))
            }
            (OutcomeResult::Done, OutcomeDetail::NotToppedUp { .. }) => self.try_again(flow, None),
            (OutcomeResult::Refused | OutcomeResult::Failed | OutcomeResult::Cancelled, _) => {
                // The issuer says whether anything may be on the card: it cancels, or it does not.
                Ok(flow.cancel(outcome.problem))
            }
            (OutcomeResult::Done | OutcomeResult::Unknown, _) => Ok(flow.unknown()),
        }
    }

    /// Another attempt while the card is there, or the cash goes back.
    fn try_again(&mut self, flow: &mut Flow, problem: Option<Problem>) -> Result<Next, StoreError> {
        if flow.tries_here >= ATTEMPTS {
            return Ok(flow.cancel(problem));
        }
        if self.state.cash().find(flow.operation.0).is_some() {
            self.commit(CashChange::Attempted { operation: flow.operation.0 })?;
        }
        flow.attempt += 1;
        flow.tries_here += 1;
        Ok(Next::Ask(Ask::Begin(flow.request())))
    }

    fn topped_up(&mut self, flow: &Flow, balance: Option<Amount>) -> Result<Next, StoreError> {
        self.move_cash(flow.operation, CashPlace::Kept)?;
        let waiting = flow.waiting.clone();
        Ok(Next::Done(CashOutcome::ToppedUp { amount: flow.amount, balance, waiting }))
    }

    /// Moves cash that is held here; says whether there was any.
    fn move_cash(&mut self, operation: OperationId, place: CashPlace) -> Result<bool, StoreError> {
        if self.state.cash().find(operation.0).is_none() {
            return Ok(false);
        }
        self.commit(CashChange::Moved { operation: operation.0, place })?;
        Ok(true)
    }

    fn commit(&mut self, change: CashChange) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError("an earlier write failed; start the terminal again".into()));
        }
        let line = Line { psam: PsamState::default(), changes: vec![Change::Cash(change)] };
        let mut written = self.store.append(&line);
        if written.is_ok() {
            self.state.apply(&line);
            if self.store.wants_compaction() {
                written = self.store.compact(&self.state);
            }
        }
        self.broken = written.is_err();
        written
    }
}

impl Flow {
    /// The operation's number, for the rider's slip.
    pub const fn operation(&self) -> OperationId {
        self.operation
    }

    fn request(&self) -> CashTopUpRequest {
        // Each attempt is a request of its own, and the same one when it is repeated.
        let request = self.operation.0.as_u128().wrapping_add(self.attempt.into());
        CashTopUpRequest {
            operation: self.operation,
            request: RequestId(Uuid::from_u128(request)),
            terminal: HexBytes(self.taken_by.to_bytes().to_vec()),
            card: HexBytes(self.card.0.to_vec()),
            amount_fen: self.amount.fen(),
        }
    }

    fn cancel(&mut self, problem: Option<Problem>) -> Next {
        self.cancelling = Some(problem);
        Next::Ask(Ask::Cancel(self.request()))
    }

    const fn unknown(&self) -> Next {
        Next::Done(CashOutcome::Unknown { operation: self.operation })
    }
}

impl fmt::Display for CashOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToppedUp { amount, balance: Some(balance), .. } => {
                write!(f, "{amount} yuan were added; the card holds {balance} yuan")
            }
            Self::ToppedUp { amount, balance: None, .. } => write!(f, "{amount} yuan were added"),
            Self::GivenBack { amount, problem } => {
                write!(f, "nothing was added; take your {amount} yuan")?;
                match problem {
                    Some(problem) => write!(f, " ({})", problem.code.message_en()),
                    None => Ok(()),
                }
            }
            Self::Unknown { operation } => {
                write!(
                    f,
                    "it is not known whether the card was topped up; keep the number {operation} and hold the card to a terminal again"
                )
            }
        }
    }
}

impl CashOutcome {
    /// What the rider is told in Chinese.
    pub fn chinese(&self) -> String {
        match self {
            Self::ToppedUp { amount, balance: Some(balance), .. } => {
                format!("已充值 {amount} 元，卡内余额 {balance} 元")
            }
            Self::ToppedUp { amount, balance: None, .. } => format!("已充值 {amount} 元"),
            Self::GivenBack { amount, problem } => {
                let why = problem.as_ref().map_or("", |problem| problem.code.message_zh());
                format!("未充值，请取回 {amount} 元。{why}")
            }
            Self::Unknown { operation } => {
                format!("充值结果尚未确定，请保留编号 {operation}，并再次贴卡")
            }
        }
    }
}

/// The issuer as a terminal reaches it, for terminals that may wait for each answer.
pub trait TopUpHost {
    /// Asks; no answer is an answer too.
    fn ask(&mut self, ask: Ask) -> Answer;
}

/// How often a question without an answer is asked again.
const REPEATS: usize = 2;

/// Holds a flow to its end.
pub fn run<S: TerminalStore>(
    terminal: &mut TopUpTerminal<S>,
    reader: &mut impl CardReader,
    host: &mut impl TopUpHost,
    (mut flow, mut next): (Flow, Next),
) -> Result<CashOutcome, StoreError> {
    loop {
        let ask = match next {
            Next::Done(outcome) => return Ok(outcome),
            Next::Ask(ask) => ask,
        };
        let mut answer = host.ask(ask.clone());
        for _ in 0..REPEATS {
            // Every question may be repeated: the issuer takes each once.
            if answer != Answer::Nothing {
                break;
            }
            answer = host.ask(ask.clone());
        }
        next = terminal.answered(reader, &mut flow, answer)?;
    }
}
