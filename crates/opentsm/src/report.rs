//! What a run did and where the money is: the table and the JSON line that end the demo.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::{Deserialize, Serialize};

/// What work cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Commands that the card processed.
    pub apdus: u64,
    /// Bytes over the card's interface, both directions.
    pub bytes: u64,
    /// Requests of the wallet to any TSM, reports included.
    pub round_trips: u64,
    /// Microseconds the card was busy; of a card in another process, the way there included.
    pub card_us: u64,
    /// Microseconds the servers were busy with these requests.
    pub server_us: u64,
}

impl std::ops::Sub for Cost {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            apdus: self.apdus - earlier.apdus,
            bytes: self.bytes - earlier.bytes,
            round_trips: self.round_trips - earlier.round_trips,
            card_us: self.card_us - earlier.card_us,
            server_us: self.server_us - earlier.server_us,
        }
    }
}

/// What one step cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StepCost {
    /// Unique name of the step, for example `open_card`.
    pub name: String,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// The money equation of the books, in fen: what was paid in is all somewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MoneyEquation {
    /// Confirmed by the payment platform.
    pub paid_in: i64,
    /// Taken in cash and proven to be on a card.
    pub cash_in: i64,
    /// In purses, by the last proven balances.
    pub purses: i64,
    /// Confirmed and not yet proven by a card.
    pub in_flight: i64,
    /// In cards that live at the centre only.
    pub parked: i64,
    /// Owed to riders.
    pub refund_payable: i64,
    /// Spent, with a verified TAC.
    pub spent: i64,
    /// Deposits and what was written off; most days nothing.
    #[serde(skip_serializing_if = "is_nothing")]
    pub kept_aside: i64,
    /// Paid back.
    pub refunded: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_nothing(fen: &i64) -> bool {
    *fen == 0
}

impl MoneyEquation {
    /// Whether both sides are equal.
    pub fn holds(&self) -> bool {
        self.paid_in + self.cash_in == self.accounted_for()
    }

    /// The right-hand side: everything that was paid in and where it is.
    pub fn accounted_for(&self) -> i64 {
        self.purses
            + self.in_flight
            + self.parked
            + self.refund_payable
            + self.spent
            + self.kept_aside
            + self.refunded
    }

    /// The equation in yuan, on one line.
    pub fn sentence(&self) -> String {
        // Most days nobody pays in cash.
        let cash =
            if self.cash_in == 0 { String::new() } else { format!(" + cash in {}", yuan(self.cash_in)) };
        format!(
            "paid in {}{cash} = purses {} + in flight {} + parked {} + refund payable {} + spent {} + refunded {}",
            yuan(self.paid_in),
            yuan(self.purses),
            yuan(self.in_flight),
            yuan(self.parked),
            yuan(self.refund_payable),
            yuan(self.spent),
            yuan(self.refunded)
        )
    }
}

/// The last line of `demo --json`.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Every step did what it should and the equation holds.
    pub ok: bool,
    /// The steps, in order.
    pub steps: Vec<StepCost>,
    /// The money equation at the end.
    pub money: MoneyEquation,
}

/// Fen as yuan with two decimals.
pub fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}¥{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100)
}

/// The table of costs, a row a step.
pub fn cost_table(steps: &[StepCost]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "step",
        "APDUs",
        "bytes",
        "round trips",
        "card time",
        "server time",
    ]);
    for step in steps {
        table.add_row([
            step.name.clone(),
            step.cost.apdus.to_string(),
            step.cost.bytes.to_string(),
            step.cost.round_trips.to_string(),
            milliseconds(step.cost.card_us),
            milliseconds(step.cost.server_us),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_in_yuan() {
        assert_eq!(yuan(5000), "¥50.00");
        assert_eq!(yuan(-1), "-¥0.01");
    }

    #[test]
    fn one_fen_too_many_breaks_the_equation() {
        let whole = MoneyEquation { paid_in: 5000, purses: 4700, spent: 300, ..Default::default() };
        assert!(whole.holds());
        assert!(!MoneyEquation { spent: 301, ..whole }.holds());
    }
}
