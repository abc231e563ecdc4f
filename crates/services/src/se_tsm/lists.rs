//! What can be downloaded, deleted, locked and unlocked now (table S.2).

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::problem::Problem;
use tsm_api::se_tsm::wallet::{ListedApplication, OperationLists};
use tsm_domain::application::{Application, ApplicationKind};
use tsm_domain::se_application::shown_in;

use super::SeTsm;
use super::access::Caller;
use super::convert::state_to_wire;
use super::eligibility::Question;
use super::registration::stop_to_problem;
use super::stop::Stop;
use super::tickets::Allows;
use super::work::Known;
use crate::server::Call;

/// GET /wallet/v1/lists
pub(super) async fn lists(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<OperationLists, Problem> {
    let se = call.caller.full_wallet()?.se;
    let known = Known::load(&tsm, se).await.map_err(stop_to_problem)?;
    let mut lists = OperationLists::default();
    for application in known.catalogue.iter().filter(|known| known.kind == ApplicationKind::Application) {
        let state = known.on_se(application, tsm.now()).record.state;
        let shown = shown_in(state, application.opening);
        let listed = |allows| -> Result<ListedApplication, Problem> {
            Ok(ListedApplication {
                aid: application.aid.into(),
                name: application.names.en.clone(),
                state: state_to_wire(state),
                ticket: tsm.ticket(&se, &application.aid, allows)?,
            })
        };
        if shown.download && may_download(&tsm, &known, application).await.map_err(stop_to_problem)? {
            lists.download.push(listed(Allows::Download)?);
        }
        if shown.deletion {
            lists.delete.push(listed(Allows::Delete)?);
        }
        if shown.lock {
            lists.lock.push(listed(Allows::Lock)?);
        }
        if shown.unlock {
            lists.unlock.push(listed(Allows::Unlock)?);
        }
    }
    Ok(lists)
}

async fn may_download(tsm: &SeTsm, known: &Known, application: &Application) -> Result<bool, Stop> {
    let question = Question::of(tsm, application.clone()).await?;
    match question.check(tsm, known).await {
        Ok(()) => Ok(true),
        Err(Stop::Refused(_)) => Ok(false),
        Err(other) => Err(other),
    }
}
