//! Bugs put into a city on purpose, to see that its checks find them. None of them is in any code that ships.

use std::sync::Arc;
use std::time::Duration;

use tsm_domain::InstitutionId;
use tsm_domain::SeId;
use tsm_domain::money::PaymentState;
use tsm_domain::money::settlement::{BusinessDay, Pair, Settlement};
use tsm_domain::{Fen, OrderId, TransferId};
use tsm_epurse::commands::{CreditForLoad, DebitForUnload};
use tsm_epurse::host::load::LoadFacts;
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{Challenge, DateTime, Mac, Tac};
use tsm_iso7816::CommandApdu;
use tsm_keys::purse::{LoadAttempt, PurchaseAttempt, UnloadAttempt};
use tsm_keys::session::{PendingSession, SessionRequest};
use tsm_keys::transfer::{SealedValue, TransportMessage, WrappedKey, WrappedKeySet, WrappedValue};
use tsm_keys::{
    Derivation, DomainKeySource, KeyAlgorithm, KeyDescription, KeyError, KeyHandle, KeyReference, KeyService,
    PublicKey, SignatureScheme,
};
use tsm_storage::PaymentStore as _;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::settlement::Settlements as _;
use tsm_storage::payment::Refund;
use zeroize::Zeroizing;

use super::terminals::{RAIL, SHOPS_AND_BUSES};
use super::world::World;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plant {
    /// The centre now and then stores a step without its journal entries.
    SkippedJournal,
    /// A payment whose top-up takes long is given back, whatever the card says.
    RefundOnTimeout,
    /// The issuer uses the same terminal number for each load of a card.
    ReusedTerminalNumber,
    /// The issuer believes a balance that the card did not prove.
    BelievedBalance,
    /// What is settled for one operator is settled for another as well.
    SettledForBoth,
    /// The centre pays two purchases for one place in a card's count.
    PaidContradiction,
    /// A gate keeps its fares although the centre has published others.
    OldFares,
    /// The centre does not ask who signed a terminal's batches and files.
    UnverifiedBatches,
}

/// How long the impatient cashier waits.
const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    /// Lets a cashier give payments back whose money is not on the card in time.
    pub(super) fn let_a_cashier_be_impatient(self: &Arc<Self>) {
        let world = self.clone();
        self.executor.spawn(self.executor.owner(), async move {
            while !world.is_closing() {
                world.executor.sleep(PATIENCE).await;
                for (order, amount) in world.truth.uncredited() {
                    world.give_back(order, amount).await;
                }
            }
        });
    }

    /// Settles for the shops, too, whatever is settled for the gates.
    pub(super) fn let_settlements_repeat(self: &Arc<Self>) {
        let world = self.clone();
        self.executor.spawn(self.executor.owner(), async move {
            while !world.is_closing() {
                world.executor.sleep(Duration::from_secs(1800)).await;
                for row in world.closed_days() {
                    world.settle_for_both(row.day).await;
                }
            }
        });
    }

    async fn settle_for_both(&self, day: BusinessDay) {
        let clearing = &self.servers.stores.clearing;
        let (Ok(rail), Ok(shops)) = (RAIL.parse(), SHOPS_AND_BUSES.parse::<InstitutionId>()) else { return };
        let settlements = clearing.settlements(day).await.unwrap_or_default();
        for settlement in settlements.into_iter().filter(|settlement| settlement.pair.operator == rail) {
            // The operator stands where the issuer belongs, so that the row is none of the true ones.
            let pair = Pair { issuer: rail.clone(), operator: shops.clone() };
            let _ = clearing.settle(Settlement { pair, ..settlement }, Books::default()).await;
        }
    }

    async fn give_back(&self, order: OrderId, amount: u32) {
        let payments = &self.servers.stores.payment;
        let Ok(Some(row)) = payments.order(order).await else { return };
        let waited = row.paid_at.is_some_and(|at| {
            let waited = self.executor.now().duration_since(at);
            Duration::try_from(waited).is_ok_and(|waited| waited >= PATIENCE)
        });
        if waited && matches!(row.order.state, PaymentState::Paid(_)) {
            let id = TransferId::from_uuid(order.as_uuid());
            let refund = Refund { id, order, amount: Fen::new(amount.into()), at: self.executor.now() };
            let _ = payments.refund(refund, Vec::new()).await;
        }
    }
}

/// A key service that finds every MAC1 right.
pub struct Credulous(pub Arc<dyn KeyService>);

impl KeyService for Credulous {
    fn is_development(&self) -> bool {
        self.0.is_development()
    }

    fn list(&self) -> Vec<KeyDescription> {
        self.0.list()
    }

    fn describe(&self, key: &KeyReference) -> Result<KeyDescription, KeyError> {
        self.0.describe(key)
    }

    fn generate(&self, key: &KeyReference, algorithm: KeyAlgorithm) -> Result<KeyDescription, KeyError> {
        self.0.generate(key, algorithm)
    }

    fn import_key(
        &self,
        key: &KeyReference,
        wrapped: &WrappedKey,
        kek: &KeyReference,
    ) -> Result<KeyDescription, KeyError> {
        self.0.import_key(key, wrapped, kek)
    }

    fn export_key(&self, key: &KeyReference, kek: &KeyReference) -> Result<WrappedKey, KeyError> {
        self.0.export_key(key, kek)
    }

    fn derive(&self, master: &KeyReference, derivation: &Derivation) -> Result<KeyHandle, KeyError> {
        self.0.derive(master, derivation)
    }

    fn export_leaf(&self, key: &KeyHandle, kek: &KeyReference) -> Result<WrappedKey, KeyError> {
        self.0.export_leaf(key, kek)
    }

    fn export_domain_keys(
        &self,
        keys: &DomainKeySource,
        kek: &KeyReference,
    ) -> Result<WrappedKeySet, KeyError> {
        self.0.export_domain_keys(keys, kek)
    }

    fn begin_session(&self, request: SessionRequest) -> Result<Box<dyn PendingSession>, KeyError> {
        self.0.begin_session(request)
    }

    fn wrap_value(&self, value: &[u8], kek: &KeyReference) -> Result<WrappedValue, KeyError> {
        self.0.wrap_value(value, kek)
    }

    fn transport_encrypt(
        &self,
        tk: &KeyReference,
        context: &[u8],
        script: &[u8],
    ) -> Result<TransportMessage, KeyError> {
        self.0.transport_encrypt(tk, context, script)
    }

    fn transport_decrypt(
        &self,
        tk: &KeyReference,
        context: &[u8],
        message: &TransportMessage,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.0.transport_decrypt(tk, context, message)
    }

    fn sign(&self, key: &KeyReference, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.sign(key, scheme, message)
    }

    fn public_key(&self, key: &KeyReference) -> Result<PublicKey, KeyError> {
        self.0.public_key(key)
    }

    fn verify_receipt(&self, key: &KeyHandle, covered: &[u8], receipt: &[u8]) -> Result<(), KeyError> {
        self.0.verify_receipt(key, covered, receipt)
    }

    fn frame_mac(&self, key: &KeyReference, covered: &[u8]) -> Result<[u8; 8], KeyError> {
        self.0.frame_mac(key, covered)
    }

    fn binding_token(
        &self,
        key: &KeyReference,
        se_id: &SeId,
        date: &str,
    ) -> Result<Zeroizing<[u8; 16]>, KeyError> {
        self.0.binding_token(key, se_id, date)
    }

    fn seal(&self, key: &KeyReference, context: &[u8], value: &[u8]) -> Result<SealedValue, KeyError> {
        self.0.seal(key, context, value)
    }

    fn unseal(
        &self,
        key: &KeyReference,
        context: &[u8],
        sealed: &SealedValue,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.0.unseal(key, context, sealed)
    }

    /// The bug: what the phone says of the card's balance is taken for the card's own word.
    fn verify_load_mac1(&self, _load: &KeyHandle, _attempt: &LoadAttempt) -> Result<(), KeyError> {
        Ok(())
    }

    fn credit_for_load(
        &self,
        load: &KeyHandle,
        attempt: &LoadAttempt,
        at: DateTime,
    ) -> Result<CreditForLoad, KeyError> {
        self.0.credit_for_load(load, attempt, at)
    }

    fn verify_load_tac(&self, key: &KeyHandle, facts: &LoadFacts, tac: Tac) -> Result<(), KeyError> {
        self.0.verify_load_tac(key, facts, tac)
    }

    fn purchase_mac1(&self, purchase: &KeyHandle, attempt: &PurchaseAttempt) -> Result<Mac, KeyError> {
        self.0.purchase_mac1(purchase, attempt)
    }

    fn verify_purchase_mac2(
        &self,
        purchase: &KeyHandle,
        attempt: &PurchaseAttempt,
        mac2: Mac,
    ) -> Result<(), KeyError> {
        self.0.verify_purchase_mac2(purchase, attempt, mac2)
    }

    fn verify_unload_mac1(&self, unload: &KeyHandle, attempt: &UnloadAttempt) -> Result<(), KeyError> {
        self.0.verify_unload_mac1(unload, attempt)
    }

    fn debit_for_unload(
        &self,
        unload: &KeyHandle,
        attempt: &UnloadAttempt,
        at: DateTime,
    ) -> Result<DebitForUnload, KeyError> {
        self.0.debit_for_unload(unload, attempt, at)
    }

    fn verify_unload_mac3(
        &self,
        unload: &KeyHandle,
        attempt: &UnloadAttempt,
        at: DateTime,
        mac3: Mac,
    ) -> Result<(), KeyError> {
        self.0.verify_unload_mac3(unload, attempt, at, mac3)
    }

    fn verify_purchase_tac(&self, key: &KeyHandle, facts: &PurchaseFacts, tac: Tac) -> Result<(), KeyError> {
        self.0.verify_purchase_tac(key, facts, tac)
    }

    fn secure_messaging(
        &self,
        key: &KeyHandle,
        challenge: Challenge,
        command: &CommandApdu,
    ) -> Result<CommandApdu, KeyError> {
        self.0.secure_messaging(key, challenge, command)
    }
}
