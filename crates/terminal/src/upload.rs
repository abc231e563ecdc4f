//! What a terminal delivers to the clearing centre (B-7.3.1).

use tsm_api::clearing::{Consumption, ConsumptionReport};

use crate::{
    psam::CardKeys,
    record::{RecordProof, TerminalRecord},
    state::Persistence,
    terminal::Terminal,
};

/// A batch, and the number up to which the terminal may forget its records once the centre has taken it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What goes to the centre.
    pub report: ConsumptionReport,
    /// For [`Terminal::acknowledge`].
    pub up_to: u64,
    /// Records of the batch without a TAC. They are not in the report: the centre settles them from the
    /// card's next transactions.
    pub unproven: Vec<TerminalRecord>,
}

/// The oldest records of `terminal`, at most `most`; `None` when there are none.
///
/// Delivering a batch twice is harmless: the centre records each transaction once.
pub fn next_batch<K: CardKeys, P: Persistence>(terminal: &Terminal<K, P>, most: usize) -> Option<Batch> {
    let records = terminal.state().records();
    let records = &records[..records.len().min(most)];
    let up_to = records.last()?.number;
    let transactions = records.iter().filter_map(consumption).collect();
    let unproven = records.iter().filter(|record| record.tac.is_none()).cloned().collect();
    let report = ConsumptionReport { terminal: terminal.number().to_bytes().to_vec().into(), transactions };
    Some(Batch { report, up_to, unproven })
}

/// A record as the centre takes it; `None` without a TAC.
pub fn consumption(record: &TerminalRecord) -> Option<Consumption> {
    let tac = record.tac?;
    debug_assert_ne!(record.proof, RecordProof::Unknown, "a TAC proves something");
    Some(Consumption {
        card: record.card.0.to_vec().into(),
        amount_fen: record.amount_fen,
        balance_fen: record.balance_fen,
        offline_counter: record.card_counter,
        terminal_counter: record.terminal_sequence,
        transaction_type: record.transaction_type,
        date: record.at.date.to_bytes().to_vec().into(),
        time: record.at.time.to_bytes().to_vec().into(),
        tac: tac.to_bytes().to_vec().into(),
    })
}
