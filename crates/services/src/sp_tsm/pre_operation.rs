//! Consent before a download or a deletion (B-8.5.2.b and c, B-8.5.3.b), and what the SE-TSM needs from the
//! issuer for a download: the domain's keys under the shared KEK, and the INITIALIZE UPDATE of the channel
//! that the SP-TSM will open after the hand-over. Before it looks at a card the SE-TSM can ask whether it is
//! awaited that an application is not there; its word counts only when it asked before it looked.
//!
//! The session behind that INITIALIZE UPDATE lives in memory only. After a restart the hand-over is
//! refused and the wallet begins again: nothing was changed by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tsm_api::HexBytes;
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::OperationKind;
use tsm_api::sp_tsm::peer::{
    HandoverWay, KeyAlgorithm, PreOperationReply, PreOperationRequest, WrappedKey, WrappedKeySet,
};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardOrder, CardOrderState, CardState};
use tsm_domain::se_application::HeldValue;
use tsm_domain::{ConversationId, Msisdn, OrderId, SeId};
use tsm_iso7816::Aid;
use tsm_keys::PendingSession;
use tsm_storage::sp_tsm::{CardOrdered, Consent, ConsentTo, With};

use super::SpTsm;
use super::access::Caller;
use super::settings::{DomainAccess, Product, PurseProduct};
use super::stop::Stop;
use crate::purse::{aid_from_wire, se_from_wire};
use crate::server::Call;
use crate::stored;

/// How long a prepared session waits for its hand-over.
const PREPARED: SignedDuration = SignedDuration::from_mins(15);
/// Prepared sessions at once; more are refused.
const MOST_PREPARED: usize = 100_000;
/// Card numbers that are tried before an order is given up.
const NUMBERS_TRIED: usize = 8;

/// What was answered, and the sessions that wait for their hand-over.
#[derive(Default)]
pub(super) struct Prepared(Mutex<HashMap<OperationId, PreparedOperation>>);

struct PreparedOperation {
    reply: PreOperationReply,
    session: Option<Box<dyn PendingSession>>,
    at: Timestamp,
}

impl Prepared {
    fn reply(&self, operation: OperationId) -> Option<PreOperationReply> {
        self.with(|prepared| prepared.get(&operation).map(|known| known.reply.clone()))
    }

    fn keep(&self, operation: OperationId, prepared: PreparedOperation) -> Result<(), Problem> {
        self.with(|all| {
            let now = prepared.at;
            all.retain(|_, known| now.duration_since(known.at) < PREPARED);
            if all.len() >= MOST_PREPARED {
                return Err(ProblemCode::TooManyRequests.into());
            }
            all.insert(operation, prepared);
            Ok(())
        })
    }

    /// The session of an operation, once.
    pub(super) fn take_session(&self, operation: OperationId) -> Option<Box<dyn PendingSession>> {
        self.with(|prepared| prepared.get_mut(&operation)?.session.take())
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<OperationId, PreparedOperation>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Consents or refuses.
pub(super) async fn pre_operation(
    tsm: Arc<SpTsm>,
    call: Call<Caller, PreOperationRequest>,
) -> Result<PreOperationReply, Problem> {
    call.caller.require_se_tsm()?;
    let request = call.request;
    if let Some(reply) = tsm.prepared.reply(request.operation) {
        return Ok(reply);
    }
    let wanted = Wanted::read(&request)?;
    let (to, decision) = match request.kind {
        OperationKind::Download => (ConsentTo::Download, tsm.consent_to_download(&wanted).await?),
        OperationKind::Delete => (ConsentTo::Deletion, tsm.consent_to_deletion(&wanted).await?),
        OperationKind::Synchronise => (ConsentTo::Absence, tsm.consent_to_absence(&wanted).await?),
        OperationKind::Personalise | OperationKind::Lock | OperationKind::Unlock => {
            return Err(Problem::because(
                ProblemCode::ValueRefused,
                both("Only a download or deletion needs consent.", "仅下载或删除需要授权。"),
            ));
        }
    };
    let decision = tsm.recorded(&wanted, to, decision).await?;
    match (decision, to) {
        (Err(problem), _) => Ok(PreOperationReply::Refused { problem }),
        (Ok(()), ConsentTo::Deletion | ConsentTo::Absence) => Ok(PreOperationReply::Allowed {
            domain_keys: None,
            initialize_update: None,
            way: HandoverWay::Nothing,
            moved_from: None,
        }),
        (Ok(()), ConsentTo::Download) => {
            let arrival = tsm.store.open_arrival(wanted.se, wanted.application).await;
            let arrival = arrival.map_err(|error| stored::problem(&error))?;
            tsm.prepare(request.operation, &wanted, arrival.map(|arrival| arrival.from))
        }
    }
}

/// The request in the rules' types.
struct Wanted {
    operation: OperationId,
    se: SeId,
    application: Aid,
    domain: Aid,
    number: Option<Msisdn>,
}

impl Wanted {
    fn read(request: &PreOperationRequest) -> Result<Self, Problem> {
        let malformed = |error| Problem::because(ProblemCode::MalformedRequest, error);
        let number = request.msisdn.as_deref().map(str::parse).transpose().map_err(malformed)?;
        Ok(Self {
            operation: request.operation,
            se: se_from_wire(&request.se_id)?,
            application: aid_from_wire(&request.aid)?,
            domain: aid_from_wire(&request.domain_aid)?,
            number,
        })
    }
}

type Decision = Result<(), Problem>;

impl SpTsm {
    /// Whether the conditions of a download are met (B-8.5.2.c). A purse gets its order and its number here,
    /// and keeps them through every interruption.
    async fn consent_to_download(&self, wanted: &Wanted) -> Result<Decision, Problem> {
        let Some(product) = self.settings.product(&wanted.application) else {
            return Ok(Err(ProblemCode::UnknownId.into()));
        };
        if product.domain != wanted.domain {
            return Ok(Err(Problem::because(
                ProblemCode::ProviderRefused,
                both("It belongs to another domain.", "它属于另一安全域。"),
            )));
        }
        let Some(purse) = product.purse() else { return Ok(Ok(())) };
        let arrival = self.store.open_arrival(wanted.se, wanted.application).await;
        if let Some(arrival) = arrival.map_err(|error| stored::problem(&error))? {
            return self.consent_to_arrival(&arrival, wanted.number.as_ref()).await;
        }
        let card = self.card_on(wanted.se, wanted.application).await.map_err(Stop::into_problem)?;
        match card.as_ref().map(|card| card.state) {
            // A card that is open already is only proven again: its report to the SE-TSM may have been lost.
            Some(CardState::Active | CardState::Locked) => return Ok(Ok(())),
            Some(CardState::Closing | CardState::Parked) => return Ok(Err(ProblemCode::StateForbids.into())),
            Some(CardState::Issuing | CardState::Closed) | None => {}
        }
        self.card_order(wanted.se, wanted.application, purse, wanted.number.clone(), None)
            .await
            .map(|_| Ok(()))
            .map_err(Stop::into_problem)
    }

    /// A parked card comes to a phone of the number that it was claimed for (P-5.5.4.b), or of what that rider's
    /// number is by now. The SE-TSM says to whom the phone is registered.
    async fn consent_to_arrival(
        &self,
        arrival: &Arrival,
        number: Option<&Msisdn>,
    ) -> Result<Decision, Problem> {
        let is_for = match number {
            Some(number) => self.is_for(arrival, number).await.map_err(Stop::into_problem)?,
            None => false,
        };
        if !is_for {
            let reason = both(
                "The phone that the card left is registered to another number.",
                "卡片迁出的手机注册在另一号码下。",
            );
            return Ok(Err(Problem::because(ProblemCode::NotAllowed, reason)));
        }
        Ok(match arrival.state {
            ArrivalState::GivingUp | ArrivalState::Cleared => Err(being_given_up()),
            _ => Ok(()),
        })
    }

    /// The order to open a card: the one that is under way, or a new one with a number of its own.
    pub(super) async fn card_order(
        &self,
        se: SeId,
        application: Aid,
        purse: &PurseProduct,
        number: Option<Msisdn>,
        order: Option<OrderId>,
    ) -> Result<CardOrder, Stop> {
        if let Some(open) = self.store.open_card_order(se, application).await? {
            return Ok(open);
        }
        let order = order.unwrap_or_else(|| OrderId::generate(&*self.environment.entropy));
        for _ in 0..NUMBERS_TRIED {
            // Drawn at random, so that no counter is shared by all cards.
            let own = u64::from_be_bytes(self.environment.random()) % 100_000_000_000;
            let card = purse.number(own).map_err(|_| ProblemCode::Internal)?;
            let row = CardOrder {
                order,
                se,
                number: number.clone(),
                application,
                card,
                state: CardOrderState::Accepted,
                created_at: self.now(),
            };
            let note = self.note(card, "card-ordered", &serde_json::json!({ "order": order }));
            let with = With { notes: vec![note], ..With::default() };
            if let CardOrdered::Accepted(order) = self.store.order_card(row, with).await? {
                return Ok(order);
            }
        }
        Err(ProblemCode::Unavailable.into())
    }

    /// Whether the conditions of a deletion are met (B-8.5.3.b): nothing of value goes with it.
    async fn consent_to_deletion(&self, wanted: &Wanted) -> Result<Decision, Problem> {
        if self.settings.product(&wanted.application).is_none() {
            return Ok(Err(ProblemCode::UnknownId.into()));
        }
        let arrival = self.store.open_arrival(wanted.se, wanted.application).await;
        match arrival.map_err(|error| stored::problem(&error))?.map(|arrival| arrival.state) {
            // The card stays at the centre, and what is here has proved that it is not the card.
            Some(ArrivalState::Cleared) => return Ok(Ok(())),
            Some(ArrivalState::GivingUp) => {
                let reason = both(
                    "What is here of the card has not proved what it holds; give the migration up once more.",
                    "此处的卡片尚未证实其内容，请再次放弃迁移。",
                );
                return Ok(Err(Problem::because(ProblemCode::ValueRemains, reason)));
            }
            Some(ArrivalState::Writing) => {
                let reason = both(
                    "A card is being written here; continue, or give the migration up first.",
                    "正在写入卡片，请继续，或先放弃迁移。",
                );
                return Ok(Err(Problem::because(ProblemCode::ValueRemains, reason)));
            }
            Some(_) | None => {}
        }
        let card = self.card_on(wanted.se, wanted.application).await.map_err(Stop::into_problem)?;
        let Some(card) = card else { return Ok(Ok(())) };
        let open = self.store.open_top_ups(card.card).await.map_err(|error| stored::problem(&error))?;
        if !open.is_empty() {
            return Ok(Err(Problem::because(
                ProblemCode::ValueRemains,
                both("A paid top-up is still open.", "尚有已支付的充值未完成。"),
            )));
        }
        if let Some(closing) = card.open_closing()
            && card.state == CardState::Parked
        {
            let reason = format!("The centre does not have the card's data yet ({}).", closing.operation);
            return Ok(Err(Problem::because(ProblemCode::ValueRemains, reason)));
        }
        Ok(match card.held_value() {
            HeldValue::None | HeldValue::Settled => Ok(()),
            HeldValue::Unsettled(balance) => Err(Problem::because(
                ProblemCode::ValueRemains,
                both(
                    format!("The card is not closed, and last proved {balance} yuan."),
                    format!("卡片未退卡，最近证实余额 {balance} 元。"),
                ),
            )),
            HeldValue::Unknown => Err(Problem::because(
                ProblemCode::ValueRemains,
                both("Its balance is not known.", "其余额未知。"),
            )),
        })
    }

    /// Whether something ends when the SE-TSM sees that an application is not on the card: a migration that is
    /// being given up, of a card whose own domain cannot prove it.
    async fn consent_to_absence(&self, wanted: &Wanted) -> Result<Decision, Problem> {
        let arrival = self.store.open_arrival(wanted.se, wanted.application).await;
        let arrival = arrival.map_err(|error| stored::problem(&error))?;
        let waits =
            |arrival: Arrival| matches!(arrival.state, ArrivalState::GivingUp | ArrivalState::Cleared);
        if arrival.is_some_and(waits) {
            return Ok(Ok(()));
        }
        let reason = both("Nothing waits for that word.", "没有等待该证实的事项。");
        Ok(Err(Problem::because(ProblemCode::StateForbids, reason)))
    }

    /// Keeps the decision, and gives the one that was kept for the same operation before.
    async fn recorded(
        &self,
        wanted: &Wanted,
        to: ConsentTo,
        decision: Decision,
    ) -> Result<Decision, Problem> {
        let consent = Consent {
            conversation: ConversationId::from_uuid(wanted.operation.0),
            se: wanted.se,
            application: wanted.application,
            to,
            refused: decision.as_ref().err().map(|problem| problem.message_en.clone()),
            at: self.now(),
            result: None,
            server: self.siblings.as_ref().map(|siblings| siblings.here().to_owned()),
        };
        let kept = self.store.record_consent(consent).await.map_err(|error| stored::problem(&error))?;
        if kept.se != wanted.se || kept.application != wanted.application {
            return Err(Problem::because(
                ProblemCode::Duplicate,
                both("The operation is about something else.", "该操作针对其他内容。"),
            ));
        }
        Ok(match (kept.refused, decision) {
            (None, _) => Ok(()),
            (Some(reason), Err(problem)) if problem.message_en == reason => Err(problem),
            (Some(reason), _) => Err(Problem::because(ProblemCode::ProviderRefused, reason)),
        })
    }

    /// Prepares the channel that the SP-TSM will open.
    fn prepare(
        &self,
        operation: OperationId,
        wanted: &Wanted,
        moved_from: Option<SeId>,
    ) -> Result<PreOperationReply, Problem> {
        let product = self.settings.product(&wanted.application).ok_or(ProblemCode::UnknownId)?;
        let prepared = self.prepared(product, wanted, moved_from).map_err(Stop::into_problem)?;
        let reply = prepared.reply.clone();
        self.prepared.keep(operation, prepared)?;
        Ok(reply)
    }

    fn prepared(
        &self,
        product: &Product,
        wanted: &Wanted,
        moved_from: Option<SeId>,
    ) -> Result<PreparedOperation, Stop> {
        let keys = product.access.as_ref().map(|access| self.domain_keys(access, wanted)).transpose()?;
        let session = match (&product.access, product.way) {
            (Some(access), HandoverWay::LoadAndPersonalise | HandoverWay::Personalise) => {
                Some(self.keys.begin_session(access.session(wanted.domain, wanted.se))?)
            }
            (_, HandoverWay::Nothing) | (None, _) => None,
        };
        let command = session.as_ref().map(|session| session.initialize_update().to_bytes());
        let command = command.transpose().map_err(|_| ProblemCode::Internal)?;
        let reply = PreOperationReply::Allowed {
            domain_keys: keys,
            initialize_update: command.map(HexBytes),
            way: product.way,
            moved_from: moved_from.map(|se| se.as_bytes().into()),
        };
        Ok(PreparedOperation { reply, session, at: self.now() })
    }

    /// The domain's keys on this SE under the shared KEK: the SE-TSM can put them, and cannot read them.
    fn domain_keys(&self, access: &DomainAccess, wanted: &Wanted) -> Result<WrappedKeySet, Stop> {
        let set = self.keys.export_domain_keys(&access.keys(wanted.domain, wanted.se), &access.kek)?;
        let keys = [set.enc, set.mac, set.dek].into_iter().map(|key| {
            let algorithm = match key.algorithm {
                tsm_keys::KeyAlgorithm::TripleDes => KeyAlgorithm::TripleDes,
                tsm_keys::KeyAlgorithm::Aes128 => KeyAlgorithm::Aes128,
                tsm_keys::KeyAlgorithm::Aes192 => KeyAlgorithm::Aes192,
                tsm_keys::KeyAlgorithm::Aes256 => KeyAlgorithm::Aes256,
                tsm_keys::KeyAlgorithm::Sm4
                | tsm_keys::KeyAlgorithm::EcdsaP256
                | tsm_keys::KeyAlgorithm::Sm2
                | tsm_keys::KeyAlgorithm::Rsa => return Err(Stop::from(ProblemCode::Internal)),
            };
            let check_value = HexBytes(key.check_value.0.to_vec());
            Ok(WrappedKey { algorithm, wrapped: HexBytes(key.value.0), check_value })
        });
        Ok(WrappedKeySet {
            key_version: access.key_version,
            kek: access.kek.to_string(),
            keys: keys.collect::<Result<_, _>>()?,
        })
    }
}

/// Why nothing is written where a migration is being given up.
pub(super) fn being_given_up() -> Problem {
    let reason = both(
        "The migration is being given up; go on with that, and order it again.",
        "迁移正在放弃，请完成放弃后重新申请。",
    );
    Problem::because(ProblemCode::StateForbids, reason)
}
