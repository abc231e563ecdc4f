//! Days of business in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use tsm_domain::money::audit::CardSums;
use tsm_domain::money::ledger::{LedgerView as _, TransferKind};
use tsm_domain::money::reconciliation::{
    CardItem, Difference, DifferenceState, EntryKind, Evidence, LedgerItem,
};
use tsm_domain::money::settlement::{BusinessDay, Pair, Settlement, Volume};
use tsm_domain::money::{
    CardTransaction, MoneyTotals, TransactionKey, TransactionType, Transfer, TransferCode,
};
use tsm_domain::{CardNumber, DifferenceId, Fen, InstitutionId, OrderId, TransferId};

use super::ClearingState;
use crate::clearing::settlement::*;
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::memory::Memory;

type EntryKey = (Place, OrderId, &'static str, TransferId);
type OperatorDay = (BusinessDay, InstitutionId);

/// The sheets and what is made of them.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    entries: BTreeMap<EntryKey, DayEntry>,
    transactions: BTreeMap<(Place, OrderId, TransactionKey), DayTransaction>,
    statement: BTreeMap<(Place, OrderId, u64), StatementRow>,
    days: BTreeMap<BusinessDay, DayRow>,
    parts: BTreeMap<(OperatorDay, InstitutionId, u16), SettlementPart>,
    settlements: BTreeMap<(OperatorDay, InstitutionId), Settlement>,
    files: BTreeMap<(OperatorDay, u32), SettlementFile>,
    differences: BTreeMap<(BusinessDay, DifferenceId), Difference>,
    days_of_differences: BTreeMap<DifferenceId, BusinessDay>,
    confirmed: BTreeSet<OrderId>,
}

impl Sheets {
    fn place(&self, reference: OrderId, at: jiff::Timestamp) -> Place {
        let last_closed = self.days.last_key_value().map(|(day, _)| *day);
        Place { bucket: bucket_of(reference), day: open_day(at, last_closed) }
    }

    pub(super) fn entry(&mut self, transfer: &Transfer) {
        if let Some(entry) = entry_of(transfer) {
            self.put_entry(entry, transfer.at);
        }
    }

    fn put_entry(&mut self, entry: DayEntry, at: jiff::Timestamp) {
        let place = self.place(entry.item.reference, at);
        let key = (place, entry.item.reference, entry.item.entry.name(), entry.id);
        self.entries.insert(key, entry);
    }

    pub(super) fn transaction(&mut self, transaction: &CardTransaction, books: &Books) {
        if let Some((row, at)) = transaction_of(transaction, books) {
            let place = self.place(row.item.reference, at);
            self.transactions.insert((place, row.item.reference, row.item.key), row);
        }
    }

    fn by_id(&self, id: DifferenceId) -> Option<&Difference> {
        let day = self.days_of_differences.get(&id)?;
        self.differences.get(&(*day, id))
    }
}

impl ClearingState {
    fn close_evidence(&mut self, after: &Difference) {
        let Some((evidence, aside, closed)) = closed_with(after) else { return };
        let incident = match evidence {
            Evidence::Aside { row, incident } => {
                if let Some(row) = self.collection.aside.get_mut(&row) {
                    row.closed.get_or_insert(aside);
                }
                incident
            }
            Evidence::Incident(incident) => incident,
            Evidence::Missing { .. } => return,
        };
        if let Some(incident) = self.shared.incidents.get_mut(&incident) {
            incident.closed.get_or_insert(closed);
        }
    }
}

fn same<T: PartialEq>(known: Option<&T>, again: &T, what: &'static str, key: impl ToString) -> Result<bool> {
    match known {
        None => Ok(false),
        Some(known) if known == again => Ok(true),
        Some(_) => Err(StorageError::conflict(what, key)),
    }
}

// The rows of a place from `after` on. Keys begin with the place.
fn page<K: Ord + Clone, V: Clone>(
    rows: &BTreeMap<K, V>,
    first: Bound<K>,
    in_place: impl Fn(&K) -> bool,
    limit: usize,
) -> Vec<V> {
    let rows = rows.range((first, Bound::Unbounded)).take_while(|(key, _)| in_place(key));
    rows.take(limit).map(|(_, row)| row.clone()).collect()
}

const FIRST: OrderId = OrderId::from_uuid(uuid::Uuid::nil());

#[async_trait]
impl Settlements for Memory<ClearingState> {
    async fn close_day(&self, day: BusinessDay, at: jiff::Timestamp) -> Result<DayRow> {
        self.write(|state| {
            let row = DayRow::closed(day, at);
            Ok(state.sheets.days.entry(day).or_insert(row).clone())
        })
    }

    async fn day(&self, day: BusinessDay) -> Result<Option<DayRow>> {
        self.read(|state| Ok(state.sheets.days.get(&day).cloned()))
    }

    async fn days(&self, limit: usize) -> Result<Vec<DayRow>> {
        self.read(|state| Ok(state.sheets.days.values().rev().take(limit).cloned().collect()))
    }

    async fn first_day(&self) -> Result<Option<BusinessDay>> {
        self.read(|state| {
            let entries = state.sheets.entries.keys().map(|(place, ..)| place.day);
            let transactions = state.sheets.transactions.keys().map(|(place, ..)| place.day);
            Ok(entries.chain(transactions).min())
        })
    }

    async fn put_day(&self, row: DayRow) -> Result<()> {
        self.write(|state| {
            let day = row.day;
            let known = state.sheets.days.get_mut(&day);
            *known.ok_or_else(|| StorageError::unknown("closed day", day))? = row;
            Ok(())
        })
    }

    async fn day_transactions(
        &self,
        place: Place,
        after: Option<&CardItem>,
        limit: usize,
    ) -> Result<Vec<DayTransaction>> {
        self.read(|state| {
            let card = CardNumber::compose("00000000", 0).expect("eight digits and eleven");
            let smallest = TransactionKey { card, counter: 0, kind: TransactionType::Load };
            let first = match after {
                None => Bound::Included((place, FIRST, smallest)),
                Some(item) => Bound::Excluded((place, item.reference, item.key)),
            };
            Ok(page(&state.sheets.transactions, first, |(at, ..)| *at == place, limit))
        })
    }

    async fn day_entries(
        &self,
        place: Place,
        after: Option<&DayEntry>,
        limit: usize,
    ) -> Result<Vec<DayEntry>> {
        self.read(|state| {
            let first = match after {
                None => Bound::Included((place, FIRST, "", TransferId::from_uuid(uuid::Uuid::nil()))),
                Some(entry) => {
                    Bound::Excluded((place, entry.item.reference, entry.item.entry.name(), entry.id))
                }
            };
            Ok(page(&state.sheets.entries, first, |(at, ..)| *at == place, limit))
        })
    }

    async fn statement_lines(
        &self,
        place: Place,
        after: Option<&StatementRow>,
        limit: usize,
    ) -> Result<Vec<StatementRow>> {
        self.read(|state| {
            let first = match after {
                None => Bound::Included((place, FIRST, 0)),
                Some(row) => Bound::Excluded((place, row.line.order, row.number)),
            };
            Ok(page(&state.sheets.statement, first, |(at, ..)| *at == place, limit))
        })
    }

    async fn purchases(&self, place: Place) -> Result<Vec<TerminalVolume>> {
        let rows = self.day_transactions(place, None, usize::MAX).await?;
        let mut volumes: BTreeMap<_, Volume> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.item.key.kind != TransactionType::Load) {
            let key = (prefix_of(&row.item.key.card).to_owned(), row.terminal);
            volumes.entry(key).or_default().add(Volume { number: 1, gross: row.item.amount });
        }
        let volumes = volumes.into_iter();
        Ok(volumes.map(|((prefix, terminal), volume)| TerminalVolume { prefix, terminal, volume }).collect())
    }

    async fn put_statement(&self, day: BusinessDay, lines: Vec<StatementRow>) -> Result<()> {
        self.write(|state| {
            let statement = &mut state.sheets.statement;
            let key = |row: &StatementRow| {
                let place = Place { bucket: bucket_of(row.line.order), day };
                (place, row.line.order, row.number)
            };
            for row in &lines {
                same(statement.get(&key(row)), row, "statement line", row.number)?;
            }
            statement.extend(lines.into_iter().map(|row| (key(&row), row)));
            Ok(())
        })
    }

    async fn forget_statement(&self, place: Place, numbers: std::ops::Range<u64>) -> Result<()> {
        self.write(|state| {
            may_forget(state.sheets.days.get(&place.day), place, &numbers)?;
            state.sheets.statement.retain(|(at, _, number), _| *at != place || !numbers.contains(number));
            Ok(())
        })
    }

    async fn put_parts(&self, day: BusinessDay, parts: Vec<SettlementPart>) -> Result<()> {
        self.write(|state| {
            let key = |part: &SettlementPart| {
                ((day, part.pair.operator.clone()), part.pair.issuer.clone(), part.bucket)
            };
            for part in &parts {
                same(state.sheets.parts.get(&key(part)), part, "settlement part", part.bucket)?;
            }
            state.sheets.parts.extend(parts.into_iter().map(|part| (key(&part), part)));
            Ok(())
        })
    }

    async fn parts(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementPart>> {
        self.read(|state| {
            let of = |part: &&SettlementPart| part.pair.operator == *operator;
            let parts = state.sheets.parts.iter().filter(|(((on, _), ..), _)| *on == day);
            Ok(parts.map(|(_, part)| part).filter(of).cloned().collect())
        })
    }

    async fn pairs(&self, day: BusinessDay) -> Result<Vec<(Pair, Volume)>> {
        self.read(|state| {
            let mut pairs: BTreeMap<(InstitutionId, InstitutionId), Volume> = BTreeMap::new();
            for (((on, operator), issuer, _), part) in &state.sheets.parts {
                if *on == day {
                    pairs.entry((operator.clone(), issuer.clone())).or_default().add(part.volume);
                }
            }
            let pairs = pairs.into_iter();
            Ok(pairs.map(|((operator, issuer), volume)| (Pair { issuer, operator }, volume)).collect())
        })
    }

    async fn settle(&self, settlement: Settlement, books: Books) -> Result<()> {
        self.write(|state| {
            let key = ((settlement.day, settlement.pair.operator.clone()), settlement.pair.issuer.clone());
            if same(state.sheets.settlements.get(&key), &settlement, "settlement", settlement.day)? {
                return Ok(());
            }
            state.book(Step::settled(&settlement), books)?;
            state.sheets.settlements.insert(key, settlement);
            Ok(())
        })
    }

    async fn settlements(&self, day: BusinessDay) -> Result<Vec<Settlement>> {
        self.read(|state| {
            let all = state.sheets.settlements.values();
            Ok(all.filter(|settlement| settlement.day == day).cloned().collect())
        })
    }

    async fn put_files(&self, files: Vec<SettlementFile>) -> Result<()> {
        self.write(|state| {
            let key = |file: &SettlementFile| ((file.day, file.operator.clone()), file.number);
            for file in &files {
                same(state.sheets.files.get(&key(file)), file, "settlement file", file.number)?;
            }
            state.sheets.files.extend(files.into_iter().map(|file| (key(&file), file)));
            Ok(())
        })
    }

    async fn files(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementFile>> {
        self.read(|state| {
            let of = |file: &&SettlementFile| file.day == day && file.operator == *operator;
            Ok(state.sheets.files.values().filter(of).cloned().collect())
        })
    }

    async fn put_differences(&self, found: Vec<Difference>) -> Result<usize> {
        self.write(|state| {
            let mut new = 0;
            for difference in found {
                let key = (difference.day, difference.id);
                if let std::collections::btree_map::Entry::Vacant(place) = state.sheets.differences.entry(key)
                {
                    state.sheets.days_of_differences.entry(difference.id).or_insert(difference.day);
                    place.insert(difference);
                    new += 1;
                }
            }
            Ok(new)
        })
    }

    async fn difference(&self, id: DifferenceId) -> Result<Option<Difference>> {
        self.read(|state| Ok(state.sheets.by_id(id).cloned()))
    }

    async fn differences_of(&self, reference: OrderId) -> Result<Vec<Difference>> {
        self.read(|state| {
            let of = |difference: &&Difference| difference.reference == Some(reference);
            Ok(state.sheets.differences.values().filter(of).cloned().collect())
        })
    }

    async fn differences(&self, query: &DifferenceQuery, limit: usize) -> Result<Vec<Difference>> {
        self.read(|state| {
            let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
            let rows = state.sheets.differences.range((after, Bound::Unbounded)).map(|(_, row)| row);
            let fits = |difference: &&Difference| {
                query.day.is_none_or(|day| difference.day == day)
                    && query.cause.is_none_or(|cause| difference.cause == cause)
                    && match &query.state {
                        Some(state) => difference.state.name() == state,
                        None => !matches!(difference.state, DifferenceState::Waiting { .. }),
                    }
                    && query.prefix.as_ref().is_none_or(|prefix| {
                        difference.card.is_some_and(|card| card.as_str().starts_with(prefix.as_str()))
                    })
            };
            Ok(rows.filter(fits).take(limit).cloned().collect())
        })
    }

    async fn change_difference(&self, before: &Difference, after: Difference, books: Books) -> Result<()> {
        self.write(|state| {
            let known = state.sheets.by_id(after.id);
            let known = known.ok_or_else(|| StorageError::unknown("difference", after.id))?;
            if *known == after {
                return Ok(());
            }
            if known != before {
                return Err(StorageError::conflict("difference", after.id));
            }
            state.book(Step::default(), books)?;
            state.close_evidence(&after);
            state.sheets.differences.insert((after.day, after.id), after);
            Ok(())
        })
    }

    async fn ripen(&self, day: BusinessDay) -> Result<usize> {
        self.write(|state| {
            let mut ripe = 0;
            for difference in state.sheets.differences.values_mut() {
                if matches!(difference.state, DifferenceState::Waiting { until } if until < day) {
                    difference.state = DifferenceState::Open;
                    ripe += 1;
                }
            }
            Ok(ripe)
        })
    }

    async fn confirm_payment(
        &self,
        order: OrderId,
        card: CardNumber,
        amount: Fen,
        books: Books,
        at: jiff::Timestamp,
    ) -> Result<bool> {
        self.write(|state| {
            if state.sheets.confirmed.contains(&order) {
                return Ok(false);
            }
            state.book(Step::default(), books)?;
            state.sheets.confirmed.insert(order);
            let entry = EntryKind::PaymentReported;
            let item = LedgerItem { reference: order, entry, card: Some(card), amount };
            let id = TransferId::from_uuid(order.as_uuid());
            state.sheets.put_entry(DayEntry { item, id }, at);
            Ok(true)
        })
    }

    async fn transfer_by_id(&self, id: TransferId) -> Result<Option<Transfer>> {
        self.read(|state| {
            let Ok(found) = state.ledger.transfer(id);
            Ok(found)
        })
    }

    async fn card_sums(&self, after: Option<CardNumber>, limit: usize) -> Result<CardPage> {
        self.read(|state| {
            let is_later = |card: CardNumber| after.is_none_or(|after| card > after);
            let accounts: Vec<_> =
                state.accounts.keys().copied().filter(|card| is_later(*card)).take(limit).collect();
            let next = if accounts.len() < limit { None } else { accounts.last().copied() };
            let in_page = |card: CardNumber| is_later(card) && next.is_none_or(|last| card <= last);
            Ok(CardPage { cards: sums_of(state, in_page), next })
        })
    }

    async fn totals_of(&self, prefix: &str) -> Result<MoneyTotals> {
        self.read(|state| {
            let of_issuer = |transfer: &&Transfer| {
                let card = transfer.debit.card().or(transfer.credit.card());
                card.is_some_and(|card| card.as_str().starts_with(prefix))
            };
            Ok(MoneyTotals::of_transfers(state.ledger.transfers().iter().filter(of_issuer)))
        })
    }

    async fn lost_of(&self, prefix: &str) -> Result<MoneyTotals> {
        self.read(|state| {
            let all = state.ledger.transfers();
            let of_issuer = |transfer: &&Transfer| {
                let card = transfer.debit.card().or(transfer.credit.card());
                card.is_some_and(|card| card.as_str().starts_with(prefix))
            };
            let orders: BTreeSet<_> = all.iter().filter(of_issuer).filter_map(|own| own.order).collect();
            let is_lost = |transfer: &&Transfer| {
                matches!(transfer.code, TransferCode::PaymentLost | TransferCode::RefundLost)
                    && transfer.order.is_some_and(|order| orders.contains(&order))
            };
            Ok(MoneyTotals::of_transfers(all.iter().filter(is_lost)))
        })
    }

    async fn cardless_totals(&self) -> Result<MoneyTotals> {
        self.read(|state| {
            let of_no_card =
                |transfer: &&Transfer| transfer.debit.card().or(transfer.credit.card()).is_none();
            Ok(MoneyTotals::of_transfers(state.ledger.transfers().iter().filter(of_no_card)))
        })
    }
}

fn sums_of(state: &ClearingState, in_page: impl Fn(CardNumber) -> bool) -> Vec<CardSums> {
    let mut sums: BTreeMap<CardNumber, CardSums> = BTreeMap::new();
    for row in state.accounts.values().filter(|row| in_page(row.card)) {
        let sum = sums.entry(row.card).or_insert_with(|| CardSums::new(row.card));
        sum.state = Some(row.account.state.clone());
        sum.is_frozen = row.account.freeze.is_some();
    }
    for transfer in state.ledger.transfers() {
        let moves = matches!(transfer.kind, TransferKind::Single | TransferKind::Post(_));
        let card = transfer.debit.card().or(transfer.credit.card());
        let Some(card) = card.filter(|card| moves && in_page(*card)) else { continue };
        let moved = (transfer.debit.kind(), transfer.credit.kind(), transfer.amount);
        sums.entry(card).or_insert_with(|| CardSums::new(card)).moved.push(moved);
    }
    for (card, kind, balance) in state.ledger.balances().filter(|(card, ..)| in_page(*card)) {
        sums.entry(card).or_insert_with(|| CardSums::new(card)).held.insert(kind, balance.posted);
    }
    for (key, transaction) in state.transactions.iter().filter(|(key, _)| in_page(key.card)) {
        let sum = sums.entry(key.card).or_insert_with(|| CardSums::new(key.card));
        let proven = sum.transactions.entry(key.kind).or_insert(Fen::ZERO);
        *proven = [*proven, transaction.amount].into_iter().sum();
    }
    sums.into_values().collect()
}
