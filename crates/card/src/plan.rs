//! What is missing on a card, from an observation and an application (P-5.8.4.1.1.f, P-5.8.7.2.a,
//! P-5.8.8.c; D-3, D-43). Pure: the same observation and application give the same plan.
//!
//! Complete load files, domains and instances are kept; an unfinished LOAD left nothing in the
//! registry and begins again at block 0; residue of another version is deleted first.

use tsm_globalplatform::life_cycle::{ApplicationLifeCycle, LifeCycle, SecurityDomainLifeCycle};
use tsm_globalplatform::registry::ApplicationEntry;
use tsm_iso7816::Aid;

use crate::delete::Deletion;
use crate::observe::Observation;

/// An application that should be on the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedApplication {
    /// The security domain that it will belong to.
    pub domain: Aid,
    /// Its load files in the order of loading: extensions before what depends on them (P-5.8.4.1.1.e).
    pub load_files: Vec<WantedLoadFile>,
    /// Its instances.
    pub instances: Vec<WantedInstance>,
}

/// A load file of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLoadFile {
    /// Its AID.
    pub aid: Aid,
    /// Its version as the card's registry shows it; none when any will do.
    pub version: Option<Vec<u8>>,
    /// The domain that it is loaded into.
    pub domain: Aid,
    /// The non-volatile bytes that its code takes.
    pub code_bytes: u32,
}

/// An instance of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedInstance {
    /// Its AID.
    pub aid: Aid,
    /// The load file that it is made from.
    pub load_file: Aid,
    /// The non-volatile bytes that it takes.
    pub data_bytes: u32,
}

/// What to do with the remains of a download that stopped (D-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResiduePolicy {
    /// Keep what is complete and of the right version, and go on from there (P-5.8.7.2.a).
    #[default]
    Resume,
    /// Delete everything of an incomplete application and begin again (P-5.8.8.c).
    DeleteFirst,
}

/// What is missing, in the order of doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What has to happen to the security domain.
    pub domain: DomainPlan,
    /// What has to be deleted first.
    pub deletions: Vec<Deletion>,
    /// Load files to load.
    pub loads: Vec<Aid>,
    /// What has to happen to each instance, in the order of the application.
    pub instances: Vec<InstancePlan>,
    /// The non-volatile bytes that all of it takes.
    pub bytes_needed: u64,
}

/// What has to happen to the security domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainPlan {
    /// Nothing: it is there and personalised.
    Ready,
    /// It is there with its initial keys: replace them, set it to PERSONALIZED.
    ReplaceKeys,
    /// It is locked, and nothing can be done in it.
    Locked,
    /// It is not there.
    Create,
}

/// What has to happen to one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstancePlan {
    /// Nothing.
    Present(Aid),
    /// It is installed and not yet selectable.
    MakeSelectable(Aid),
    /// It belongs to another domain and has to be extradited.
    Extradite(Aid),
    /// It is not there; install it, and extradite it if its load file belongs to another domain.
    Install {
        /// The instance.
        instance: Aid,
        /// Whether it has to change its domain after that.
        extradition: ExtraditionNeed,
    },
}

/// Whether an instance has to change its domain after its installation (P-5.8.4.1.1.g).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraditionNeed {
    /// Its load file belongs to the same domain.
    None,
    /// It is installed where its load file is, and extradited then.
    Extradite,
}

/// How the card's free space compares with what the plan takes (P-5.8.4.1.2.b).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It fits.
    Fits,
    /// It does not.
    TooSmall {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The card does not say how much is free.
    Unknown,
}

impl Plan {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.domain == DomainPlan::Ready
            && self.deletions.is_empty()
            && self.loads.is_empty()
            && self.instances.iter().all(|instance| matches!(instance, InstancePlan::Present(_)))
    }

    /// Whether the observed free space suffices, before anything of the plan is deleted.
    pub fn fit(&self, observation: &Observation) -> Fit {
        let Some(resources) = &observation.resources else { return Fit::Unknown };
        let free = u64::from(resources.value.free_non_volatile);
        if self.bytes_needed <= free { Fit::Fits } else { Fit::TooSmall { needed: self.bytes_needed, free } }
    }
}

/// What is missing of `wanted` on the card of `observation`.
pub fn plan(observation: &Observation, wanted: &WantedApplication, policy: ResiduePolicy) -> Plan {
    let deletions = residue(observation, wanted, policy);
    let gone = |aid: &Aid| deletions.iter().any(|deletion| deletes(observation, deletion, aid));
    let missing: Vec<&WantedLoadFile> = wanted
        .load_files
        .iter()
        .filter(|file| observation.load_file(&file.aid).is_none() || gone(&file.aid))
        .collect();
    let instances: Vec<InstancePlan> = wanted
        .instances
        .iter()
        .map(|instance| {
            let entry = observation.application(&instance.aid).filter(|_| !gone(&instance.aid));
            plan_instance(entry, instance, wanted)
        })
        .collect();
    let code: u64 = missing.iter().map(|file| u64::from(file.code_bytes)).sum();
    let data: u64 = wanted
        .instances
        .iter()
        .zip(&instances)
        .filter(|(_, plan)| matches!(plan, InstancePlan::Install { .. }))
        .map(|(instance, _)| u64::from(instance.data_bytes))
        .sum();
    Plan {
        domain: plan_domain(observation, &wanted.domain),
        loads: missing.iter().map(|file| file.aid).collect(),
        instances,
        bytes_needed: code + data,
        deletions,
    }
}

fn plan_domain(observation: &Observation, domain: &Aid) -> DomainPlan {
    if observation.domain == *domain {
        return DomainPlan::Ready;
    }
    match observation.application(domain).map(|entry| entry.life_cycle) {
        None => DomainPlan::Create,
        Some(LifeCycle::SecurityDomain(SecurityDomainLifeCycle::Personalized)) => DomainPlan::Ready,
        Some(LifeCycle::SecurityDomain(SecurityDomainLifeCycle::Locked { .. })) => DomainPlan::Locked,
        Some(
            LifeCycle::SecurityDomain(
                SecurityDomainLifeCycle::Installed | SecurityDomainLifeCycle::Selectable,
            )
            | LifeCycle::Card(_)
            | LifeCycle::LoadFile(_)
            | LifeCycle::Application(_),
        ) => DomainPlan::ReplaceKeys,
    }
}

fn plan_instance(
    entry: Option<&ApplicationEntry>,
    instance: &WantedInstance,
    wanted: &WantedApplication,
) -> InstancePlan {
    let Some(entry) = entry else {
        let loaded_into = wanted.load_files.iter().find(|file| file.aid == instance.load_file);
        let extradition = match loaded_into {
            Some(file) if file.domain != wanted.domain => ExtraditionNeed::Extradite,
            Some(_) | None => ExtraditionNeed::None,
        };
        return InstancePlan::Install { instance: instance.aid, extradition };
    };
    if entry.life_cycle == LifeCycle::Application(ApplicationLifeCycle::Installed) {
        return InstancePlan::MakeSelectable(instance.aid);
    }
    match entry.security_domain {
        Some(domain) if domain != wanted.domain => InstancePlan::Extradite(instance.aid),
        Some(_) | None => InstancePlan::Present(instance.aid),
    }
}

fn residue(observation: &Observation, wanted: &WantedApplication, policy: ResiduePolicy) -> Vec<Deletion> {
    let incomplete = wanted.instances.iter().any(|instance| observation.application(&instance.aid).is_none())
        || wanted.load_files.iter().any(|file| observation.load_file(&file.aid).is_none());
    let mut deletions = Vec::new();
    // Instances first: those of another load file under a wanted AID.
    for instance in &wanted.instances {
        let foreign = observation
            .application(&instance.aid)
            .is_some_and(|entry| entry.load_file.is_some_and(|file| file != instance.load_file));
        if foreign {
            deletions.push(Deletion::object(instance.aid));
        }
    }
    // Load files last to first, because the later ones depend on the earlier.
    for file in wanted.load_files.iter().rev() {
        let Some(found) = observation.load_file(&file.aid) else { continue };
        let other_version = match (&file.version, &found.version) {
            (Some(wanted), Some(found)) => wanted != found,
            (None, _) | (_, None) => false,
        };
        let unused = observation.instances_of(&file.aid).all(|entry| is_wanted(wanted, entry));
        let begin_again = policy == ResiduePolicy::DeleteFirst && incomplete && unused;
        if other_version || begin_again {
            deletions.push(Deletion::with_related(file.aid));
        }
    }
    deletions
}

fn is_wanted(wanted: &WantedApplication, entry: &ApplicationEntry) -> bool {
    wanted.instances.iter().any(|instance| instance.aid == entry.aid)
}

fn deletes(observation: &Observation, deletion: &Deletion, aid: &Aid) -> bool {
    let related =
        || observation.application(aid).is_some_and(|entry| entry.load_file == Some(deletion.object));
    deletion.object == *aid || (deletion.removes_related() && related())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Observed, Trust};
    use tsm_globalplatform::extended_resources::ExtendedResources;
    use tsm_globalplatform::life_cycle::LoadFileLifeCycle;
    use tsm_globalplatform::privileges::Privileges;
    use tsm_globalplatform::registry::LoadFileEntry;

    const ISD: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);
    const SSD: Aid = Aid::constant(&[0xF0, 1, 2, 3, 4, 5]);
    const FILE: Aid = Aid::constant(&[0xF0, 1, 2, 3, 4, 6]);
    const INSTANCE: Aid = Aid::constant(&[0xF0, 1, 2, 3, 4, 7]);
    const OTHER: Aid = Aid::constant(&[0xF0, 1, 2, 3, 4, 8]);

    fn card(applications: Vec<ApplicationEntry>, load_files: Vec<LoadFileEntry>) -> Observation {
        let resources = ExtendedResources { applications: 1, free_non_volatile: 10_000, free_volatile: 500 };
        Observation {
            domain: ISD,
            se_id: None,
            card_life_cycle: None,
            resources: Some(Observed { value: resources, trust: Trust::Proven }),
            keys: None,
            applications: Observed { value: applications, trust: Trust::Proven },
            load_files: Observed { value: load_files, trust: Trust::Proven },
        }
    }

    fn domain(state: SecurityDomainLifeCycle) -> ApplicationEntry {
        ApplicationEntry {
            aid: SSD,
            life_cycle: LifeCycle::SecurityDomain(state),
            privileges: Privileges::AMSD,
            implicit_selection: vec![],
            load_file: None,
            security_domain: Some(ISD),
        }
    }

    fn instance(aid: Aid, state: ApplicationLifeCycle, domain: Aid) -> ApplicationEntry {
        ApplicationEntry {
            aid,
            life_cycle: LifeCycle::Application(state),
            privileges: Privileges::NONE,
            implicit_selection: vec![],
            load_file: Some(FILE),
            security_domain: Some(domain),
        }
    }

    fn file(version: [u8; 2]) -> LoadFileEntry {
        LoadFileEntry {
            aid: FILE,
            life_cycle: LoadFileLifeCycle::Loaded,
            version: Some(version.to_vec()),
            modules: vec![],
            security_domain: Some(SSD),
        }
    }

    fn wanted() -> WantedApplication {
        WantedApplication {
            domain: SSD,
            load_files: vec![WantedLoadFile {
                aid: FILE,
                version: Some(vec![1, 0]),
                domain: SSD,
                code_bytes: 6000,
            }],
            instances: vec![WantedInstance { aid: INSTANCE, load_file: FILE, data_bytes: 2000 }],
        }
    }

    const PERSONALIZED: SecurityDomainLifeCycle = SecurityDomainLifeCycle::Personalized;
    const SELECTABLE: ApplicationLifeCycle = ApplicationLifeCycle::SELECTABLE;

    /// req: P-5.8.4.1.1.f, P-5.8.7.2.a
    #[test]
    fn only_what_is_missing_is_planned() {
        let install = InstancePlan::Install { instance: INSTANCE, extradition: ExtraditionNeed::None };
        let empty = plan(&card(vec![], vec![]), &wanted(), ResiduePolicy::Resume);
        assert_eq!((empty.domain, &empty.loads[..]), (DomainPlan::Create, &[FILE][..]));
        assert_eq!(empty.instances, std::slice::from_ref(&install));
        assert_eq!(empty.bytes_needed, 8000);

        let created = plan(
            &card(vec![domain(SecurityDomainLifeCycle::Selectable)], vec![]),
            &wanted(),
            ResiduePolicy::Resume,
        );
        assert_eq!(created.domain, DomainPlan::ReplaceKeys);

        let loaded =
            plan(&card(vec![domain(PERSONALIZED)], vec![file([1, 0])]), &wanted(), ResiduePolicy::Resume);
        assert_eq!((loaded.domain, loaded.loads.len()), (DomainPlan::Ready, 0));
        assert_eq!(loaded.instances, [install]);
        assert_eq!((loaded.bytes_needed, loaded.deletions.len()), (2000, 0));

        let installed = card(
            vec![domain(PERSONALIZED), instance(INSTANCE, ApplicationLifeCycle::Installed, SSD)],
            vec![file([1, 0])],
        );
        let installed = plan(&installed, &wanted(), ResiduePolicy::Resume);
        assert_eq!(installed.instances, [InstancePlan::MakeSelectable(INSTANCE)]);

        let complete =
            card(vec![domain(PERSONALIZED), instance(INSTANCE, SELECTABLE, SSD)], vec![file([1, 0])]);
        assert!(plan(&complete, &wanted(), ResiduePolicy::Resume).is_complete());
        assert!(plan(&complete, &wanted(), ResiduePolicy::DeleteFirst).is_complete());
    }

    /// req: P-5.8.8.c, P-5.8.7.1.d
    #[test]
    fn residue_is_deleted_first_where_it_cannot_be_resumed_or_the_policy_says_so() {
        let loaded = card(vec![domain(PERSONALIZED)], vec![file([1, 0])]);
        let again = plan(&loaded, &wanted(), ResiduePolicy::DeleteFirst);
        assert_eq!(again.deletions, [Deletion::with_related(FILE)]);
        assert_eq!(again.loads, [FILE]);

        let old = card(vec![domain(PERSONALIZED), instance(INSTANCE, SELECTABLE, SSD)], vec![file([0, 9])]);
        let upgrade = plan(&old, &wanted(), ResiduePolicy::Resume);
        assert_eq!(upgrade.deletions, [Deletion::with_related(FILE)]);
        assert_eq!(upgrade.loads, [FILE]);
        assert!(matches!(upgrade.instances[..], [InstancePlan::Install { .. }]));
    }

    #[test]
    fn another_application_on_the_same_load_file_is_never_deleted_as_residue() {
        let shared = card(vec![domain(PERSONALIZED), instance(OTHER, SELECTABLE, SSD)], vec![file([1, 0])]);
        assert!(plan(&shared, &wanted(), ResiduePolicy::DeleteFirst).deletions.is_empty());
    }

    /// req: P-5.8.4.1.1.g
    #[test]
    fn an_instance_in_the_load_files_domain_is_extradited() {
        let mut wanted = wanted();
        wanted.load_files[0].domain = ISD;
        let loaded = card(vec![domain(PERSONALIZED)], vec![file([1, 0])]);
        assert_eq!(
            plan(&loaded, &wanted, ResiduePolicy::Resume).instances,
            [InstancePlan::Install { instance: INSTANCE, extradition: ExtraditionNeed::Extradite }]
        );
        let stopped =
            card(vec![domain(PERSONALIZED), instance(INSTANCE, SELECTABLE, ISD)], vec![file([1, 0])]);
        assert_eq!(
            plan(&stopped, &wanted, ResiduePolicy::Resume).instances,
            [InstancePlan::Extradite(INSTANCE)]
        );
    }

    /// req: P-5.8.4.1.2.b
    #[test]
    fn what_does_not_fit_is_known_before_the_first_load() {
        let observation = card(vec![], vec![]);
        let mut large = wanted();
        assert_eq!(plan(&observation, &large, ResiduePolicy::Resume).fit(&observation), Fit::Fits);
        large.load_files[0].code_bytes = 9000;
        assert_eq!(
            plan(&observation, &large, ResiduePolicy::Resume).fit(&observation),
            Fit::TooSmall { needed: 11_000, free: 10_000 }
        );
    }
}
