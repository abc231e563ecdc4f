//! Opening a card: the exchanges of the whole download put together, each one round trip.
//!
//! ```text
//! 1  SELECT ISD, INITIALIZE UPDATE                                          open_channel
//! 2  EXTERNAL AUTHENTICATE, GET DATA, GET STATUS                            observe
//! 3  INSTALL of the domain, SELECT domain, INITIALIZE UPDATE                create_and_open_domain
//! 4  EXTERNAL AUTHENTICATE, PUT KEY, SET STATUS, SELECT, INITIALIZE UPDATE  replace_keys_and_go_on
//! 5  EXTERNAL AUTHENTICATE, INSTALL, LOAD.., INSTALL, STORE DATA, observe   fill_domain
//! ```
//!
//! That is for a domain that its provider fills itself (AMSD). Where the issuer loads, the fourth
//! exchange goes on to the issuer's domain, the fifth is [`load_and_go_on`], and the provider
//! personalises in a sixth. Each function ends where something must be durable before the next list
//! leaves; an interrupted opening begins again at 1, and [`crate::plan`] says what is still missing.

use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use tsm_keys::{KeyService, PutKeyRequest, SessionRequest};

use crate::channel::CardChannel;
use crate::create_domain::{CreatingDomain, NewDomain};
use crate::download::{Download, Downloading};
use crate::error::ProcedureError;
use crate::extradite::{Extraditing, Extradition};
use crate::install::{Installing, NewInstance, make_selectable};
use crate::observe::{Observation, ObservationScope, Observing};
use crate::open_channel::{HandOver, OpeningChannel, SecureChannel};
use crate::personalise::{DataGroupTemplate, Personalising, StoreDataForm};
use crate::replace_domain_keys::{AfterReplacement, ReplacingKeys};
use crate::script::{Answers, Script};

/// Another organisation's session, or our own next one, to be begun at the end of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextSession {
    /// What is selected for it.
    pub application: Aid,
    /// Its INITIALIZE UPDATE.
    pub initialize_update: CommandApdu,
}

/// Content to put on the card, as far as the plan says that it is missing.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Load files, in the order of loading.
    pub downloads: Vec<Download>,
    /// Instances to create.
    pub instances: Vec<NewInstance>,
    /// Instances that are installed and not yet selectable.
    pub made_selectable: Vec<Aid>,
    /// Instances and load files that change their domain.
    pub extraditions: Vec<Extradition>,
}

/// Data to personalise one application with, through its domain.
#[derive(Debug, Clone)]
pub struct Personalisation {
    /// The application.
    pub application: Aid,
    /// Its data.
    pub groups: Vec<DataGroupTemplate>,
    /// How they are written.
    pub form: StoreDataForm,
}

/// Content whose commands are in a script.
struct Filling {
    downloads: Vec<Downloading>,
    installs: Vec<Installing>,
    extraditions: Vec<Extraditing>,
}

impl Filling {
    fn add(
        channel: &mut SecureChannel,
        content: &Content,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let downloads = content
            .downloads
            .iter()
            .map(|one| Downloading::add(channel, one, script))
            .collect::<Result<_, _>>()?;
        let instances = content.instances.iter().map(NewInstance::command);
        let selectable = content.made_selectable.iter().copied().map(make_selectable);
        let installs = instances
            .chain(selectable)
            .map(|command| Installing::add(channel, command, script))
            .collect::<Result<_, _>>()?;
        let extraditions = content
            .extraditions
            .iter()
            .map(|one| Extraditing::add(channel, one, script))
            .collect::<Result<_, _>>()?;
        Ok(Self { downloads, installs, extraditions })
    }

    fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        self.downloads.into_iter().try_for_each(|one| one.take(channel, answers).map(drop))?;
        self.installs.into_iter().try_for_each(|one| one.take(channel, answers).map(drop))?;
        self.extraditions.into_iter().try_for_each(|one| one.take(channel, answers).map(drop))
    }
}

/// Creates a domain and begins the session with it, in one exchange. EXTERNAL AUTHENTICATE is in the
/// script that comes back.
pub async fn create_and_open_domain(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    issuer: &mut SecureChannel,
    domain: &NewDomain,
    session: &SessionRequest,
) -> Result<(SecureChannel, Script), ProcedureError> {
    let mut script = Script::new();
    let creating = CreatingDomain::add(issuer, domain, &mut script)?;
    let opening = OpeningChannel::begin(keys, session, &mut script)?;
    let mut answers = script.run(card).await?;
    creating.take(issuer, &mut answers)?;
    let mut script = Script::new();
    let channel = opening.authenticate(&mut answers, &mut script)?;
    Ok((channel, script))
}

/// Replaces the domain's keys and begins the next session, in one exchange. `script` holds EXTERNAL
/// AUTHENTICATE. Gives the card's answer to the next session's INITIALIZE UPDATE.
pub async fn replace_keys_and_go_on(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    mut script: Script,
    request: &PutKeyRequest,
    next: NextSession,
) -> Result<ResponseApdu, ProcedureError> {
    let replacing = ReplacingKeys::add(channel, request, AfterReplacement::Personalized, &mut script)?;
    let hand_over = HandOver::add(next.application, next.initialize_update, &mut script);
    let mut answers = script.run(card).await?;
    replacing.take(channel, &mut answers)?;
    hand_over.take(&mut answers)
}

/// Loads and installs, and begins the next session, in one exchange: what the issuer does for a domain
/// that may not load itself.
pub async fn load_and_go_on(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    mut script: Script,
    content: &Content,
    next: NextSession,
) -> Result<ResponseApdu, ProcedureError> {
    let filling = Filling::add(channel, content, &mut script)?;
    let hand_over = HandOver::add(next.application, next.initialize_update, &mut script);
    let mut answers = script.run(card).await?;
    filling.take(channel, &mut answers)?;
    hand_over.take(&mut answers)
}

/// Loads, installs, personalises and observes, in one exchange: what a provider does in its own domain.
/// What the card says in the observation is what gets recorded.
pub async fn fill_domain(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    mut script: Script,
    content: &Content,
    personalisations: &[Personalisation],
) -> Result<Observation, ProcedureError> {
    let filling = Filling::add(channel, content, &mut script)?;
    let personalising = personalisations
        .iter()
        .map(|one| {
            Personalising::through_domain(channel, one.application, &one.groups, one.form, &mut script)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let observing = Observing::add(channel, ObservationScope::Domain, &mut script)?;
    let mut answers = script.run(card).await?;
    filling.take(channel, &mut answers)?;
    personalising.into_iter().try_for_each(|one| one.take(channel, &mut answers).map(drop))?;
    observing.finish(card, channel, &mut answers).await
}
