//! Registration (W-6.1, P-5.5.2): the secure element proves itself, gets its TOKEN, and is bound.
//!
//! ```text
//! start | SELECT, INITIALIZE UPDATE | EXTERNAL AUTHENTICATE, observe | STORE DATA 2F14, 1047 | registered
//! ```
//!
//! The TOKEN is on the card before the binding is stored: a break in between leaves no half registration
//! at the platform, and the next attempt writes a TOKEN anew.

use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::tz::TimeZone;
use tsm_api::HexBytes;
use tsm_api::conversation::{ConversationReply, IfBusy, Outcome, OutcomeDetail, Stage};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::TaskId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::wallet::{Agreement, RegistrationRequest};
use tsm_card::registration::BindingData;
use tsm_card::script::Script;
use tsm_card::write_registration::WritingRegistration;
use tsm_domain::application::SubscriberState;
use tsm_domain::bytes::HexBytes as DomainBytes;
use tsm_domain::se::SeStanding;
use tsm_domain::se::{Batch, Binding, NumberChange, SeRecord};
use tsm_domain::se_application::{PersoOnSe, SeState};
use tsm_domain::subscription::{Subscription, SubscriptionState};
use tsm_domain::user::{
    Login, LoginQuestion, Lost, NumberState, OtherNumber, SeBinding, SealedToken, TokenRecord, decide_login,
};
use tsm_domain::{Msisdn, SeId};
use tsm_storage::se_tsm::{ApplicationOnSe, BindingFrom, Registered, Registration};
use tsm_storage::shared::WalletRights;
use zeroize::Zeroizing;

use super::SeTsm;
use super::access::Caller;
use super::convert::se_id;
use super::number_change::is_change;
use super::stop::{Stop, field, forbidden, keyed, stored};
use super::work::{Known, Work, note};
use crate::conversation::{Ending, Session, Start};
use crate::server::Call;

/// The longest digest of an IMSI that is written into a card.
const LONGEST_DIGEST: usize = 64;

/// GET /wallet/v1/agreement
pub(super) async fn agreement(tsm: Arc<SeTsm>, _call: Call<Caller, Nothing>) -> Result<Agreement, Problem> {
    Ok(tsm.settings.agreement.clone())
}

/// POST /wallet/v1/registrations
pub(super) async fn register(
    tsm: Arc<SeTsm>,
    call: Call<Caller, RegistrationRequest>,
) -> Result<ConversationReply, Problem> {
    let request = call.request;
    if request.agreement_version != tsm.settings.agreement.version {
        return Err(ProblemCode::AgreementRequired.into());
    }
    let se = se_id(&request.se_id)?;
    let asked = Asked {
        number: request.msisdn.as_deref().map(str::parse).transpose().map_err(field)?,
        imsi_digest: request.imsi_digest.map(|digest| digest.0).unwrap_or_default(),
        agreement: (request.agreement_version, request.accepted_at),
    };
    if asked.imsi_digest.len() > LONGEST_DIGEST {
        return Err(field("The digest of the IMSI is too long."));
    }
    let batch = tsm.store.batch_of(se).await.map_err(stored)?.ok_or(ProblemCode::BatchUnknown)?;
    let record = match tsm.store.se(se).await.map_err(stored)? {
        Some(record) => record,
        None => SeRecord::new(se, &batch),
    };
    let from = may_register(&tsm, &batch, &record, asked.number.as_ref()).await?;
    let flow_tsm = tsm.clone();
    let start = Start {
        se,
        request: request.request,
        task: TaskId(tsm.environment.uuid()),
        operation: "register",
        if_busy: IfBusy::Replace,
        flow: Box::new(move |session| run(flow_tsm, session, record, asked, from).boxed()),
    };
    tsm.engine.start(start).await
}

/// What the wallet asks for.
struct Asked {
    number: Option<Msisdn>,
    imsi_digest: Vec<u8>,
    agreement: (String, jiff::Timestamp),
}

/// Table S.5, as far as it concerns a registration.
async fn may_register(
    tsm: &SeTsm,
    batch: &Batch,
    record: &SeRecord,
    number: Option<&Msisdn>,
) -> Result<BindingFrom, Problem> {
    // The user's own number, whatever the carrier says of the one before.
    let seen_from = if pending_change(record, number).is_some() { None } else { number };
    let question = LoginQuestion {
        lost: if record.standing == SeStanding::Lost { Lost::Yes } else { Lost::No },
        kind: batch.kind,
        binding: binding_seen_from(tsm, record, seen_from).await.map_err(stop_to_problem)?,
    };
    let bound = record.binding.as_ref().map(|binding| binding.number.clone());
    match (decide_login(question), bound) {
        (Login::LockAndRefuse, _) => Err(ProblemCode::OnLossList.into()),
        (Login::StickOnRefused, _) => {
            Err(forbidden(both("A stick-on card is not registered.", "贴片卡不可注册。")))
        }
        (Login::QueryOnly { .. }, _) => Err(ProblemCode::BoundElsewhere.into()),
        (Login::RegisterOver { .. }, Some(old)) => Ok(BindingFrom::Number(old)),
        (Login::RegisterOver { .. }, None) | (Login::Complete { .. } | Login::Register, _) => {
            Ok(BindingFrom::Nobody)
        }
    }
}

/// The change of number that a wallet without its TOKEN completes by registering under the new one (P-5.5.5).
fn pending_change(record: &SeRecord, number: Option<&Msisdn>) -> Option<(Binding, NumberChange)> {
    let (binding, change) = record.binding.clone().zip(record.number_change.clone())?;
    (number == Some(&change.to) && binding.number == change.from).then_some((binding, change))
}

/// To whom a secure element is bound, seen from a number.
pub(super) async fn binding_seen_from(
    tsm: &SeTsm,
    record: &SeRecord,
    number: Option<&Msisdn>,
) -> Result<SeBinding, Stop> {
    let Some(binding) = &record.binding else { return Ok(SeBinding::Nobody) };
    let subscriptions = tsm.store.subscriptions_of(record.se).await?;
    let of_bound = subscriptions.iter().filter(|subscription| subscription.number == binding.number);
    let (subscribed, cancelled): (Vec<_>, Vec<_>) =
        of_bound.partition(|subscription| subscription.is_active());
    let on_se: Vec<_> = tsm.store.applications_on(record.se).await?;
    let still_there = |aid: &tsm_iso7816::Aid| {
        on_se.iter().any(|app| app.application == *aid && app.record.state != SeState::Ready)
    };
    let aids = |list: Vec<&tsm_domain::subscription::Subscription>| -> Vec<_> {
        list.into_iter()
            .filter(|subscription| !matches!(subscription.state, SubscriptionState::Ended(_)))
            .map(|subscription| subscription.what.aid())
            .filter(|aid| still_there(aid))
            .collect()
    };
    let mut leftovers = aids(cancelled);
    leftovers.extend(moved_away(&on_se, &subscriptions));
    if number.is_none_or(|number| *number == binding.number) {
        return Ok(SeBinding::ThisNumber { leftovers });
    }
    let known = tsm.store.number(&binding.number).await?;
    let state = match known.map(|known| known.state) {
        Some(SubscriberState::Cancelled) => NumberState::Cancelled,
        Some(SubscriberState::InNetwork | SubscriberState::Suspended | SubscriberState::Unknown) | None => {
            NumberState::InNetwork
        }
    };
    Ok(SeBinding::Other(OtherNumber { state, subscribed: aids(subscribed), leftovers }))
}

/// Applications whose subscription has gone to another secure element of the same user (P-5.5.4.a): what is
/// here of them is left behind, and their provider has the last word about its deletion.
fn moved_away<'a>(
    on_se: &'a [ApplicationOnSe],
    subscriptions: &'a [Subscription],
) -> impl Iterator<Item = tsm_iso7816::Aid> + 'a {
    // A download that broke off has data that were never complete, or none.
    let was_in_use = |app: &&ApplicationOnSe| {
        let in_use = matches!(app.record.state, SeState::Useable | SeState::Locked);
        in_use || app.record.perso_on_se == PersoOnSe::Void
    };
    let is_subscribed = |app: &ApplicationOnSe| {
        let mut open = subscriptions
            .iter()
            .filter(|subscription| !matches!(subscription.state, SubscriptionState::Ended(_)));
        open.any(|subscription| subscription.what.aid() == app.application)
    };
    on_se.iter().filter(was_in_use).filter(move |app| !is_subscribed(app)).map(|app| app.application)
}

async fn run(tsm: Arc<SeTsm>, session: Session, record: SeRecord, asked: Asked, from: BindingFrom) -> Ending {
    let mut work = Work::new(tsm, session, record.se);
    match work.register(record, asked, from).await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

impl Work {
    async fn register(&mut self, record: SeRecord, asked: Asked, from: BindingFrom) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 10);
        // Nothing is stored of a secure element that has not proved itself.
        let known = Known::of(&self.tsm, record.clone()).await?;
        let issuer = super::card_access::issuer_session(&known.batch, &self.se)?;
        let mut script = Script::new();
        let mut channel = tsm_card::open_channel::open_channel(
            &mut self.session.card,
            &*self.tsm.keys,
            &issuer,
            &mut script,
        )
        .await?;
        let observation = tsm_card::observe::observe(
            &mut self.session.card,
            &mut channel,
            tsm_card::observe::ObservationScope::Card,
            script,
        )
        .await?;
        let inventory = self.believed(&observation, &channel, &known)?;
        let pending = pending_change(&record, asked.number.as_ref());
        self.tsm.store.add_se(record).await?;
        self.session.progress.say(Stage::Writing, 60);
        let (token, sealed) = new_token(&self.tsm, &self.se)?;
        if let Some(number) = &asked.number {
            let binding = BindingData { token: token.clone(), imsi_digest: asked.imsi_digest.clone() };
            let mut script = Script::new();
            let form = self.tsm.token_form();
            let writing = WritingRegistration::add(&mut channel, number, &binding, form, &mut script)?;
            let mut answers = script.run(&mut self.session.card).await?;
            writing.take(&mut channel, &mut answers)?;
        }
        self.session.progress.say(Stage::Closing, 90);
        let change = self.reconciled(&known, inventory);
        self.commit(change).await?;
        if let Some((binding, change)) = pending {
            // The card holds the new number now; what the user has stays the user's.
            let earlier = known.open.iter().filter(|intention| is_change(intention)).cloned().collect();
            self.bind_to_new(binding, change, earlier).await?;
        }
        let record = self.bind(asked, from, sealed).await?;
        let session = self.tsm.open_wallet_session(&record, WalletRights::Full).await?;
        Ok(Outcome::done(OutcomeDetail::Registered {
            token: HexBytes(token.to_vec()),
            session: session.id.to_string(),
        }))
    }

    async fn bind(&self, asked: Asked, from: BindingFrom, token: TokenRecord) -> Result<SeRecord, Stop> {
        let (version, accepted_at) = asked.agreement;
        let detail = serde_json::json!({ "agreement": version, "accepted_at": accepted_at.to_string() });
        let registration = Registration {
            se: self.se,
            number: asked.number,
            from,
            token,
            at: self.tsm.now(),
            notes: vec![note(self.se, "wallet", "registered", &detail, self.tsm.now())],
        };
        match self.tsm.store.register_se(registration).await? {
            Registered::Done(record) => Ok(record),
            Registered::BoundTo(_) => Err(ProblemCode::BoundElsewhere.into()),
        }
    }
}

/// A TOKEN of today, and the same sealed for the store (P-5.5.2.s, t).
pub(super) fn new_token(tsm: &SeTsm, se: &SeId) -> Result<(Zeroizing<Vec<u8>>, TokenRecord), Problem> {
    let (token, sealed) = sealed_token(tsm, se)?;
    Ok((token, TokenRecord::new(sealed)))
}

/// A TOKEN of today, sealed.
pub(super) fn sealed_token(tsm: &SeTsm, se: &SeId) -> Result<(Zeroizing<Vec<u8>>, SealedToken), Problem> {
    let date = tsm.now().to_zoned(TimeZone::UTC).date();
    let text = date.strftime("%Y%m%d").to_string();
    let token = tsm.keys.binding_token(&tsm.settings.token_key, se, &text).map_err(keyed)?;
    let sealed = tsm.keys.seal(&tsm.settings.sealing_key, se.as_bytes(), &*token).map_err(keyed)?;
    Ok((Zeroizing::new(token.to_vec()), SealedToken { sealed: DomainBytes(sealed.0), date }))
}

pub(super) fn stop_to_problem(stop: Stop) -> Problem {
    match stop {
        Stop::Refused(problem) => problem,
        Stop::Storage(error) => stored(error),
        Stop::Card(error) => Problem::because(ProblemCode::Internal, error),
    }
}
