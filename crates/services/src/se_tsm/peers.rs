//! What SP-TSMs tell: results, open and unsubscribe notices; and what they ask: a state.
//!
//! Each word is taken once (`words.rs`): repeating it finds its work done and changes nothing.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::{Notice, OperationKind, OperationResult, PeerGreeting, StateQuery, StateReply};
use tsm_domain::se_application::SeState;
use tsm_domain::{ConversationId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::Intended;

use super::SeTsm;
use super::access::Caller;
use super::convert::{aid, se_id, state_to_wire};
use super::stop::stored;
use super::words::Word;
use crate::server::Call;

/// GET /peer/v1/self
pub(super) async fn whoami(_tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<PeerGreeting, Problem> {
    match call.caller {
        Caller::Peer(provider) => {
            Ok(PeerGreeting { institution: provider.id.to_string(), name: provider.basic.name })
        }
        Caller::Anyone | Caller::Wallet(_) | Caller::Person(_) => {
            Err(ProblemCode::PeerCertificateRequired.into())
        }
    }
}

/// POST /peer/v1/states
pub(super) async fn state(tsm: Arc<SeTsm>, call: Call<Caller, StateQuery>) -> Result<StateReply, Problem> {
    let (se, aid) = tsm.own_application(&call.caller, &call.request.se_id, &call.request.aid).await?;
    // After a hand-over only the provider's word, or a look at the card, says what is on it.
    let open = tsm.store.open_intentions(se).await.map_err(stored)?;
    if open.iter().any(|intention| matches!(intention.what, Intended::HandOver(_))) {
        return Err(ProblemCode::OutcomeUnknown.into());
    }
    tsm.state_reply(se, aid).await
}

/// POST /peer/v1/results
pub(super) async fn result(
    tsm: Arc<SeTsm>,
    call: Call<Caller, OperationResult>,
) -> Result<StateReply, Problem> {
    let report = call.request;
    let (se, aid) = tsm.own_application(&call.caller, &report.se_id, &report.aid).await?;
    let id = ConversationId::from_uuid(report.operation.0);
    let conversation = tsm.store.conversation(id).await.map_err(stored)?;
    if let Some(conversation) = &conversation
        && conversation.se != se
    {
        return Err(ProblemCode::UnknownId.into());
    }
    // A download must have been handed over by us; locks and the like begin at the SP-TSM (B-8.5.4).
    if conversation.is_none() && matches!(report.kind, OperationKind::Download | OperationKind::Delete) {
        return Err(ProblemCode::UnknownId.into());
    }
    tsm.take_word(se, aid, Word::Result(report)).await?;
    tsm.state_reply(se, aid).await
}

/// POST /peer/v1/open-notices
pub(super) async fn open_notice(tsm: Arc<SeTsm>, call: Call<Caller, Notice>) -> Result<StateReply, Problem> {
    let (se, aid) = tsm.own_application(&call.caller, &call.request.se_id, &call.request.aid).await?;
    tsm.take_word(se, aid, Word::Opened(call.request)).await?;
    tsm.state_reply(se, aid).await
}

/// POST /peer/v1/unsubscribe-notices
pub(super) async fn unsubscribe_notice(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Notice>,
) -> Result<StateReply, Problem> {
    let (se, aid) = tsm.own_application(&call.caller, &call.request.se_id, &call.request.aid).await?;
    tsm.take_word(se, aid, Word::Unsubscribed(call.request)).await?;
    tsm.state_reply(se, aid).await
}

impl SeTsm {
    /// The secure element and application that an SP-TSM names; of others' it learns nothing.
    async fn own_application(
        &self,
        caller: &Caller,
        se: &tsm_api::HexBytes,
        wanted: &tsm_api::HexBytes,
    ) -> Result<(SeId, Aid), Problem> {
        let provider = caller.provider_id()?;
        let (se, wanted) = (se_id(se)?, aid(wanted)?);
        let application = self.store.application(wanted).await.map_err(stored)?;
        let own = application.is_some_and(|found| found.value.provider == provider);
        let known = self.store.se(se).await.map_err(stored)?.is_some();
        if own && known { Ok((se, wanted)) } else { Err(ProblemCode::UnknownId.into()) }
    }

    async fn state_reply(&self, se: SeId, aid: Aid) -> Result<StateReply, Problem> {
        let on_se = self.store.applications_on(se).await.map_err(stored)?;
        let state = on_se.iter().find(|on_se| on_se.application == aid).map(|on_se| on_se.record.state);
        Ok(StateReply { state: state_to_wire(state.unwrap_or(SeState::Ready)) })
    }
}
