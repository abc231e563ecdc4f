//! Whether a card's balance follows from its transactions.
//!
//! The books know every credit and every purchase that was proven; the card says its balance after each
//! purchase. When nothing is missing in between, the two differ only by credits: those that the card took in
//! after its last purchase, and those whose report is still on its way. Anything else is a copy of the card,
//! a card that was put back to an earlier state, or a forger's work.

use serde::{Deserialize, Serialize};

use super::black_list::ListReason;
use super::numbering::Numbering;
use crate::amount::Fen;

/// Why a card has to be examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Its balance is not the one of the books.
    Balance,
    /// Two proven transactions have the same counter.
    SameCounter,
    /// A proven transaction has the counter of one that was made before another that is already known.
    CounterWentBack,
}

/// What an examination looks at.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'a> {
    /// Why it is examined.
    pub doubt: Doubt,
    /// How long the doubt has lasted.
    pub since: jiff::Timestamp,
    /// Now.
    pub now: jiff::Timestamp,
    /// Its offline counters.
    pub numbering: &'a Numbering,
    /// The balance after the purchase with the highest counter, where the card said it.
    pub last_balance: Option<Fen>,
    /// The credits by online counter, in order.
    pub credits: &'a [(u16, Fen)],
    /// What the books have in the purse.
    pub purse: Fen,
    /// What was paid and is not proven to be on the card.
    pub in_flight: Fen,
}

/// What an examination finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The balance follows.
    Follows,
    /// Reports are missing that may explain it.
    Waits,
    /// Nothing explains it.
    Suspicious(ListReason),
}

/// How long a card may hold more than the books know before that is suspicious: reports of credits are late
/// when a line is down.
pub const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_hours(72);

/// Examines a card that is in use.
pub fn examine(card: &Examined<'_>) -> Finding {
    match card.doubt {
        Doubt::SameCounter => return Finding::Suspicious(ListReason::Copied),
        Doubt::CounterWentBack => return Finding::Suspicious(ListReason::CounterWentBack),
        Doubt::Balance => {}
    }
    let Some(balance) = card.last_balance else { return Finding::Waits };
    let online_is_whole = (1..).zip(card.credits).all(|(expected, (counter, _))| *counter == expected);
    if !card.numbering.is_whole() || !online_is_whole {
        return Finding::Waits;
    }
    if let Some(later) = card.purse.checked_sub(balance) {
        return if is_of_last_credits(card.credits, later) {
            Finding::Follows
        } else {
            Finding::Suspicious(ListReason::BalanceDoesNotFollow)
        };
    }
    // The card holds more than the books: a credit that is not reported, at most what is in flight.
    let more = balance.checked_sub(card.purse).unwrap_or_default();
    if more <= card.in_flight || card.now.duration_since(card.since) < PATIENCE {
        return Finding::Waits;
    }
    Finding::Suspicious(ListReason::BalanceDoesNotFollow)
}

/// Whether the last credits, some number of them, sum up to `later`.
fn is_of_last_credits(credits: &[(u16, Fen)], later: Fen) -> bool {
    let mut sum = Fen::ZERO;
    for (_, amount) in credits.iter().rev() {
        if sum >= later {
            break;
        }
        sum = [sum, *amount].into_iter().sum();
    }
    sum == later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(hour * 3_600).unwrap()
    }

    fn numbered(numbers: &[u64]) -> Numbering {
        let mut numbering = Numbering::default();
        for number in numbers {
            numbering.take(*number, at(0));
        }
        numbering
    }

    fn credits(amounts: &[u64]) -> Vec<(u16, Fen)> {
        (1..).zip(amounts.iter().copied().map(Fen::new)).collect()
    }

    fn look(balance: u64, purse: u64, in_flight: u64, hours: i64, loaded: &[u64]) -> Finding {
        examine(&Examined {
            doubt: Doubt::Balance,
            since: at(0),
            now: at(hours),
            numbering: &numbered(&[1, 2]),
            last_balance: Some(Fen::new(balance)),
            credits: &credits(loaded),
            purse: Fen::new(purse),
            in_flight: Fen::new(in_flight),
        })
    }

    #[test]
    fn what_credits_explain_follows_and_what_may_come_is_waited_for() {
        const SUSPICIOUS: Finding = Finding::Suspicious(ListReason::BalanceDoesNotFollow);
        let rows = [
            ("the same", look(900, 900, 0, 0, &[1_000]), Finding::Follows),
            ("a credit after the last purchase", look(900, 1_400, 0, 0, &[1_000, 500]), Finding::Follows),
            ("two credits after it", look(100, 1_600, 0, 0, &[200, 1_000, 500]), Finding::Follows),
            ("money vanished", look(900, 1_000, 0, 0, &[1_000, 500]), SUSPICIOUS),
            ("an earlier credit cannot be the last", look(100, 300, 0, 0, &[200, 500]), SUSPICIOUS),
            ("more than the books, paid for", look(900, 700, 200, 100, &[1_000]), Finding::Waits),
            ("more than the books, not yet paid", look(900, 700, 100, 71, &[1_000]), Finding::Waits),
            ("more than the books for days", look(900, 700, 100, 72, &[1_000]), SUSPICIOUS),
        ];
        for (case, found, expected) in rows {
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn nobody_is_suspected_while_something_is_missing() {
        let whole = numbered(&[1, 2]);
        let base = Examined {
            doubt: Doubt::Balance,
            since: at(0),
            now: at(1_000),
            numbering: &whole,
            last_balance: Some(Fen::new(5)),
            credits: &credits(&[10]),
            purse: Fen::new(7),
            in_flight: Fen::ZERO,
        };
        assert_eq!(examine(&base), Finding::Suspicious(ListReason::BalanceDoesNotFollow));
        let missing = numbered(&[1, 3]);
        assert_eq!(examine(&Examined { numbering: &missing, ..base }), Finding::Waits);
        let without_first = [(2, Fen::new(10))];
        assert_eq!(examine(&Examined { credits: &without_first, ..base }), Finding::Waits);
        assert_eq!(examine(&Examined { last_balance: None, ..base }), Finding::Waits);
        for (doubt, reason) in
            [(Doubt::SameCounter, ListReason::Copied), (Doubt::CounterWentBack, ListReason::CounterWentBack)]
        {
            let proven = Examined { doubt, numbering: &missing, ..base };
            assert_eq!(examine(&proven), Finding::Suspicious(reason), "proof enough by itself");
        }
    }
}
