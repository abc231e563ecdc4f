//! A user's number changes (P-5.5.5): the staff records what the carrier reports, and the card is given the new
//! number at the hall's terminal, or at the user's next login.
//!
//! ```text
//! staff   | the change is durable; the binding stays
//! contact | SELECT, INITIALIZE UPDATE | EXTERNAL AUTHENTICATE, observe | GET DATA 2F14
//!         | the writing is intended, durable
//!         | STORE DATA 2F14, GET DATA 2F14 | bound, with subscriptions, and the notices to the SP-TSMs
//! ```
//!
//! A wallet that has lost its TOKEN registers under the new number instead, which completes the change too.
//!
//! A cut anywhere leaves the change under way. The next contact asks the card: one that shows the new number
//! under its MAC is bound to it, and any other is written. The TOKEN counts as before.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::json;
use tsm_api::conversation::{ConversationReply, Outcome, OutcomeDetail, Stage, StartOptions};
use tsm_api::ids::TaskId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::operator::{ElementRecord, NumberChange as WireChange};
use tsm_card::observe::{Observed as Seen, Trust};
use tsm_card::open_channel::SecureChannel;
use tsm_card::script::Script;
use tsm_card::write_registration::{ReadingNumber, WritingRegistration};
use tsm_domain::application::SubscriberState;
use tsm_domain::se::{Binding, NumberChange, SeStanding};
use tsm_domain::{Msisdn, SeId};
use tsm_storage::se_tsm::{
    Intended, Intention, NumberChangeOrdered, NumberPurpose, NumberRecord, Outcome as Settled, SeChange,
};

use super::access::Caller;
use super::stop::{Stop, field, stored};
use super::work::{Known, Work, note};
use super::{SeTsm, notices};
use crate::conversation::{Ending, Session, Start};
use crate::server::Call;

/// POST /operator/v1/elements/{se_id}/number-change
pub(super) async fn change(
    tsm: Arc<SeTsm>,
    call: Call<Caller, WireChange>,
) -> Result<ElementRecord, Problem> {
    let record = tsm.found_element(&call).await?;
    let person = call.caller.person()?;
    let number = |text: &str| text.parse::<Msisdn>().map_err(field);
    let since = tsm.now();
    let change = NumberChange { from: number(&call.request.old)?, to: number(&call.request.new)?, since };
    tsm.may_hold(&change.to).await?;
    let notes = vec![note(record.se, person.id().as_str(), "number-change-ordered", &json!({}), since)];
    let ordered = tsm.store.order_number_change(record.se, change, notes).await.map_err(stored)?;
    let NumberChangeOrdered::Accepted(record) = ordered else {
        return Err(ProblemCode::BoundElsewhere.into());
    };
    tsm.audit(person.id(), "number-change", &json!({ "se": record.se.to_string() })).await?;
    tsm.element_to_wire(record).await
}

/// POST /operator/v1/elements/{se_id}/number-change/conversations
pub(super) async fn write(
    tsm: Arc<SeTsm>,
    call: Call<Caller, StartOptions>,
) -> Result<ConversationReply, Problem> {
    let record = tsm.found_element(&call).await?;
    let person = call.caller.person()?;
    if record.standing == SeStanding::Lost {
        return Err(ProblemCode::OnLossList.into());
    }
    if record.number_change.is_none() {
        return Err(Problem::because(
            ProblemCode::StateForbids,
            both("No change of its number is under way.", "没有正在进行的换号。"),
        ));
    }
    let se = record.se;
    tsm.audit(person.id(), "number-written-at-hall", &json!({ "se": se.to_string() })).await?;
    let flow_tsm = tsm.clone();
    let start = Start {
        se,
        request: call.request.request,
        task: TaskId(tsm.environment.uuid()),
        operation: "change number",
        if_busy: call.request.if_busy,
        flow: Box::new(move |session| run(flow_tsm, session, se).boxed()),
    };
    tsm.engine.start(start).await
}

/// The flow.
pub(super) async fn run(tsm: Arc<SeTsm>, session: Session, se: SeId) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.change_number().await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

impl SeTsm {
    /// The carrier has given the number to a user: what is known of an earlier one does not count any more.
    async fn may_hold(&self, number: &Msisdn) -> Result<(), Problem> {
        let known = self.store.number(number).await.map_err(stored)?;
        let state = SubscriberState::InNetwork;
        let known = known.unwrap_or(NumberRecord {
            number: number.clone(),
            state,
            province: None,
            purpose: NumberPurpose::Customer,
        });
        self.store.put_number(NumberRecord { state, ..known }).await.map_err(stored)
    }
}

impl Work {
    async fn change_number(&mut self) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 10);
        let known = Known::load(&self.tsm, self.se).await?;
        if known.record.number_change.is_none() {
            return Err(ProblemCode::StateForbids.into());
        }
        let mut observed = self.observe(known).await?;
        let record = observed.known.record.clone();
        let (Some(change), Some(binding)) = (record.number_change, record.binding) else {
            return Err(ProblemCode::StateForbids.into());
        };
        let channel = &mut observed.channel;
        let mut script = Script::new();
        let reading = ReadingNumber::add(channel, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        let seen = reading.take(channel, &mut answers)?;
        let earlier = observed.known.open.into_iter();
        let earlier: Vec<_> = earlier.filter(is_change).collect();
        if !shows(seen.as_ref(), &change.to) {
            self.write_number(channel, &change.to).await?;
        }
        self.session.progress.say(Stage::Closing, 90);
        self.bind_to_new(binding, change, earlier).await
    }

    /// Writes the number, and has the card show it.
    async fn write_number(&mut self, channel: &mut SecureChannel, number: &Msisdn) -> Result<(), Stop> {
        self.intend(Intended::ChangeNumber(number.clone())).await?;
        self.session.progress.say(Stage::Writing, 60);
        let mut script = Script::new();
        let writing = WritingRegistration::add_number(channel, number, &mut script)?;
        let reading = ReadingNumber::add(channel, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        writing.take(channel, &mut answers)?;
        let seen = reading.take(channel, &mut answers)?;
        // A card without R-MAC cannot prove it; nothing of value rests on its word.
        if shows(seen.as_ref(), number) || seen.is_some_and(|seen| seen.value == *number) {
            return Ok(());
        }
        Err(Problem::because(
            ProblemCode::CardUnproven,
            both("The card does not show the new number.", "卡片上没有新号码。"),
        )
        .into())
    }

    /// The binding follows the card, with all that goes by the number.
    pub(super) async fn bind_to_new(
        &mut self,
        binding: Binding,
        change: NumberChange,
        earlier: Vec<Intention>,
    ) -> Result<Outcome, Stop> {
        let now = self.tsm.now();
        let former = binding.number.clone();
        let binding = binding.renumbered(change.to.clone(), now);
        let subscriptions = self.tsm.store.subscriptions_of(self.se).await?.into_iter();
        let own = subscriptions.filter(|subscription| subscription.number == former);
        let settled = earlier.into_iter().map(|intention| {
            let done = intention.what == Intended::ChangeNumber(change.to.clone());
            Intention { outcome: if done { Settled::Done } else { Settled::NotDone }, ..intention }
        });
        let mut stored = SeChange {
            renumbered: Some(binding.clone()),
            subscriptions: own.map(|subscription| subscription.renumbered(change.to.clone())).collect(),
            intentions: settled.collect(),
            deliveries: notices::number_changed(&self.tsm, self.se, &binding).await?,
            notes: vec![self.note("number-changed", &json!({ "ordered": change.since.to_string() }))],
            ..SeChange::default()
        };
        self.settle(Settled::Done, &mut stored);
        // Whoever has a session under the old number logs in again.
        self.tsm.store.end_sessions_of(self.se).await?;
        self.commit(stored).await?;
        self.tsm.outbox.kick();
        Ok(Outcome::done(OutcomeDetail::NumberChanged { msisdn: change.to.to_string() }))
    }
}

/// Whether an intention is about the number.
pub(super) const fn is_change(intention: &Intention) -> bool {
    matches!(intention.what, Intended::ChangeNumber(_))
}

/// Whether the card has proved that it holds this number.
fn shows(seen: Option<&Seen<Msisdn>>, number: &Msisdn) -> bool {
    seen.is_some_and(|seen| seen.trust == Trust::Proven && seen.value == *number)
}
