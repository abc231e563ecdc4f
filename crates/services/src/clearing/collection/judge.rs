//! What a row is worth, before it is stored: terminal, form, account, TAC.

use std::collections::HashMap;

use jiff::Timestamp;
use tsm_api::HexBytes;
use tsm_api::clearing::Consumption;
use tsm_api::clearing::collection::BatchRow;
use tsm_api::clearing_files::{LOCK, Record as _, TransactionRecord};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{
    CardAccountState, CardTransaction, ListVersion, LoadProof, Tac, TransactionKey, TransactionType,
};
use tsm_domain::{AsideId, CardNumber, Fen, InstitutionId, TerminalNumber};
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{Amount, DateTime, TerminalSequence};
use tsm_keys::{KeyError, KeyHandle};
use tsm_storage::clearing::LockRow;
use tsm_storage::clearing::collection::{AsideReason, Judged, Misread, ReportedRow, RowStep};

use super::problem;
use crate::clearing::Clearing;
use crate::clearing::entries::detail_of;
use crate::names;
use crate::purse::{card_from_wire, moment};

/// A row on its way to a verdict.
#[derive(Debug, Clone)]
pub(in crate::clearing) struct Row {
    /// The terminal, where it can be read.
    pub terminal: Option<TerminalNumber>,
    /// Its number in the terminal; none for a notice.
    pub number: Option<u64>,
    /// The row, where it can be read.
    pub row: Option<BatchRow>,
    /// The row as text, which is its identity and what is kept of it.
    pub text: String,
    /// What of it cannot be read, where it is a line of a file.
    pub misread: Option<Misread>,
}

impl Row {
    /// A row of a terminal's batch or file.
    pub(in crate::clearing) fn of_terminal(terminal: TerminalNumber, row: BatchRow) -> Self {
        // Rows are plain data, which JSON always holds.
        let text = serde_json::to_string(&row).unwrap_or_default();
        Self { terminal: Some(terminal), number: Some(row.number), row: Some(row), text, misread: None }
    }

    /// A notice: it has no number in its terminal.
    pub(in crate::clearing) fn notice(terminal: TerminalNumber, told: &Consumption) -> Self {
        let row = BatchRow {
            number: 0,
            card: told.card.clone(),
            transaction_type: told.transaction_type,
            amount_fen: told.amount_fen,
            balance_fen: told.balance_fen,
            offline_counter: told.offline_counter,
            terminal_counter: told.terminal_counter,
            date: told.date.clone(),
            time: told.time.clone(),
            tac: told.tac.clone(),
        };
        Self { number: None, ..Self::of_terminal(terminal, row) }
    }

    /// A line of a file, which has this number there.
    pub(in crate::clearing) fn of_line(line: &[u8], number: u64) -> Self {
        let misread = |field: &str| Some(Misread { line: number, field: field.to_owned() });
        let row = TransactionRecord::decode(line)
            .and_then(|record| record.to_row().map(|row| (record.terminal, row)));
        match row {
            Ok((terminal, row)) => {
                let misread = unreadable_field(&row).and_then(misread);
                Self { misread, ..Self::of_terminal(terminal, row) }
            }
            Err(error) => Self {
                terminal: None,
                number: None,
                row: None,
                text: String::from_utf8_lossy(line).into_owned(),
                misread: misread(error.field()),
            },
        }
    }

    /// A row that was kept aside.
    pub(in crate::clearing) fn kept(reported: &ReportedRow) -> Self {
        let row = serde_json::from_str(&reported.text).ok();
        let misread = reported.misread.clone();
        Self { terminal: reported.terminal, number: None, row, text: reported.text.clone(), misread }
    }

    /// The same row with another TAC. It stays the row that was reported.
    #[must_use]
    pub(in crate::clearing) fn with_tac(self, tac: Tac) -> Self {
        let row = self.row.map(|row| BatchRow { tac: Some(HexBytes(tac.0.to_vec())), ..row });
        Self { row, ..self }
    }

    fn reported(&self, institution: &InstitutionId, file: Option<&str>, at: Timestamp) -> ReportedRow {
        let terminal = self.terminal.map(|terminal| terminal.to_string()).unwrap_or_default();
        let words = ["row", institution.as_str(), &terminal, &self.text];
        // A row that nobody can read says nothing of what it is, so it is known by its place.
        let unread = self.misread.as_ref().filter(|_| self.row.is_none());
        let line = unread.map(|misread| misread.line.to_string());
        let place = line.as_deref().zip(file).map(|(line, file)| [file, line]);
        let words: Vec<&str> = words.into_iter().chain(place.into_iter().flatten()).collect();
        ReportedRow {
            id: AsideId::from_uuid(names::derived(&words)),
            institution: institution.clone(),
            terminal: self.terminal,
            card: self.row.as_ref().and_then(|row| card_from_wire(&row.card).ok()),
            file: file.map(str::to_owned),
            text: self.text.clone(),
            misread: self.misread.clone(),
            at,
        }
    }
}

/// Looks at rows, and remembers accounts and keys while it does.
pub(in crate::clearing) struct Judge<'a> {
    centre: &'a Clearing,
    institution: &'a InstitutionId,
    file: Option<&'a str>,
    at: Timestamp,
    cards: HashMap<CardNumber, Option<KnownCard>>,
}

/// A card that has an account.
#[derive(Clone)]
struct KnownCard {
    tac_key: KeyHandle,
    /// Whether an SE carries it; one that none carries made its last purchase before it was blocked.
    carried: Carried,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carried {
    Yes,
    /// It is being closed: whether it is blocked already is not proven.
    Closing,
    No,
}

impl Carried {
    const fn of(state: &CardAccountState) -> Self {
        match state {
            CardAccountState::Closing { .. } => Self::Closing,
            state if state.carrier().is_some() => Self::Yes,
            _ => Self::No,
        }
    }
}

/// A purchase in the rules' types.
struct Purchase {
    facts: PurchaseFacts,
    transaction: CardTransaction,
    tac: Option<tsm_epurse::Tac>,
}

impl<'a> Judge<'a> {
    pub(in crate::clearing) fn new(
        centre: &'a Clearing,
        institution: &'a InstitutionId,
        file: Option<&'a str>,
    ) -> Self {
        Self { centre, institution, file, at: centre.now(), cards: HashMap::new() }
    }

    /// The step that takes this row.
    pub(in crate::clearing) async fn step(&mut self, row: &Row) -> Result<RowStep, Problem> {
        let reported = row.reported(self.institution, self.file, self.at);
        let (number, judged) = self.judged(row, &reported).await?;
        Ok(RowStep { reported, number, judged })
    }

    /// The step that takes a row without its card's proof, as two people decided.
    pub(in crate::clearing) async fn decided(&mut self, row: &Row, by: &str) -> Result<RowStep, Problem> {
        let reported = row.reported(self.institution, self.file, self.at);
        let malformed = || {
            Problem::because(ProblemCode::ValueRefused, both("The row cannot be read.", "该记录无法解析。"))
        };
        let (Some(told), Some(terminal), Some(card)) = (&row.row, row.terminal, reported.card) else {
            return Err(malformed());
        };
        self.card(card).await?.ok_or(ProblemCode::UnknownId)?;
        let purchase = Purchase::read(told, card, terminal).ok_or_else(malformed)?;
        if self.centre.check_late_purchase(purchase.transaction.key).await?.is_some() {
            let reason = both("The card was blocked before this purchase.", "卡片在该笔消费之前已锁定。");
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        let Purchase { facts, transaction, .. } = purchase;
        let transaction = CardTransaction { proof: LoadProof::TacUnavailable, ..transaction };
        let judged = self.purchase(transaction, &facts, by);
        if let Judged::Purchase { transaction, transfer, .. } = &judged {
            self.centre.write_back(transaction, transfer.as_ref()).await?;
        }
        Ok(RowStep { reported, number: row.number, judged })
    }

    async fn judged(&mut self, row: &Row, reported: &ReportedRow) -> Result<(Option<u64>, Judged), Problem> {
        let aside = |reason| Judged::Aside { reason, transaction: None };
        let Some(told) = &row.row else { return Ok((None, aside(AsideReason::Malformed))) };
        let terminals = &self.centre.terminals;
        let known =
            |terminal: &TerminalNumber| terminals.of_operator(self.institution.as_str(), *terminal).is_some();
        let Some(terminal) = row.terminal.filter(known) else {
            return Ok((None, aside(AsideReason::UnknownTerminal)));
        };
        let Some(card) = reported.card else { return Ok((row.number, aside(AsideReason::UnknownCard))) };
        if told.transaction_type == LOCK {
            let lock = lock_of(told, card, terminal, self.institution);
            return Ok((row.number, lock.map_or_else(|| aside(AsideReason::Malformed), Judged::Lock)));
        }
        let Some(known) = self.card(card).await? else {
            return Ok((row.number, aside(AsideReason::UnknownCard)));
        };
        let Some(purchase) = Purchase::read(told, card, terminal) else {
            return Ok((row.number, aside(AsideReason::Malformed)));
        };
        let key = purchase.transaction.key;
        let judged = self.proven(&known.tac_key, purchase)?;
        if known.carried == Carried::No
            && let Judged::Purchase { transaction, transfer, .. } = &judged
        {
            if self.centre.check_late_purchase(key).await?.is_some() {
                let (reason, transaction) = (AsideReason::Contradicts, Some(transaction.clone()));
                return Ok((row.number, Judged::Aside { reason, transaction }));
            }
            self.centre.write_back(transaction, transfer.as_ref()).await?;
        }
        Ok((row.number, judged))
    }

    fn proven(&self, key: &KeyHandle, purchase: Purchase) -> Result<Judged, Problem> {
        let Purchase { facts, transaction, tac } = purchase;
        let Some(tac) = tac else {
            let reason = AsideReason::Unproven;
            return Ok(Judged::Aside { reason, transaction: Some(transaction) });
        };
        match self.centre.keys.verify_purchase_tac(key, &facts, tac) {
            Ok(()) => {}
            Err(KeyError::CardMac(_)) => {
                let reason = AsideReason::TacWrong;
                return Ok(Judged::Aside { reason, transaction: Some(transaction) });
            }
            Err(error) => {
                tracing::error!(%error, "the key service refused");
                return Err(ProblemCode::Internal.into());
            }
        }
        Ok(self.purchase(transaction, &facts, self.institution.as_str()))
    }

    fn purchase(&self, transaction: CardTransaction, facts: &PurchaseFacts, by: &str) -> Judged {
        // An entry without a fare is recorded and moves nothing.
        let moves = !transaction.amount.is_zero();
        let transfer = moves.then(|| self.centre.spent(transaction.key, facts));
        let detail = detail_of(&transaction);
        let note = self.centre.note(transaction.key.card, by, "purchase-recorded", &detail);
        Judged::Purchase { transaction, transfer, note }
    }

    /// A card, if it has an account.
    async fn card(&mut self, card: CardNumber) -> Result<Option<KnownCard>, Problem> {
        if let Some(known) = self.cards.get(&card) {
            return Ok(known.clone());
        }
        let account = self.centre.store.account(card).await.map_err(problem)?;
        let known = match account {
            Some(row) => Some(KnownCard {
                tac_key: self.centre.tac_key(card)?,
                carried: Carried::of(&row.account.state),
            }),
            None => None,
        };
        self.cards.insert(card, known.clone());
        Ok(known)
    }

    /// Whether a card of the rows is being closed, or no SE carries it.
    pub(in crate::clearing) fn is_closing(&self, card: CardNumber) -> bool {
        let known = self.cards.get(&card).and_then(Option::as_ref);
        known.is_some_and(|known| known.carried != Carried::Yes)
    }

    /// The cards of the rows that no SE carries.
    pub(in crate::clearing) fn uncarried(&self) -> impl Iterator<Item = CardNumber> {
        let of = self
            .cards
            .iter()
            .filter(|(_, known)| known.as_ref().is_some_and(|known| known.carried == Carried::No));
        of.map(|(card, _)| *card)
    }
}

impl Purchase {
    fn read(told: &BatchRow, card: CardNumber, terminal: TerminalNumber) -> Option<Self> {
        let kind = TransactionType::from_byte(told.transaction_type)
            .filter(|kind| matches!(kind, TransactionType::Purchase | TransactionType::CompositePurchase))?;
        let at = stated(told)?;
        let tac: Option<[u8; 4]> = match &told.tac {
            Some(tac) => Some(tac.as_bytes().try_into().ok()?),
            None => None,
        };
        let facts = PurchaseFacts {
            amount: Amount::from_fen(told.amount_fen),
            transaction_type: kind.to_byte().into(),
            terminal: terminal.to_bcd().into(),
            terminal_sequence: TerminalSequence::new(told.terminal_counter),
            at,
        };
        let transaction = CardTransaction {
            key: TransactionKey { card, counter: told.offline_counter, kind },
            amount: Fen::new(told.amount_fen.into()),
            balance_after: Some(Fen::new(told.balance_fen.into())),
            terminal,
            at: moment(at)?,
            proof: tac.map_or(LoadProof::TacUnavailable, |tac| LoadProof::Tac(Tac(tac))),
        };
        Some(Self { facts, transaction, tac: tac.map(Into::into) })
    }
}

/// The field of a row that says nothing that a transaction can be, if one does.
fn unreadable_field(told: &BatchRow) -> Option<&'static str> {
    let kind = TransactionType::from_byte(told.transaction_type);
    let is_purchase = matches!(kind, Some(TransactionType::Purchase | TransactionType::CompositePurchase));
    if told.transaction_type != LOCK && !is_purchase {
        return Some("transaction type");
    }
    stated(told).and_then(moment).is_none().then_some("date and time")
}

fn stated(told: &BatchRow) -> Option<DateTime> {
    let date: [u8; 4] = told.date.as_bytes().try_into().ok()?;
    let time: [u8; 3] = told.time.as_bytes().try_into().ok()?;
    Some(DateTime { date: date.into(), time: time.into() })
}

fn lock_of(
    told: &BatchRow,
    card: CardNumber,
    terminal: TerminalNumber,
    institution: &InstitutionId,
) -> Option<LockRow> {
    Some(LockRow {
        card,
        terminal,
        number: told.number,
        institution: institution.clone(),
        list_version: ListVersion::NONE,
        at: moment(stated(told)?)?,
    })
}
