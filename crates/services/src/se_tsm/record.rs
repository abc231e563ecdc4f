//! From an observation to the record: what is believed, what changes, what is an incident.

use tsm_api::problem::{Problem, ProblemCode};
use tsm_card::observe::{Observation, Trust};
use tsm_domain::application::{Application, Space};
use tsm_domain::card::LockChange;
use tsm_domain::se::{
    Batch, Difference, Inventory, MirrorEntry, MirrorKind, Presence, presence, reconcile_application,
};
use tsm_domain::se_application::SeState;
use tsm_domain::security_domain::{DomainDefinition, DomainOnSe, DomainState};
use tsm_domain::{IncidentId, SeId};
use tsm_globalplatform::life_cycle::LifeCycle;
use tsm_iso7816::Aid;
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, Intention, Outcome, SeChange};
use tsm_storage::shared::Incident;

use super::notices;
use crate::runtime::Environment;

/// What is recorded about a secure element now, as far as an observation touches it.
pub(super) struct Recorded<'a> {
    pub se: SeId,
    pub applications: &'a [ApplicationOnSe],
    pub domains: &'a [DomainOnSe],
    pub open: &'a [Intention],
    pub catalogue: &'a [Application],
}

/// The card's registry as the platform mirrors it.
pub(super) fn mirror(observation: &Observation, batch: &Batch) -> Inventory {
    let issuer = MirrorEntry {
        aid: batch.issuer_domain,
        kind: MirrorKind::IssuerDomain,
        life_cycle: observation.card_life_cycle.as_ref().map_or(0, |state| state.value.value()),
        privileges: [0x9E, 0xFE, 0x80],
        load_file: None,
        domain: None,
        modules: Vec::new(),
    };
    let applications = observation.applications.value.iter().map(|entry| MirrorEntry {
        aid: entry.aid,
        kind: match entry.life_cycle {
            LifeCycle::SecurityDomain(_) => MirrorKind::SecurityDomain,
            LifeCycle::Card(_) | LifeCycle::LoadFile(_) | LifeCycle::Application(_) => {
                MirrorKind::Application
            }
        },
        life_cycle: entry.life_cycle.value(),
        privileges: entry.privileges.to_bytes(),
        load_file: entry.load_file,
        domain: entry.security_domain,
        modules: Vec::new(),
    });
    let load_files = observation.load_files.value.iter().map(|entry| MirrorEntry {
        aid: entry.aid,
        kind: MirrorKind::LoadFile,
        life_cycle: entry.life_cycle.value(),
        privileges: [0; 3],
        load_file: None,
        domain: entry.security_domain,
        modules: entry.modules.clone(),
    });
    let free = observation.resources.as_ref().map_or_else(Space::default, |resources| Space {
        code: resources.value.free_non_volatile,
        data: resources.value.free_non_volatile,
        volatile: resources.value.free_volatile,
    });
    Inventory { free, entries: std::iter::once(issuer).chain(applications).chain(load_files).collect() }
        .sorted()
}

/// The inventory with a domain that the card was just seen to take its owner's keys into.
pub(super) fn with_domain(mut inventory: Inventory, definition: &DomainDefinition, issuer: Aid) -> Inventory {
    inventory.entries.retain(|entry| entry.aid != definition.aid);
    inventory.entries.push(MirrorEntry {
        aid: definition.aid,
        kind: MirrorKind::SecurityDomain,
        // GPC 2.3.1 table 11-5: PERSONALIZED.
        life_cycle: 0x0F,
        privileges: definition.privileges(),
        load_file: Some(definition.load_file),
        domain: Some(issuer),
        modules: Vec::new(),
    });
    inventory.sorted()
}

/// The inventory with an application that its SP-TSM reports installed; the next observation has the last
/// word. The free space is what it was less what the application takes (P-5.8.7.1.c).
pub(super) fn with_application(mut inventory: Inventory, application: &Application) -> Inventory {
    let files = application.load_files.iter().map(|file| MirrorEntry {
        aid: file.aid,
        kind: MirrorKind::LoadFile,
        life_cycle: 0x01,
        privileges: [0; 3],
        load_file: None,
        domain: Some(file.domain),
        modules: file.modules.iter().map(|module| module.aid).collect(),
    });
    let instances = application.load_files.iter().flat_map(|file| {
        let instances = file.modules.iter().flat_map(|module| &module.instances);
        instances.map(|instance| MirrorEntry {
            aid: instance.aid,
            kind: MirrorKind::Application,
            // SELECTABLE
            life_cycle: 0x07,
            privileges: instance.privileges.0.as_slice().try_into().unwrap_or([0; 3]),
            load_file: Some(file.aid),
            domain: Some(application.domain),
            modules: Vec::new(),
        })
    });
    let new: Vec<MirrorEntry> = files.chain(instances).collect();
    inventory.entries.retain(|entry| new.iter().all(|other| other.aid != entry.aid));
    inventory.entries.extend(new);
    inventory.free = inventory.free.less(application.space);
    inventory.sorted()
}

/// Whether a card's answers carry its MAC in this session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    /// They do: what does not is somebody else's word.
    Offered,
    /// The card has no R-MAC: its answers are taken as they are, and nothing of value rests on them.
    NotOffered,
}

/// Refuses an observation that takes something away without the card's own word. An empty registry is
/// answered by a status word alone, which carries no MAC: it is believed only where it contradicts nothing
/// that is recorded, where a proven list shows that the code is gone too, or where the card's own count of
/// applications is zero.
pub(super) fn believe(observation: &Observation, recorded: &Inventory, proof: Proof) -> Result<(), Problem> {
    if proof == Proof::NotOffered {
        return Ok(());
    }
    let seen_file = |aid: &Aid| observation.load_file(aid).is_some();
    let files_proven = observation.load_files.trust == Trust::Proven;
    let lost_files = entries(recorded, MirrorKind::LoadFile).any(|entry| !seen_file(&entry.aid));
    let lost_instances = entries(recorded, MirrorKind::Application)
        .chain(entries(recorded, MirrorKind::SecurityDomain))
        .filter(|entry| observation.application(&entry.aid).is_none())
        .any(|entry| !files_proven || entry.load_file.is_none_or(|file| seen_file(&file)));
    let applications_proven = observation.applications.trust == Trust::Proven || none_installed(observation);
    if (lost_files && !files_proven) || (lost_instances && !applications_proven) {
        return Err(Problem::because(
            ProblemCode::CardUnproven,
            "What is recorded was said to be gone, without the card's own word.",
        ));
    }
    Ok(())
}

/// Whether the card itself says that no instance of the application is there, under its MAC.
pub(super) fn proves_absence(application: &Application, observation: &Observation) -> bool {
    let is_gone = |aid: &Aid| observation.proves_absence(aid);
    none_installed(observation)
        || (is_gone(&application.aid) && application.instances().all(|instance| is_gone(&instance.aid)))
}

/// An empty list is proven by the card's own count of what is installed (FF21, tag 81).
fn none_installed(observation: &Observation) -> bool {
    observation.applications.value.is_empty()
        && observation
            .resources
            .as_ref()
            .is_some_and(|resources| resources.trust == Trust::Proven && resources.value.applications == 0)
}

fn entries(inventory: &Inventory, kind: MirrorKind) -> impl Iterator<Item = &MirrorEntry> {
    inventory.entries.iter().filter(move |entry| entry.kind == kind)
}

/// The change that brings the record to what was observed: the registry, applications, domains, intentions
/// whose outcome is visible, and an incident for each difference nobody intended.
pub(super) fn reconcile(recorded: &Recorded<'_>, observed: Inventory, environment: &Environment) -> SeChange {
    let at = environment.now();
    let mut change = SeChange { observed: Some((observed.clone(), at)), ..SeChange::default() };
    for on_se in recorded.applications {
        let Some(application) = recorded.catalogue.iter().find(|known| known.aid == on_se.application) else {
            continue;
        };
        let seen = seen_as(on_se, presence(application, &observed));
        let reconciled = reconcile_application(on_se.application, on_se.record, seen);
        let locked_for =
            on_se.locked_for.filter(|_| locked_instances(application, &observed).next().is_some());
        if (reconciled.application, locked_for) == (on_se.record, on_se.locked_for) {
            continue;
        }
        change.applications.push(ApplicationOnSe {
            record: reconciled.application,
            changed_at: at,
            locked_for,
            ..on_se.clone()
        });
        let intended = recorded.open.iter().any(|intention| concerns(&intention.what, &on_se.application));
        if let Some(difference) = reconciled.incident.filter(|_| !intended) {
            change.incidents.push(incident(recorded.se, &difference, environment));
        }
    }
    reconcile_domains(recorded, &observed, at, &mut change);
    for intention in recorded.open {
        let Some(outcome) = outcome_of(&intention.what, recorded.catalogue, &observed) else { continue };
        let settled = Intention { outcome, ..intention.clone() };
        // Its provider consented to the deletion and waits for the word of it.
        change.deliveries.extend(notices::deleted(recorded.se, &settled, recorded.catalogue, at));
        change.intentions.push(settled);
    }
    change
}

/// An application that is locked by its provider looks in a registry as if it were not.
fn seen_as(on_se: &ApplicationOnSe, seen: Presence) -> Presence {
    match (seen, on_se.record.state) {
        (Presence::Instantiated, SeState::Locked) if is_locked_by_provider(on_se) => Presence::Locked,
        _ => seen,
    }
}

/// Whether its provider said last that it has locked it.
pub(super) fn is_locked_by_provider(on_se: &ApplicationOnSe) -> bool {
    on_se.reported_lock == Some(LockChange::Lock)
}

/// The instances of an application that a registry shows as locked.
pub(super) fn locked_instances<'a>(
    application: &'a Application,
    observed: &'a Inventory,
) -> impl Iterator<Item = Aid> + 'a {
    let instances = application.instances().map(|instance| instance.aid);
    instances.filter(|aid| observed.entry(aid).is_some_and(|entry| entry.life_cycle & LOCKED != 0))
}

fn reconcile_domains(
    recorded: &Recorded<'_>,
    observed: &Inventory,
    at: jiff::Timestamp,
    change: &mut SeChange,
) {
    for known in recorded.domains {
        match observed.entry(&known.aid) {
            None => change.removed_domains.push(known.aid),
            Some(entry) => {
                let state = domain_state(entry.life_cycle);
                if state != known.state {
                    change.domains.push(DomainOnSe { state, ..*known });
                }
            }
        }
    }
    for entry in entries(observed, MirrorKind::SecurityDomain) {
        if recorded.domains.iter().all(|known| known.aid != entry.aid) {
            let created = DomainOnSe::created(entry.aid, 0, at);
            change.domains.push(DomainOnSe { state: domain_state(entry.life_cycle), ..created });
        }
    }
}

// GPC 2.3.1 11.1.1: the highest bit of a life cycle says that it is locked.
const LOCKED: u8 = 0x80;

// GPC 2.3.1 11.1.1 table 11-5.
const fn domain_state(life_cycle: u8) -> DomainState {
    match life_cycle {
        locked if locked & LOCKED != 0 => DomainState::Locked,
        0x0F => DomainState::Personalized,
        _ => DomainState::Created,
    }
}

fn concerns(what: &Intended, aid: &Aid) -> bool {
    match what {
        Intended::Download(application)
        | Intended::Personalise(application)
        | Intended::Delete(application, _)
        | Intended::Lock(application)
        | Intended::Unlock(application) => application == aid,
        Intended::HandOver(_) => true,
        Intended::CreateDomain(_)
        | Intended::ReplaceKeys { .. }
        | Intended::DeleteDomain(_)
        | Intended::WriteRegistration
        | Intended::ChangeNumber(_) => false,
    }
}

/// What a registry tells about an intention; `None` where it tells nothing.
fn outcome_of(what: &Intended, catalogue: &[Application], observed: &Inventory) -> Option<Outcome> {
    let done = |done| Some(if done { Outcome::Done } else { Outcome::NotDone });
    let seen =
        |aid: &Aid| catalogue.iter().find(|known| known.aid == *aid).map(|known| presence(known, observed));
    match what {
        Intended::CreateDomain(domain) => done(observed.entry(domain).is_some()),
        Intended::ReplaceKeys { domain, .. } => {
            // A personalised domain has its owner's keys; one that is not may have them or not.
            let entry = observed.entry(domain)?;
            (domain_state(entry.life_cycle) == DomainState::Personalized).then_some(Outcome::Done)
        }
        Intended::Download(application) => done(seen(application)? == Presence::Instantiated),
        Intended::Delete(application, _) => {
            done(matches!(seen(application)?, Presence::Absent | Presence::Loaded))
        }
        Intended::DeleteDomain(domain) => done(observed.entry(domain).is_none()),
        Intended::Lock(application) => done(seen(application)? == Presence::Locked),
        Intended::Unlock(application) => done(seen(application)? == Presence::Instantiated),
        // Whatever the provider did, its applications are on the card now or they are not.
        Intended::HandOver(provider) => {
            let mut own = catalogue.iter().filter(|known| known.provider == *provider);
            done(own.any(|known| presence(known, observed) == Presence::Instantiated))
        }
        Intended::Personalise(_) | Intended::WriteRegistration | Intended::ChangeNumber(_) => None,
    }
}

fn incident(se: SeId, difference: &Difference, environment: &Environment) -> Incident {
    let text = match difference {
        Difference::ApplicationState { application, record, card } => {
            format!("Application {application} was recorded as {record:?} and the card shows {card:?}.")
        }
        Difference::OnlyOnCard(entry) => format!("{} is on the card and was not recorded.", entry.aid),
        Difference::OnlyInRecord(entry) => format!("{} was recorded and is not on the card.", entry.aid),
        Difference::Changed { record, .. } => format!("{} is not as it was recorded.", record.aid),
    };
    Incident {
        id: IncidentId::generate(&*environment.entropy),
        se: Some(se),
        card: None,
        kind: "reconciliation".to_owned(),
        text,
        at: environment.now(),
        closed: None,
    }
}
