//! The catalogue (W-6.4.1, W-6.4.2): lists, details, and a ticket for what can be installed.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::wallet::{
    ApplicationDetails, CatalogueEntry, CatalogueList, CataloguePage, CatalogueQuery, Companion,
    InstallationCondition,
};
use tsm_domain::application::{Application, ApplicationKind};
use tsm_domain::se_application::SeState;

use super::SeTsm;
use super::access::Caller;
use super::convert::{aid, state_to_wire};
use super::eligibility::Question;
use super::login::is_installed;
use super::registration::stop_to_problem;
use super::stop::{Stop, stored};
use super::tickets::Allows;
use super::work::Known;
use crate::server::Call;

/// An application with how many secure elements hold it.
struct Ranked {
    application: Application,
    holders: u64,
}

/// GET /wallet/v1/applications
pub(super) async fn page(
    tsm: Arc<SeTsm>,
    call: Call<Caller, CatalogueQuery>,
) -> Result<CataloguePage, Problem> {
    let se = call.caller.wallet()?.se;
    let query = call.request;
    let known = Known::load(&tsm, se).await.map_err(stop_to_problem)?;
    let shown = tsm.visible(&known).await?;
    let shown = in_order(shown, &query);
    let size = tsm.settings.page_size.max(1);
    let pages = shown.len().div_ceil(size).max(1);
    let first = (query.page as usize).saturating_mul(size);
    let most = shown.iter().map(|ranked| ranked.holders).max().unwrap_or(0);
    let mut entries = Vec::new();
    for ranked in shown.into_iter().skip(first).take(size) {
        entries.push(tsm.entry(&known, ranked, most).await.map_err(stop_to_problem)?);
    }
    Ok(CataloguePage { entries, page: query.page, pages: u32::try_from(pages).unwrap_or(u32::MAX) })
}

/// GET /wallet/v1/applications/{aid}
pub(super) async fn details(
    tsm: Arc<SeTsm>,
    call: Call<Caller, Nothing>,
) -> Result<ApplicationDetails, Problem> {
    let parameter: String = call.parameter()?;
    let se = call.caller.wallet()?.se;
    let wanted = hex::decode(parameter).map_err(|_| ProblemCode::UnknownId)?;
    let wanted = aid(&wanted.into()).map_err(|_| ProblemCode::UnknownId)?;
    let known = Known::load(&tsm, se).await.map_err(stop_to_problem)?;
    let shown = tsm.visible(&known).await?;
    let most = shown.iter().map(|ranked| ranked.holders).max().unwrap_or(0);
    let ranked =
        shown.into_iter().find(|ranked| ranked.application.aid == wanted).ok_or(ProblemCode::UnknownId)?;
    let (application, holders) = (ranked.application.clone(), ranked.holders);
    let provider = tsm.store.provider(&application.provider).await.map_err(stored)?;
    let entry = tsm.entry(&known, ranked, most).await.map_err(stop_to_problem)?;
    Ok(ApplicationDetails {
        entry,
        version: application.version.software.clone(),
        introduction: application.description.en.clone(),
        size_bytes: application.space.code.saturating_add(application.space.data),
        released_at: application.released_at.unwrap_or_default(),
        provider: provider.map(|provider| provider.value.basic.name).unwrap_or_default(),
        downloads: holders,
        class: application.industry.clone(),
        companion: application.companion_url.clone().map(|url| Companion { package: String::new(), url }),
    })
}

/// The list that was asked for, in its order; names break ties so that every page is the same twice.
fn in_order(mut shown: Vec<Ranked>, query: &CatalogueQuery) -> Vec<Ranked> {
    match query.list {
        CatalogueList::Recommendation => {
            shown.retain(|ranked| ranked.application.recommended.is_some());
            shown.sort_by_key(|ranked| (ranked.application.recommended, ranked.application.aid));
        }
        CatalogueList::Latest => {
            shown.sort_by_key(|ranked| {
                (std::cmp::Reverse(ranked.application.released_at), ranked.application.aid)
            });
        }
        CatalogueList::Hottest => {
            shown.sort_by_key(|ranked| (std::cmp::Reverse(ranked.holders), ranked.application.aid));
        }
        CatalogueList::Classification => {
            if let Some(class) = &query.class {
                shown.retain(|ranked| ranked.application.industry == *class);
            }
            shown.sort_by(|a, b| {
                (&a.application.industry, a.application.aid)
                    .cmp(&(&b.application.industry, b.application.aid))
            });
        }
    }
    shown
}

impl SeTsm {
    /// The applications that this user may see now.
    async fn visible(&self, known: &Known) -> Result<Vec<Ranked>, Problem> {
        let test_numbers = self.store.test_numbers().await.map_err(stored)?;
        let number = known.record.binding.as_ref().map(|binding| &binding.number);
        let mut shown = Vec::new();
        for application in &known.catalogue {
            let admitted = application.kind == ApplicationKind::Application
                && application.state.admits(number, &test_numbers, &application.users)
                && application.batches.has(&known.batch.id);
            if admitted {
                let holders = self.store.application_holders(application.aid).await.map_err(stored)?;
                shown.push(Ranked { application: application.clone(), holders });
            }
        }
        Ok(shown)
    }

    async fn entry(&self, known: &Known, ranked: Ranked, most: u64) -> Result<CatalogueEntry, Stop> {
        let Ranked { application, holders } = ranked;
        let condition = self.condition(known, &application).await?;
        let ticket = match condition {
            InstallationCondition::NotInstalled
            | InstallationCondition::Interrupted { .. }
            | InstallationCondition::Updatable => {
                Some(self.ticket(&known.record.se, &application.aid, Allows::Download)?)
            }
            InstallationCondition::Installed | InstallationCondition::NotEligible { .. } => None,
        };
        // Popularity is the share of the best-liked one, so that it needs no votes.
        let popularity = (holders * 100).checked_div(most).and_then(|share| u8::try_from(share).ok());
        Ok(CatalogueEntry {
            aid: application.aid.into(),
            name: application.names.en.clone(),
            icon: application.icon.clone(),
            popularity: popularity.unwrap_or(0),
            charging: application.charging.clone(),
            condition,
            ticket,
        })
    }

    /// Whether an application can be installed on this secure element (W-6.4.1.g).
    async fn condition(
        &self,
        known: &Known,
        application: &Application,
    ) -> Result<InstallationCondition, Stop> {
        let on_se = known.on_se(application, self.now());
        if is_installed(&on_se.record) {
            let newest = on_se.version == application.version.software;
            return Ok(if newest {
                InstallationCondition::Installed
            } else {
                InstallationCondition::Updatable
            });
        }
        let question = Question::of(self, application.clone()).await?;
        match question.check(self, known).await {
            Ok(()) if on_se.record.state == SeState::Ready => Ok(InstallationCondition::NotInstalled),
            Ok(()) => Ok(InstallationCondition::Interrupted { state: state_to_wire(on_se.record.state) }),
            Err(Stop::Refused(problem)) => Ok(InstallationCondition::NotEligible { problem }),
            Err(other) => Err(other),
        }
    }
}
