//! What must never be, and was: the findings of the city's checks.

use std::fmt;

/// What must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A card took in money that nobody paid, or a second time.
    CreditWithoutPayment {
        /// How much.
        amount: u32,
    },
    /// A payment was given back and is on the card as well.
    RefundedAndCredited {
        /// How much.
        amount: u32,
    },
    /// A card's counter went back or stood still over a transaction.
    CounterWentBack {
        /// Online before and after, offline before and after.
        counters: [u16; 4],
    },
    /// A card was shown a terminal number for a load a second time.
    ReusedTerminalNumber {
        /// The number, in hexadecimal.
        number: String,
    },
    /// MAC2 reached a card, and the issuer had stored no intention.
    CreditWithoutIntention {
        /// The terminal number of the attempt, in hexadecimal.
        number: String,
    },
    /// Two secure elements can spend the same card's money.
    TwoSpendableCopies {
        /// The card's last digits.
        card: String,
    },
    /// A purse went from its element with money in it that nobody keeps.
    MoneyGone {
        /// How much.
        held: u32,
        /// What the centre says of the card.
        account: String,
    },
    /// Nothing goes wrong any more, and a rider cannot bring card and servers to agree.
    Unsettled {
        /// Why.
        why: String,
    },
    /// A copy of a card that was left behind took part in a transaction.
    StaleCopyMoved {
        /// The card's last digits.
        card: String,
    },
    /// The issuer keeps as proven what the card never held.
    BelievedBalance {
        /// What it keeps: balance and online counter.
        believed: (u64, u16),
    },
    /// Money appeared on a card or left it outside any transaction.
    MoneyOutOfNothing {
        /// What it held before and after.
        balances: (u32, u32),
    },
    /// The centre refuses for good what an honest card paid at an honest terminal.
    HonestRefused {
        /// How.
        verdict: String,
    },
    /// A debit that no terminal knows of.
    DebitWithoutRecord {
        /// How much.
        amount: u32,
    },
    /// The centre has taken over from a card what it did not hold, or a second time from its copy.
    ParkedTwice {
        /// What it has taken over in all, and what the card and its copy held.
        sums: (i128, Vec<u32>),
    },
    /// A terminal has forgotten what a card paid, although it asked that card.
    DebitForgotten {
        /// How much.
        amount: u32,
    },
    /// The books do not add up.
    Books {
        /// Paid in, and found.
        sums: (i128, i128),
    },
    /// The books add up and are not true.
    BooksUntrue {
        /// What is compared, what the books say, and what is so.
        term: (&'static str, i128, i128),
    },
    /// The operator's records and the card's registry differ.
    Inventory {
        /// How.
        difference: String,
    },
    /// The application's state in table S.1 is not that of the card.
    State {
        /// How.
        state: String,
    },
    /// A client list shows the application where table S.2 does not, or does not show it where it does.
    Lists {
        /// How.
        difference: String,
    },
    /// An operator's settlements are not what was spent at its terminals.
    Settlement {
        /// The operator.
        operator: String,
        /// Settled, and spent.
        sums: (i128, i128),
    },
    /// A day that is long over is not settled or not reconciled.
    DayNotDone {
        /// The day.
        day: String,
    },
    /// The reconciliation lists a difference whose cause is not so.
    UnexplainedDifference {
        /// What it lists.
        what: String,
    },
    /// The centre took what its terminal did not sign, or did not list what it refused.
    Altered {
        /// What.
        what: String,
    },
    /// A gate charged another fare than the one in force.
    WrongFare {
        /// How.
        what: String,
    },
    /// The servers, or the card, know the rider by another number than he has.
    Holder {
        /// Which.
        what: String,
    },
    /// The centre took what neither a card nor its copy paid, or one of two that cannot both be.
    CopyPaid {
        /// What.
        what: String,
    },
    /// A card and its copy contradict each other, and nobody is told, or the card goes on.
    CopyUnnoticed {
        /// What the centre did not notice.
        what: String,
    },
    /// A card cannot prove any more what it paid, and the centre does not say that it is missing.
    MissingUnlisted {
        /// Which purchase.
        what: String,
    },
    /// A journal's chain is broken.
    Journal {
        /// Which one and where.
        place: String,
    },
    /// A step that moved money is in no journal.
    Unjournalled {
        /// What.
        what: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreditWithoutPayment { amount } => {
                write!(f, "the card took in {amount} fen, for which there is no payment that waits for it")
            }
            Self::RefundedAndCredited { amount } => {
                write!(f, "{amount} fen were given back to the payer and are on the card as well")
            }
            Self::CounterWentBack { counters: [online, later_online, offline, later_offline] } => write!(
                f,
                "the card's counters went from {online} online and {offline} offline to {later_online} and \
                 {later_offline}"
            ),
            Self::ReusedTerminalNumber { number } => {
                write!(f, "the terminal number {number} was used for a second load of the card")
            }
            Self::CreditWithoutIntention { number } => {
                write!(f, "MAC2 of terminal number {number} reached the card, and no intention was stored")
            }
            Self::TwoSpendableCopies { card } => {
                write!(f, "two secure elements can spend the money of the card that ends in {card}")
            }
            Self::MoneyGone { held, account } => {
                write!(f, "a purse is gone with {held} fen in it, and the centre keeps {account}")
            }
            Self::Unsettled { why } => write!(f, "nothing goes wrong, and the rider cannot settle: {why}"),
            Self::StaleCopyMoved { card } => {
                write!(f, "a copy that was left behind of the card that ends in {card} moved money")
            }
            Self::BelievedBalance { believed: (balance, counter) } => write!(
                f,
                "the issuer keeps as proven that the card held {balance} fen at counter {counter}, which it never did"
            ),
            Self::MoneyOutOfNothing { balances: (before, after) } => {
                write!(f, "the card's balance went from {before} to {after} fen outside any transaction")
            }
            Self::HonestRefused { verdict } => {
                write!(f, "the centre refuses what the card paid: {verdict}")
            }
            Self::DebitWithoutRecord { amount } => {
                write!(f, "the card paid {amount} fen, and no terminal keeps a record of it")
            }
            Self::ParkedTwice { sums: (taken_over, held) } => {
                write!(f, "the centre has taken over {taken_over} fen of a card that holds {held:?}")
            }
            Self::DebitForgotten { amount } => {
                write!(f, "the card paid {amount} fen, and the terminal has asked it and forgotten that")
            }
            Self::Books { sums: (paid, found) } => {
                write!(f, "the centre's books say that {paid} fen were paid in and find {found}")
            }
            Self::BooksUntrue { term: (what, books, truth) } => {
                write!(f, "the centre's books say {what} {books} fen; in truth it is {truth}")
            }
            Self::Inventory { difference } => {
                write!(f, "the operator's records and the card differ: {difference}")
            }
            Self::State { state } => write!(f, "the recorded state is not the card's: {state}"),
            Self::Lists { difference } => write!(f, "the lists are not those of table S.2: {difference}"),
            Self::Settlement { operator, sums: (settled, spent) } => write!(
                f,
                "{settled} fen are settled for {operator}, and {spent} fen were spent at its terminals"
            ),
            Self::DayNotDone { day } => write!(f, "{day} is long over and not settled and reconciled"),
            Self::UnexplainedDifference { what } => {
                write!(f, "the reconciliation lists a difference that is none: {what}")
            }
            Self::Altered { what } => write!(f, "what was altered on its way to the centre: {what}"),
            Self::WrongFare { what } => write!(f, "a gate charges a wrong fare: {what}"),
            Self::Holder { what } => write!(f, "somebody knows the rider by a wrong number: {what}"),
            Self::CopyPaid { what } => write!(f, "the centre pays for a copied card twice: {what}"),
            Self::CopyUnnoticed { what } => {
                write!(f, "a card was copied, and nobody is told or nothing is done: {what}")
            }
            Self::MissingUnlisted { what } => {
                write!(f, "a card cannot prove any more what it paid, and nobody is told: {what}")
            }
            Self::Journal { place } => write!(f, "the journal is broken: {place}"),
            Self::Unjournalled { what } => write!(f, "the journal does not say {what}"),
        }
    }
}

/// A violation, where and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub violation: Violation,
    /// The rider whose card it concerns, if it concerns one.
    pub rider: Option<u32>,
    /// When, in nanoseconds since 1970.
    pub at: i64,
}
