//! Checks of what the servers believe against the truth, of the operator's records against the cards, and of the
//! journals.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tsm_api::HexBytes;
use tsm_api::se_tsm::wallet::OperationLists;
use tsm_domain::money::{AccountKind, MoneyTotals};
use tsm_domain::se::MirrorKind;
use tsm_domain::se_application::SeState;
use tsm_domain::{CardNumber, SeId};
use tsm_storage::shared::{ChainKey, Chains, Entry};
use tsm_storage::sp_tsm::{Arrivals as _, SpTsmStore as _};
use tsm_storage::{ClearingStore as _, SeTsmStore as _};

use super::card::Card;
use super::keys::TRANSIT;
use super::lock;
use super::violation::Violation;
use super::world::World;
use super::{Element, PHONES};

/// Chains of each journal that are looked at in one hour.
const SAMPLE: usize = 32;

/// What a store in memory answers at once; `None` while its process is down.
pub(super) fn now<T>(answer: BoxFuture<'_, tsm_storage::Result<T>>) -> Option<T> {
    answer.now_or_never()?.ok()
}

impl World {
    /// The books add up, and so does the truth.
    pub(super) fn check_books(&self) {
        if let Some(totals) = now(self.servers.stores.clearing.totals())
            && let Err(imbalance) = totals.check()
        {
            self.truth.find(None, Violation::Books { sums: (imbalance.paid, imbalance.found) });
        }
        let Some(sums) = self.truth.sums() else { return };
        let found = sums.on_cards + sums.spent + sums.in_flight - sums.returned - sums.copied - sums.disputed;
        if sums.held != found {
            let term = ("paid and not given back", found, sums.held);
            self.truth.find(None, Violation::BooksUntrue { term });
        }
    }

    /// The operator's record of a secure element against the element.
    pub(super) fn check_inventory(&self, card: &Card) {
        let Ok(se) = SeId::new(&card.element().id()) else { return };
        let Some(Some(record)) = now(self.servers.stores.se_tsm.se(se)) else { return };
        let mut believed: Vec<_> = record
            .inventory
            .entries
            .iter()
            .filter(|entry| entry.kind != MirrorKind::IssuerDomain)
            .map(|entry| (entry.aid, entry.life_cycle))
            .collect();
        let mut held: Vec<_> = card.look(|element| {
            let entries = element.registry().iter().filter(|(id, _)| *id != ISSUER_DOMAIN);
            entries.map(|(_, entry)| (entry.aid, entry.state())).collect()
        });
        believed.sort();
        held.sort();
        if believed != held {
            let difference = format!("recorded {believed:?}, on the card {held:?}");
            self.truth.find(Some(card.rider()), Violation::Inventory { difference });
        }
        self.check_state(se, card);
    }

    /// The state of the transit card in table S.1 against the element.
    fn check_state(&self, se: SeId, card: &Card) {
        let Some(all) = now(self.servers.stores.se_tsm.applications_on(se)) else { return };
        let recorded = all.iter().find(|on_se| on_se.application == TRANSIT);
        let state = recorded.map_or(SeState::Ready, |on_se| on_se.record.state);
        let there = card.look(|element| element.registry().find_application(&TRANSIT).is_some());
        let personalised = self.truth.reading(card.element()).is_some();
        let fits = match state {
            SeState::Ready | SeState::Loaded => !there,
            SeState::Instantiated => there,
            SeState::Personalized | SeState::Useable | SeState::Locked => there && personalised,
        };
        if !fits {
            let state = format!("{state:?}, the instance is there: {there}, personalised: {personalised}");
            self.truth.find(Some(card.rider()), Violation::State { state });
        }
    }

    /// What is on an element and what the servers say of it, for the story of somebody who cannot settle.
    pub(super) fn described(&self, card: &Card) -> String {
        let element = card.element();
        let Ok(se) = SeId::new(&element.id()) else { return String::new() };
        let stores = &self.servers.stores;
        let instance =
            card.look(|held| held.registry().find_application(&TRANSIT).map(|(_, held)| format!("{held:?}")));
        let recorded = self.recorded_state(element);
        let subscriptions = now(stores.se_tsm.subscriptions_of(se)).unwrap_or_default();
        let subscriptions: Vec<_> = subscriptions.iter().map(|row| (row.what, &row.state)).collect();
        let reading = self.truth.reading(element);
        let number = reading.and_then(|reading| CardNumber::from_application_serial(&reading.serial).ok());
        let ours = number.map(|number| {
            let issued = now(stores.sp_tsm.card(number)).flatten();
            let issued = issued.map(|row| {
                (row.se == se, row.state, row.closing.map(|closing| closing.progress), row.frozen)
            });
            let account = now(stores.clearing.account(number)).flatten().map(|row| row.account);
            format!("card {number}, issuer (here, state, closing, frozen) {issued:?}, centre {account:?}")
        });
        let arrival = now(stores.sp_tsm.open_arrival(se, TRANSIT)).flatten().map(|arrival| arrival.state);
        format!(
            "; phone {}: instance {instance:?}, can be spent from: {:?}, {ours:?}, arrival {arrival:?}, operator \
             {recorded:?} {subscriptions:?}",
            element.phone,
            reading.map(|reading| reading.spendable),
        )
    }

    /// Nobody is left with what card and servers do not agree on.
    fn check_settled(&self) {
        if let Some((rider, why)) = self.all_unsettled().into_iter().next() {
            self.truth.find(Some(rider), Violation::Unsettled { why });
        }
    }

    /// What the operator records of the transit card on an element.
    pub(super) fn recorded_state(&self, element: Element) -> Option<SeState> {
        let se = SeId::new(&element.id()).ok()?;
        let all = now(self.servers.stores.se_tsm.applications_on(se))?;
        let recorded = all.iter().find(|on_se| on_se.application == TRANSIT);
        Some(recorded.map_or(SeState::Ready, |on_se| on_se.record.state))
    }

    /// Table S.2: which of the lists that the operator gave show the transit card, which was recorded to be in
    /// this state when they were asked for.
    pub(super) fn check_lists(&self, element: Element, asked_in: Option<SeState>, lists: &OperationLists) {
        // A report may have arrived meanwhile, so that nobody can say which state was meant.
        let Some(state) = asked_in.filter(|_| self.recorded_state(element) == asked_in) else { return };
        let aid: HexBytes = TRANSIT.into();
        let shown = [&lists.download, &lists.delete, &lists.lock, &lists.unlock]
            .map(|list| list.iter().any(|listed| listed.aid == aid));
        let expected = match state {
            SeState::Ready | SeState::Loaded => [true, false, false, false],
            SeState::Instantiated => [true, true, false, false],
            SeState::Personalized => [false; 4],
            SeState::Useable => [false, true, true, false],
            SeState::Locked => [false, false, false, true],
        };
        if shown != expected {
            let difference = format!("{state:?} is shown for download, deletion, lock and unlock: {shown:?}");
            self.truth.find(Some(element.rider), Violation::Lists { difference });
        }
    }

    /// When nothing is on its way any more, what is recorded of a lock is what the purse is.
    fn check_locks(&self) {
        let phones = |rider| (0..PHONES as u8).map(move |phone| Element { rider, phone });
        for element in (0..self.plan.riders).flat_map(phones) {
            let Some(reading) = self.truth.reading(element) else { continue };
            let recorded = self.recorded_state(element);
            // A gate may have locked a copied card, which the operator hears from the card's next contact only.
            let fits = match recorded {
                _ if self.truth.is_copied(reading.serial) => true,
                Some(SeState::Locked) => !reading.spendable,
                Some(SeState::Useable) => reading.spendable,
                _ => true,
            };
            if !fits {
                let state = format!("{recorded:?}, the purse can be spent from: {}", reading.spendable);
                return self.truth.find(Some(element.rider), Violation::State { state });
            }
        }
    }

    /// Everything, when all is quiet.
    pub(super) fn check_everything(&self) {
        self.check_settled();
        self.take_beyond_proof();
        self.check_paid_once();
        self.check_parked_once();
        self.check_locks();
        let Some(sums) = self.truth.sums() else { return };
        if let Some(totals) = now(self.servers.stores.clearing.totals()) {
            let kept = totals.purses + totals.in_flight + totals.parked + totals.refund_payable;
            // What the centre did not take of copied cards is still in its books.
            let refused = self.refused_at(|_| true);
            let unspent = sums.on_cards + sums.unproven + sums.in_flight - sums.returned;
            let unspent = unspent + refused - sums.copied - sums.disputed;
            let spent = totals.spent + totals.operator_payable + totals.operator_paid;
            let terms = [
                ("paid in and not given back", totals.paid_in + totals.cash_in - totals.refunded, sums.held),
                ("on cards, on the way, or owed", kept, unspent),
                ("spent", spent, sums.spent - sums.unproven - refused),
            ];
            for term in terms {
                if term.1 != term.2 {
                    self.find_untrue_payments();
                    self.find_untrue_card();
                    self.truth.find(None, Violation::BooksUntrue { term });
                }
            }
        }
        self.check_journals();
    }

    /// Names a card whose account is not what the card holds.
    fn find_untrue_card(&self) {
        for (rider, serial, held) in self.truth.in_use() {
            let Ok(card) = CardNumber::from_application_serial(&serial) else { continue };
            let balance = now(self.servers.stores.clearing.balance(card, AccountKind::Purse));
            let books = balance.map(|balance| balance_of(&balance));
            let truth = i128::from(held) + i128::from(self.truth.unproven_of(serial));
            if let Some(books) = books.filter(|books| *books != truth) {
                let term = ("of this card that it holds", books, truth);
                return self.truth.find(Some(rider), Violation::BooksUntrue { term });
            }
        }
    }

    /// Names a card for which the books say another sum paid in and not given back than is true.
    fn find_untrue_payments(&self) {
        for (card, held) in self.truth.held_for_cards().unwrap_or_default() {
            let Some(transfers) = now(self.servers.stores.clearing.transfers_of(card)) else { continue };
            let totals = MoneyTotals::of_transfers(&transfers);
            let books = totals.paid_in + totals.cash_in - totals.refunded;
            if books != held {
                let term = ("paid in for this card and not given back", books, held);
                let rider = self.truth.holder(card.application_serial());
                return self.truth.find(rider, Violation::BooksUntrue { term });
            }
        }
    }

    fn journals(&self) -> [(&'static str, &dyn Chains); 3] {
        let stores = &self.servers.stores;
        [("SE-TSM", &*stores.se_tsm), ("SP-TSM", &*stores.sp_tsm), ("clearing centre", &*stores.clearing)]
    }

    /// Some chains of each journal, others each time; all of them are looked at in the end.
    pub(super) fn check_some_chains(&self) {
        let mut after = lock(&self.looked_at);
        for (place, (owner, chains)) in self.journals().into_iter().enumerate() {
            let heads = now(chains.chain_heads(after[place].take(), SAMPLE)).unwrap_or_default();
            for head in &heads {
                self.check_chain(owner, chains, head);
            }
            // After the last chain come the first again.
            after[place] = heads.last().map(|last| last.note.chain.clone());
        }
    }

    fn check_journals(&self) {
        for (owner, chains) in self.journals() {
            let mut after = None;
            while let Some(heads) = now(chains.chain_heads(after.clone(), 500)) {
                let Some(last) = heads.last() else { break };
                after = Some(last.note.chain.clone());
                for head in &heads {
                    self.check_chain(owner, chains, head);
                }
            }
        }
        self.check_journalled();
    }

    fn check_chain(&self, owner: &str, chains: &dyn Chains, head: &Entry) {
        let Some(entries) = now(chains.chain(head.note.chain.clone(), 0, usize::MAX)) else { return };
        let whole = Entry::check_chain(None, &entries);
        let ends = entries.last().map(|entry| entry.number) == Some(head.number);
        if whole.is_err() || !ends {
            let place = format!("{owner}, {}, {:?}", head.note.chain, whole.err());
            self.truth.find(None, Violation::Journal { place });
        }
    }

    /// The centre's journal, replayed, gives its rows.
    fn check_journalled(&self) {
        let clearing = &*self.servers.stores.clearing;
        let compared = tsm_storage::clearing::replay::compare_all(clearing).now_or_never();
        let Some(Ok(compared)) = compared else { return };
        for finding in compared.findings.iter().take(1) {
            let rider = match &finding.chain {
                ChainKey::Card(card) => self.truth.holder(card.application_serial()),
                _ => None,
            };
            self.truth.find(rider, Violation::Unjournalled { what: finding.to_string() });
        }
    }
}

const ISSUER_DOMAIN: tsm_se::open::registry::EntryId = tsm_se::open::registry::EntryId::ISSUER_DOMAIN;

fn balance_of(balance: &tsm_domain::money::ledger::Balance) -> i128 {
    i128::from(balance.posted.get())
}
