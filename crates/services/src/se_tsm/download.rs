//! Download (B-8.4.2, B-8.5.2, P-5.8.3.1, P-5.8.4.1): the domain, its keys, the program, the instance, and the
//! hand-over to the provider's SP-TSM, whichever the card still lacks.
//!
//! ```text
//! start | SELECT ISD, INITIALIZE UPDATE
//!       | EXTERNAL AUTHENTICATE, observe
//!       | INSTALL domain, SELECT domain, INITIALIZE UPDATE              (no domain yet)
//!       | EXTERNAL AUTHENTICATE, PUT KEY, SET STATUS, SELECT next, INITIALIZE UPDATE
//!       | EXTERNAL AUTHENTICATE, INSTALL, LOAD..., INSTALL, observe      (the issuer manages content)
//!       | handed over: the SP-TSM's list                                 (the SP loads, or personalises)
//! ```
//!
//! The plan comes from the card's own registry, so a download that broke off goes on from what is there.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::conversation::{Outcome, OutcomeDetail, Party, Stage};
use tsm_api::ids::OperationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::se_tsm::peer::{DomainObservation, ObservedApplication, OperationKind};
use tsm_api::sp_tsm::peer::{
    HandoverRequest, HandoverWay, PreOperationReply, PreOperationRequest, WrappedKeySet as WireKeySet,
};
use tsm_card::create_domain::{CreatingDomain, DomainMode, DomainSpace, Management, NewDomain};
use tsm_card::open_channel::{OpeningChannel, SecureChannel, open_channel};
use tsm_card::plan::{DomainPlan, Fit, ResiduePolicy, plan};
use tsm_card::replace_domain_keys::{AfterReplacement, ReplacingKeys};
use tsm_card::script::{Answers, Command, Script, Ticket};
use tsm_card::step::ExpectedStatus;
use tsm_domain::SeId;
use tsm_domain::policy::ResumePolicy;
use tsm_domain::se::{Inventory, MirrorKind};
use tsm_domain::se_application::{PersonalisationNeed, SeEvent, SeState};
use tsm_domain::security_domain::DomainMode as DefinedMode;
use tsm_domain::security_domain::{ContentManagement, DomainDefinition, SpaceManagement};
use tsm_globalplatform::commands::SetStatus;
use tsm_globalplatform::commands::set_status::StatusTarget;
use tsm_globalplatform::life_cycle::SecurityDomainLifeCycle;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use tsm_keys::transfer::{WrappedKey, WrappedKeySet, WrappedValue};
use tsm_keys::{CheckValue, KeyAlgorithm, NewKeys, PutKeyRequest};
use tsm_storage::se_tsm::{ApplicationOnSe, Intended, SeChange};

use super::SeTsm;
use super::card_access::{InitialKeys, has_initial_keys, initial_session, issuer_session};
use super::convert::{se_to_wire, state_to_wire};
use super::eligibility::Question;
use super::record::{mirror, with_domain};
use super::stop::{Stop, forbidden};
use super::work::{Known, Observed, Work};
use crate::conversation::{Ending, Handover, Session};

mod content;
mod finish;

use content::wanted;
pub(super) use finish::instantiated;

pub(super) async fn run(
    tsm: Arc<SeTsm>,
    session: Session,
    se: SeId,
    aid: Aid,
    order: Option<String>,
) -> Ending {
    let mut work = Work::new(tsm, session, se);
    match work.download(aid, order).await {
        Ok(ending) => ending,
        Err(stop) => work.stopped(stop),
    }
}

/// What the SP-TSM allowed.
struct Consent {
    keys: Option<WireKeySet>,
    initialize_update: Option<CommandApdu>,
    way: HandoverWay,
}

/// Where the list that is being gathered ends: with whose INITIALIZE UPDATE.
enum Next {
    /// The issuer domain's, for content management.
    Issuer(OpeningChannel),
    /// The SP-TSM's, for the hand-over.
    Provider(Ticket),
    /// Nobody's: nothing more is to be done in another domain.
    Nothing,
}

impl Work {
    async fn download(&mut self, aid: Aid, order: Option<String>) -> Result<Ending, Stop> {
        let known = Known::load(&self.tsm, self.se).await?;
        let question = Question::load(&self.tsm, aid).await?;
        question.check(&self.tsm, &known).await?;
        let consent = self.download_consent(&question, &known, order).await?;
        self.session.progress.say(Stage::Observing, 5);
        let observed = self.observe(known).await?;
        question.check(&self.tsm, &observed.known).await?;
        self.go_on(&question, consent, observed).await
    }

    /// Everything after the observation.
    async fn go_on(
        &mut self,
        question: &Question,
        consent: Consent,
        observed: Observed,
    ) -> Result<Ending, Stop> {
        let application = &question.application;
        let Observed { channel, observation, known } = observed;
        let policy = match self.tsm.settings.policy.resume {
            ResumePolicy::Resume => ResiduePolicy::Resume,
            ResumePolicy::DeleteResidueFirst => ResiduePolicy::DeleteFirst,
        };
        let wanted = wanted(&self.tsm, application).await?;
        let plan = plan(&observation, &wanted, policy);
        if let Fit::TooSmall { needed, free } = plan.fit(&observation) {
            let reason = both(
                format!("It needs {needed} bytes and {free} are free."),
                format!("需要 {needed} 字节，剩余 {free} 字节。"),
            );
            return Err(Problem::because(ProblemCode::NoSpace, reason).into());
        }
        if let Some(ending) = self.already_there(question, &known, plan.is_complete()).await? {
            return Ok(ending);
        }
        if plan.is_complete() && consent.way == HandoverWay::Nothing {
            return self.found_installed(question, &known).await;
        }
        let loads_itself = consent.way == HandoverWay::LoadAndPersonalise;
        let content_is_ours =
            !loads_itself && (!plan.loads.is_empty() || !plan.instances.iter().all(content::is_present));
        let step = Step { question, consent: &consent, known: &known, wanted: &wanted, plan: &plan };
        let view = content::domain_view(&mirror(&observation, &known.batch), &application.domain);
        match plan.domain {
            DomainPlan::Locked => {
                Err(forbidden(both("The security domain is locked.", "安全域已锁定。")).into())
            }
            DomainPlan::Ready if content_is_ours => {
                let (last, view) = self.manage_content(&step, channel, Script::new()).await?;
                self.close(&step, last, view).await
            }
            DomainPlan::Ready => {
                let last = self.open_for_provider(&step).await?;
                self.close(&step, last, view).await
            }
            DomainPlan::Create | DomainPlan::ReplaceKeys => {
                let last = self.prepare_domain(&step, channel, content_is_ours).await?;
                match last {
                    Prepared::Issuer(channel, script) => {
                        let (last, view) = self.manage_content(&step, channel, script).await?;
                        self.close(&step, last, view).await
                    }
                    Prepared::Provider(answer) => {
                        let view = content::with_domain(view, &application.domain);
                        self.close(&step, Some(answer), view).await
                    }
                    // The SP-TSM sees that its domain is not PERSONALIZED yet, and sets it.
                    Prepared::ProviderToPersonalise(answer) => self.close(&step, answer, view).await,
                    Prepared::Nothing => self.close(&step, None, view).await,
                }
            }
        }
    }

    /// Asks the SP-TSM (B-8.5.2.b, c). The operator's own applications without personalisation ask nobody.
    async fn download_consent(
        &self,
        question: &Question,
        known: &Known,
        order: Option<String>,
    ) -> Result<Consent, Stop> {
        let application = &question.application;
        let nobody = question.provider.is_operator()
            && application.personalisation == PersonalisationNeed::NotNeeded
            && question.domain_is_ready(known);
        if nobody {
            return Ok(Consent { keys: None, initialize_update: None, way: HandoverWay::Nothing });
        }
        let request = PreOperationRequest {
            operation: OperationId(self.session.conversation.0),
            kind: OperationKind::Download,
            se_id: se_to_wire(&self.se),
            aid: application.aid.into(),
            domain_aid: application.domain.into(),
            msisdn: known.record.binding.as_ref().map(|binding| binding.number.as_str().to_owned()),
            order,
        };
        let client = self.tsm.sp_tsms.of(&question.provider).await?;
        let reply = client.pre_operation(&request).await.map_err(|error| error.to_problem())?;
        match reply {
            PreOperationReply::Refused { problem } => Err(Stop::Refused(problem)),
            PreOperationReply::Allowed { domain_keys, initialize_update, way, moved_from } => {
                self.check_same_number(known, moved_from.as_ref()).await?;
                check_way(question, way)?;
                let initialize_update =
                    initialize_update.map(|apdu| read_initialize_update(&apdu)).transpose()?;
                Ok(Consent { keys: domain_keys, initialize_update, way })
            }
        }
    }

    /// Creates the domain where it is missing and puts its owner's keys into it.
    async fn prepare_domain(
        &mut self,
        step: &Step<'_>,
        mut issuer: SecureChannel,
        content_is_ours: bool,
    ) -> Result<Prepared, Stop> {
        let domain = step.question.domain.as_ref().ok_or(ProblemCode::Internal)?;
        let keys = step.consent.keys.as_ref().ok_or_else(|| {
            Problem::because(
                ProblemCode::ProviderRefused,
                both("The provider gave no keys for its domain.", "应用提供方未给出其安全域密钥。"),
            )
        })?;
        let mut script = Script::new();
        let creating = match step.plan.domain {
            DomainPlan::Create => {
                self.session.progress.say(Stage::CreatingDomain, 20);
                self.intend(Intended::CreateDomain(domain.aid)).await?;
                Some(CreatingDomain::add(&mut issuer, &new_domain(domain), &mut script)?)
            }
            DomainPlan::Ready | DomainPlan::ReplaceKeys | DomainPlan::Locked => None,
        };
        let initial = initial_session(&step.known.batch, domain.aid, &self.se)?;
        let opening = OpeningChannel::begin(&*self.tsm.keys, &initial, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        if let Some(creating) = creating {
            creating.take(&mut issuer, &mut answers)?;
            let created = tsm_domain::security_domain::DomainOnSe::created(domain.aid, 0, self.tsm.now());
            let subscription = self.domain_subscription(step)?;
            let mut change = SeChange { domains: vec![created], ..SeChange::default() };
            change.subscriptions.extend(subscription);
            self.commit(change).await?;
        }
        let mut script = Script::new();
        let mut channel = match opening.authenticate(&mut answers, &mut script) {
            Ok(channel) => channel,
            // The keys were replaced in a session whose answer was lost: only their owner can open the
            // domain now, and sets it to PERSONALIZED after the hand-over.
            Err(error) if creating_is_old(step) && keys_are_others(&error) => {
                if content_is_ours {
                    return self.personalise_by_issuer(step, domain.aid).await;
                }
                return Ok(Prepared::ProviderToPersonalise(self.open_for_provider(step).await?));
            }
            Err(error) => return Err(error.into()),
        };
        self.session.progress.say(Stage::ReplacingKeys, 35);
        self.intend(Intended::ReplaceKeys { domain: domain.aid, version: keys.key_version }).await?;
        let replaces = match has_initial_keys(&step.known.batch)? {
            InitialKeys::Own => channel.key_version(),
            InitialKeys::OfIssuer => 0,
        };
        let request = put_key_request(keys, replaces)?;
        let replacing =
            ReplacingKeys::add(&mut channel, &request, AfterReplacement::Personalized, &mut script)?;
        let next = self.next(step, content_is_ours, &mut script)?;
        let mut answers = script.run(&mut self.session.card).await?;
        replacing.take(&mut channel, &mut answers)?;
        self.domain_is_personalised(domain, keys.key_version).await?;
        self.take_next(next, &mut answers)
    }

    /// Sets a domain that has its owner's keys to PERSONALIZED by the issuer domain above it
    /// (GPC 2.3.1, 5.3.2), and leaves the issuer's session open for content management.
    async fn personalise_by_issuer(&mut self, step: &Step<'_>, domain: Aid) -> Result<Prepared, Stop> {
        let issuer = issuer_session(&step.known.batch, &self.se)?;
        let mut script = Script::new();
        let mut channel = open_channel(&mut self.session.card, &*self.tsm.keys, &issuer, &mut script).await?;
        let state = SecurityDomainLifeCycle::Personalized.value();
        let set_status = SetStatus { target: StatusTarget::Application(domain), state };
        let command = Command::new("SET STATUS to PERSONALIZED", set_status.to_apdu());
        let ticket = channel.add(&mut script, vec![command])?;
        let mut answers = script.run(&mut self.session.card).await?;
        channel.take(&mut answers, &ticket)?;
        Ok(Prepared::Issuer(channel, Script::new()))
    }

    /// Adds whatever opens the next session.
    fn next(&self, step: &Step<'_>, content_is_ours: bool, script: &mut Script) -> Result<Next, Stop> {
        if content_is_ours {
            let issuer = issuer_session(&step.known.batch, &self.se)?;
            return Ok(Next::Issuer(OpeningChannel::begin(&*self.tsm.keys, &issuer, script)?));
        }
        Ok(match &step.consent.initialize_update {
            Some(apdu) => Next::Provider(provider_opening(step.domain_aid(), apdu, script)),
            None => Next::Nothing,
        })
    }

    fn take_next(&mut self, next: Next, answers: &mut Answers) -> Result<Prepared, Stop> {
        Ok(match next {
            Next::Issuer(opening) => {
                let mut script = Script::new();
                let channel = opening.authenticate(answers, &mut script)?;
                Prepared::Issuer(channel, script)
            }
            Next::Provider(ticket) => Prepared::Provider(answers.take_one(&ticket)?),
            Next::Nothing => Prepared::Nothing,
        })
    }

    /// Selects the domain for the SP-TSM and sends its INITIALIZE UPDATE, in a list of its own.
    async fn open_for_provider(&mut self, step: &Step<'_>) -> Result<Option<ResponseApdu>, Stop> {
        let Some(apdu) = &step.consent.initialize_update else { return Ok(None) };
        let mut script = Script::new();
        let ticket = provider_opening(step.domain_aid(), apdu, &mut script);
        let mut answers = script.run(&mut self.session.card).await?;
        Ok(Some(answers.take_one(&ticket)?))
    }

    async fn domain_is_personalised(&mut self, domain: &DomainDefinition, version: u8) -> Result<(), Stop> {
        use tsm_domain::security_domain::{DomainKeys, DomainOnSe, DomainState};
        let on_se = DomainOnSe {
            aid: domain.aid,
            state: DomainState::Personalized,
            keys: DomainKeys::Settled { version },
            keys_since: self.tsm.now(),
        };
        let record = self.tsm.store.se(self.se).await?.ok_or(ProblemCode::NotRegistered)?;
        let batch = self.tsm.store.batch(&record.batch).await?.ok_or(ProblemCode::BatchUnknown)?;
        let inventory = with_domain(record.inventory, domain, batch.issuer_domain);
        let observed = Some((inventory, self.tsm.now()));
        let mut change = SeChange { domains: vec![on_se], observed, ..SeChange::default() };
        let detail = serde_json::json!({ "domain": domain.aid.to_string(), "key_version": version });
        change.notes.push(self.note("domain-personalised", &detail));
        self.settle(tsm_storage::se_tsm::Outcome::Done, &mut change);
        self.commit(change).await
    }
}

/// What every step of a download looks at.
pub(super) struct Step<'a> {
    question: &'a Question,
    consent: &'a Consent,
    known: &'a Known,
    wanted: &'a tsm_card::plan::WantedApplication,
    plan: &'a tsm_card::plan::Plan,
}

impl Step<'_> {
    const fn domain_aid(&self) -> Aid {
        self.question.application.domain
    }
}

/// How the preparation of a domain ended.
enum Prepared {
    /// With an issuer session whose EXTERNAL AUTHENTICATE waits in the script.
    Issuer(SecureChannel, Script),
    /// With the card's answer for the SP-TSM.
    Provider(ResponseApdu),
    /// The same, where the domain has its owner's keys and not its state.
    ProviderToPersonalise(Option<ResponseApdu>),
    /// With nothing open.
    Nothing,
}

fn provider_opening(domain: Aid, initialize_update: &CommandApdu, script: &mut Script) -> Ticket {
    script.select(domain, ExpectedStatus::success());
    script.transmit(Command::new("INITIALIZE UPDATE", initialize_update.clone()))
}

/// A refusal of the first keys means nothing in a domain that was created in this very conversation.
fn creating_is_old(step: &Step<'_>) -> bool {
    step.plan.domain == DomainPlan::ReplaceKeys
}

const fn keys_are_others(error: &tsm_card::error::ProcedureError) -> bool {
    use tsm_card::error::ProcedureError;
    use tsm_keys::SessionError;
    matches!(
        error,
        ProcedureError::Session(SessionError::CardCryptogram | SessionError::KeyVersion { .. })
            | ProcedureError::Status { .. }
    )
}

/// The SP-TSM may load by itself only where its domain has the right to.
fn check_way(question: &Question, way: HandoverWay) -> Result<(), Stop> {
    let authorised =
        question.domain.as_ref().is_some_and(|domain| domain.management == ContentManagement::Authorised);
    match way {
        HandoverWay::LoadAndPersonalise if !authorised => {
            Err(Problem::because(ProblemCode::ProviderRefused, "The domain may not load by itself.").into())
        }
        HandoverWay::LoadAndPersonalise | HandoverWay::Personalise | HandoverWay::Nothing => Ok(()),
    }
}

/// Only an INITIALIZE UPDATE is passed on.
fn read_initialize_update(bytes: &HexBytes) -> Result<CommandApdu, Stop> {
    let wrong = || Problem::because(ProblemCode::PeerRefused, "The SP-TSM sent no INITIALIZE UPDATE.");
    let apdu = CommandApdu::parse(bytes.as_bytes()).map_err(|_| wrong())?;
    // GPC 2.3.1 10.2 and E.5.1: CLA 80, INS 50.
    if (apdu.cla, apdu.ins) == (0x80, 0x50) { Ok(apdu) } else { Err(wrong().into()) }
}

fn new_domain(definition: &DomainDefinition) -> NewDomain {
    let management = match definition.management {
        ContentManagement::None => Management::Issuer,
        ContentManagement::Authorised => Management::Own,
        ContentManagement::FinalApplication => Management::Final,
    };
    let mode = match definition.mode {
        DefinedMode::Issuer | DefinedMode::Managed => DomainMode::Two(management),
        DefinedMode::Dap => DomainMode::Three(management),
        DefinedMode::Token => DomainMode::Four,
    };
    let space = match definition.space {
        SpaceManagement::NotFixed => DomainSpace::Shared,
        SpaceManagement::Fixed { non_volatile, volatile } => DomainSpace::Fixed { non_volatile, volatile },
    };
    NewDomain {
        load_file: definition.load_file,
        module: definition.module,
        ..NewDomain::new(definition.aid, mode, space)
    }
}

fn put_key_request(keys: &WireKeySet, replaces: u8) -> Result<PutKeyRequest, Stop> {
    let wrong = |reason: &str| Problem::because(ProblemCode::PeerRefused, reason);
    let [enc, mac, dek] = &keys.keys[..] else {
        return Err(wrong("The SP-TSM sent another number of keys than three.").into());
    };
    let read = |key: &tsm_api::sp_tsm::peer::WrappedKey| -> Result<WrappedKey, Problem> {
        let check_value: [u8; 3] =
            key.check_value.0.as_slice().try_into().map_err(|_| wrong("A check value has three bytes."))?;
        Ok(WrappedKey {
            algorithm: algorithm(key.algorithm),
            check_value: CheckValue(check_value),
            value: WrappedValue(key.wrapped.0.clone()),
        })
    };
    let set = WrappedKeySet { enc: read(enc)?, mac: read(mac)?, dek: read(dek)? };
    let kek = keys.kek.parse().map_err(|_| wrong("The SP-TSM named its KEK wrongly."))?;
    Ok(PutKeyRequest { replaces, version: keys.key_version, keys: NewKeys::Transferred { set, kek } })
}

const fn algorithm(wire: tsm_api::sp_tsm::peer::KeyAlgorithm) -> KeyAlgorithm {
    use tsm_api::sp_tsm::peer::KeyAlgorithm as Wire;
    match wire {
        Wire::TripleDes => KeyAlgorithm::TripleDes,
        Wire::Aes128 => KeyAlgorithm::Aes128,
        Wire::Aes192 => KeyAlgorithm::Aes192,
        Wire::Aes256 => KeyAlgorithm::Aes256,
    }
}
