//! Renewing an expired TOKEN (P-5.5.2.u). The new one is durable before it is written, and the record keeps
//! both until the card shows which it has: a cut in between leaves one valid TOKEN.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::problem::ProblemCode;
use tsm_card::registration::BindingData;
use tsm_card::script::Script;
use tsm_card::write_registration::WritingRegistration;
use tsm_domain::SeId;
use tsm_domain::user::Matched;
use tsm_storage::se_tsm::{Intended, Outcome as Settled, SeChange};

use super::SeTsm;
use super::registration::sealed_token;
use super::stop::Stop;
use super::work::{Known, Work};
use crate::conversation::{Ending, Session};

pub(super) async fn run(tsm: Arc<SeTsm>, session: Session, se: SeId) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.renew_token().await {
        Ok(outcome) => outcome.into(),
        Err(stop) => work.stopped(stop),
    }
}

impl Work {
    async fn renew_token(&mut self) -> Result<Outcome, Stop> {
        self.session.progress.say(Stage::Observing, 10);
        let known = Known::load(&self.tsm, self.se).await?;
        let number = known.record.binding.as_ref().map(|binding| binding.number.clone());
        let number = number.ok_or(ProblemCode::NotRegistered)?;
        let mut observed = self.observe(known).await?;
        let (token, sealed) = sealed_token(&self.tsm, &self.se)?;
        let record = self.tsm.store.token(self.se).await?.ok_or(ProblemCode::NotRegistered)?.renewing(sealed);
        let change = SeChange { token: Some(record.clone()), ..SeChange::default() };
        self.intend_with(Intended::WriteRegistration, change).await?;
        self.session.progress.say(Stage::Writing, 60);
        let binding = BindingData { token: token.clone(), imsi_digest: Vec::new() };
        let mut script = Script::new();
        let form = self.tsm.token_form();
        let writing = WritingRegistration::add(&mut observed.channel, &number, &binding, form, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        writing.take(&mut observed.channel, &mut answers)?;
        let mut change = SeChange { token: Some(record.confirmed(Matched::Renewal)), ..SeChange::default() };
        change.notes.push(self.note("token-renewed", &serde_json::json!({})));
        self.settle(Settled::Done, &mut change);
        self.commit(change).await?;
        Ok(Outcome::done(OutcomeDetail::TokenRenewed { token: HexBytes(token.to_vec()) }))
    }
}
