//! Loading and installing through the issuer domain.

use std::collections::BTreeMap;
use std::sync::Arc;

use tsm_capfile::{CapFile, Descriptor};
use tsm_card::delete::Deleting;
use tsm_card::download::{Download, Downloading};
use tsm_card::error::ProcedureError;
use tsm_card::extradite::{Extraditing, Extradition};
use tsm_card::install::{Installing, NewInstance, make_selectable};
use tsm_card::observe::{ObservationScope, Observing};
use tsm_card::plan::{ExtraditionNeed, InstancePlan, WantedApplication, WantedInstance, WantedLoadFile};
use tsm_domain::application::{LoadFileRecord, dependency_order};
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::StatusWord;

use super::*;

/// The application as the plan wants it: load files in the order of their dependencies.
pub(super) async fn wanted(
    tsm: &SeTsm,
    application: &tsm_domain::application::Application,
) -> Result<WantedApplication, Stop> {
    let known: BTreeMap<Aid, LoadFileRecord> = tsm
        .store
        .applications()
        .await?
        .into_iter()
        .flat_map(|known| known.value.load_files)
        .map(|file| (file.aid, file))
        .collect();
    let order = dependency_order(&application.load_files, &known)
        .map_err(|error| Problem::because(ProblemCode::DependencyMissing, error))?;
    let load_files = order.iter().map(|file| WantedLoadFile {
        aid: file.aid,
        version: None,
        domain: file.domain,
        code_bytes: file.code_space,
    });
    let instances = application.load_files.iter().flat_map(|file| {
        file.modules.iter().flat_map(|module| &module.instances).map(|instance| WantedInstance {
            aid: instance.aid,
            load_file: file.aid,
            data_bytes: instance.data_space,
        })
    });
    Ok(WantedApplication {
        domain: application.domain,
        load_files: load_files.collect(),
        instances: instances.collect(),
    })
}

pub(super) const fn is_present(plan: &InstancePlan) -> bool {
    matches!(plan, InstancePlan::Present(_))
}

/// What belongs to a domain, for the SP-TSM that goes on.
pub(super) fn domain_view(inventory: &Inventory, domain: &Aid) -> DomainObservation {
    let own = inventory.belonging_to(domain);
    let mut view =
        DomainObservation { free_bytes: Some(inventory.free.data), ..DomainObservation::default() };
    for entry in own.chain(inventory.entry(domain)) {
        match entry.kind {
            MirrorKind::LoadFile => view.load_files.push(entry.aid.into()),
            MirrorKind::Application | MirrorKind::SecurityDomain | MirrorKind::IssuerDomain => {
                view.applications
                    .push(ObservedApplication { aid: entry.aid.into(), life_cycle: entry.life_cycle });
            }
        }
    }
    view
}

/// The view of a domain that was made or personalised since the observation.
pub(super) fn with_domain(mut view: DomainObservation, domain: &Aid) -> DomainObservation {
    let aid: HexBytes = (*domain).into();
    view.applications.retain(|entry| entry.aid != aid);
    // GPC 2.3.1 table 11-5: PERSONALIZED.
    view.applications.push(ObservedApplication { aid, life_cycle: 0x0F });
    view
}

/// Commands of a content list whose answers are still to come. They are taken in the order of adding.
enum Awaited {
    Deleting(Deleting),
    Downloading(Downloading),
    Installing(Installing),
    Extraditing(Extraditing),
    Associating(Ticket),
}

impl Awaited {
    fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        match self {
            Self::Deleting(deleting) => deleting.take(channel, answers).map(drop),
            Self::Downloading(downloading) => downloading.take(channel, answers).map(drop),
            Self::Installing(installing) => installing.take(channel, answers).map(drop),
            Self::Extraditing(extraditing) => extraditing.take(channel, answers).map(drop),
            Self::Associating(ticket) => channel.take(answers, &ticket).map(drop),
        }
    }
}

impl Work {
    /// Loads and installs what is missing in one list, observes, and opens the SP-TSM's session behind it
    /// where one is needed.
    pub(super) async fn manage_content(
        &mut self,
        step: &Step<'_>,
        mut channel: SecureChannel,
        mut script: Script,
    ) -> Result<(Option<ResponseApdu>, DomainObservation), Stop> {
        let aid = step.question.application.aid;
        self.session.progress.say(Stage::Loading, 50);
        self.intend(Intended::Download(aid)).await?;
        let gathered = self.gather(step, &mut channel, &mut script).await?;
        let observing = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
        let provider = step
            .consent
            .initialize_update
            .as_ref()
            .map(|apdu| provider_opening(step.domain_aid(), apdu, &mut script));
        let mut answers = script.run(&mut self.session.card).await?;
        for awaited in gathered {
            awaited.take(&mut channel, &mut answers)?;
        }
        let known = Known::load(&self.tsm, self.se).await?;
        let (observation, known) =
            self.take_observation(observing, &mut channel, &mut answers, known).await?;
        self.session.progress.say(Stage::Installing, 75);
        let inventory = mirror(&observation, &known.batch);
        self.installed(step, &known, &inventory).await?;
        let answer = provider.map(|ticket| answers.take_one(&ticket)).transpose()?;
        Ok((answer, domain_view(&inventory, &step.domain_aid())))
    }

    async fn gather(
        &self,
        step: &Step<'_>,
        channel: &mut SecureChannel,
        script: &mut Script,
    ) -> Result<Vec<Awaited>, Stop> {
        let mut awaited = Vec::new();
        if !step.plan.deletions.is_empty() {
            awaited.push(Awaited::Deleting(Deleting::add(channel, &step.plan.deletions, script)?));
        }
        for aid in &step.plan.loads {
            let download = self.load_file(step, aid).await?;
            awaited.push(Awaited::Downloading(Downloading::add(channel, &download, script)?));
        }
        for (plan, wanted) in step.plan.instances.iter().zip(&step.wanted.instances) {
            awaited.extend(gather_instance(step, plan, wanted, channel, script)?);
        }
        Ok(awaited)
    }

    /// A load file, ready to be sent. Its content is found by its SHA-256, so a changed one is not loaded.
    async fn load_file(&self, step: &Step<'_>, aid: &Aid) -> Result<Download, Stop> {
        let catalogue = &step.known.catalogue;
        let mut all = catalogue.iter().flat_map(|application| &application.load_files);
        let file = all.find(|file| file.aid == *aid).ok_or(ProblemCode::DependencyMissing)?;
        let cap = self.tsm.store.blob(file.sha256).await?.ok_or(ProblemCode::Internal)?;
        let cap = CapFile::parse(&cap).map_err(|error| Problem::because(ProblemCode::CapRefused, error))?;
        let block: Arc<[u8]> = cap.load_file_data_block(Descriptor::Omit).into();
        let own = (file.domain != step.known.batch.issuer_domain).then_some(file.domain);
        Ok(Download {
            security_domain: own,
            code_bytes: Some(file.code_space),
            ..Download::new(file.aid, block)
        })
    }
}

fn gather_instance(
    step: &Step<'_>,
    plan: &InstancePlan,
    wanted: &WantedInstance,
    channel: &mut SecureChannel,
    script: &mut Script,
) -> Result<Vec<Awaited>, Stop> {
    let extradition = |object| Extradition { object, to: step.domain_aid(), token: Vec::new() };
    let extradite =
        |aid, channel: &mut SecureChannel, script: &mut Script| -> Result<Awaited, ProcedureError> {
            Ok(Awaited::Extraditing(Extraditing::add(channel, &extradition(aid), script)?))
        };
    Ok(match plan {
        InstancePlan::Present(_) => Vec::new(),
        InstancePlan::MakeSelectable(aid) => {
            vec![Awaited::Installing(Installing::add(channel, make_selectable(*aid), script)?)]
        }
        InstancePlan::Extradite(aid) => vec![extradite(*aid, channel, script)?],
        InstancePlan::Install { instance, extradition: need } => {
            let new = new_instance(step, wanted)?;
            let mut awaited = vec![Awaited::Installing(Installing::add(channel, new.command(), script)?)];
            match need {
                ExtraditionNeed::Extradite => awaited.push(extradite(*instance, channel, script)?),
                // Cards differ: a new instance belongs to the domain of its load file, or to the one that
                // installed it. Where it is in its domain already, the card may refuse to move it.
                ExtraditionNeed::None if step.domain_aid() != step.known.batch.issuer_domain => {
                    let refusals = [StatusWord::CONDITIONS_NOT_SATISFIED, StatusWord::WRONG_DATA];
                    let command = extradition(*instance).command().or(&refusals);
                    awaited.push(Awaited::Associating(channel.add(script, vec![command])?));
                }
                ExtraditionNeed::None => {}
            }
            awaited
        }
    })
}

fn new_instance(step: &Step<'_>, wanted: &WantedInstance) -> Result<NewInstance, Stop> {
    let files = &step.question.application.load_files;
    let found = files.iter().find_map(|file| {
        file.modules.iter().find_map(|module| {
            let instance = module.instances.iter().find(|instance| instance.aid == wanted.aid)?;
            Some((file.aid, module.aid, instance))
        })
    });
    let (load_file, module, instance) = found.ok_or(ProblemCode::Internal)?;
    let privileges = match instance.privileges.0.as_slice() {
        [] => Privileges::NONE,
        bytes => Privileges::parse(bytes).map_err(|_| Problem::new(ProblemCode::Internal))?,
    };
    Ok(NewInstance {
        privileges,
        parameters: instance.parameters.0.clone(),
        ..NewInstance::new(load_file, module, wanted.aid)
    })
}
