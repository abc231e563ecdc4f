//! Observing a card: its registry, free space and identity (GPC 2.3.1, 11.3 and 11.4; P-5.8.7.1,
//! P-5.8.4.5).
//!
//! Every session begins with an observation and every change ends with one: what the registry says is
//! what gets recorded. In a session with R-MAC each part of the observation is the card's own word;
//! what is not is marked as a hint. Error status words never carry a MAC, so an empty list is a hint
//! at any level.

use tsm_domain::SeId;
use tsm_globalplatform::commands::get_status::{GetStatus, RegistryScope};
use tsm_globalplatform::commands::{CommandError, GetData};
use tsm_globalplatform::extended_resources::ExtendedResources;
use tsm_globalplatform::key_information::KeyInformation;
use tsm_globalplatform::life_cycle::{CardLifeCycle, LifeCycle};
use tsm_globalplatform::registry::{ApplicationEntry, LoadFileEntry, RegistryEntry};
use tsm_iso7816::{Aid, ResponseApdu, StatusWord, tlv};

use crate::channel::CardChannel;
use crate::error::{CommandName, ProcedureError};
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// How much to observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObservationScope {
    /// The whole card, through the issuer security domain: identity, card life cycle, free space,
    /// registry.
    Card,
    /// What belongs to the domain of the channel: its free space, keys and registry entries.
    Domain,
}

/// Whose word a part of an observation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The card's: it carried the card's MAC.
    Proven,
    /// Anybody's between the card and here. Fit for a plan, never for money or a deletion.
    Hint,
}

/// A part of an observation, and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<T> {
    /// What was observed.
    pub value: T,
    /// Whose word it is.
    pub trust: Trust,
}

/// What a card says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The domain through which it was observed.
    pub domain: Aid,
    /// SE-ID (GET DATA 0044), when the whole card was observed and it has one.
    pub se_id: Option<Observed<SeId>>,
    /// The card's life cycle state, when the whole card was observed.
    pub card_life_cycle: Option<Observed<CardLifeCycle>>,
    /// Free space (GET DATA FF21), if the card tells.
    pub resources: Option<Observed<ExtendedResources>>,
    /// The domain's keys (GET DATA 00E0), if the card tells.
    pub keys: Option<Observed<Vec<KeyInformation>>>,
    /// Applications and security domains, the issuer's not among them.
    pub applications: Observed<Vec<ApplicationEntry>>,
    /// Load files with their modules.
    pub load_files: Observed<Vec<LoadFileEntry>>,
}

impl Observation {
    /// The application or security domain with this AID.
    pub fn application(&self, aid: &Aid) -> Option<&ApplicationEntry> {
        self.applications.value.iter().find(|entry| entry.aid == *aid)
    }

    /// The load file with this AID.
    pub fn load_file(&self, aid: &Aid) -> Option<&LoadFileEntry> {
        self.load_files.value.iter().find(|entry| entry.aid == *aid)
    }

    /// The instances made from a load file.
    pub fn instances_of<'a>(&'a self, load_file: &'a Aid) -> impl Iterator<Item = &'a ApplicationEntry> {
        self.applications.value.iter().filter(move |entry| entry.load_file == Some(*load_file))
    }

    /// Whether the card itself says that no application has this AID.
    pub fn proves_absence(&self, aid: &Aid) -> bool {
        self.applications.trust == Trust::Proven && self.application(aid).is_none()
    }
}

/// Pages of GET STATUS that are sent ahead: the first, and those behind it.
const PAGES_AHEAD: usize = 3;
/// Pages after which the registry of any card has ended.
const MAX_PAGES: usize = 64;

// Tag lists (5C): what the observation uses, so that a page holds more entries.
const APPLICATION_TAGS: [u8; 6] = [0x4F, 0x9F, 0x70, 0xC5, 0xC4, 0xCC];
const LOAD_FILE_TAGS: [u8; 6] = [0x4F, 0x9F, 0x70, 0xCE, 0x84, 0xCC];

/// An observation whose commands are in a script.
#[derive(Debug)]
pub struct Observing {
    scope: ObservationScope,
    data: Ticket,
    applications: Ticket,
    load_files: Ticket,
    card: Option<Ticket>,
}

impl Observing {
    /// Adds the observation's commands to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        scope: ObservationScope,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let absent =
            [StatusWord::REFERENCED_DATA_NOT_FOUND, StatusWord::INCORRECT_P1_P2, StatusWord::NOT_FOUND];
        let identity = match scope {
            ObservationScope::Card => GetData::SE_ID,
            ObservationScope::Domain => GetData::KEY_INFORMATION,
        };
        let data = [identity, GetData::EXTENDED_RESOURCES]
            .map(|object| Command::new("GET DATA", object.to_apdu()).or(&absent))
            .to_vec();
        let data = channel.add(script, data)?;
        let card = match scope {
            ObservationScope::Card => {
                let status = GetStatus::all(RegistryScope::IssuerSecurityDomain).to_apdu();
                Some(channel.add(script, vec![Command::new("GET STATUS", status)])?)
            }
            ObservationScope::Domain => None,
        };
        let applications = channel.add(script, pages(RegistryScope::Applications, PAGES_AHEAD))?;
        let load_files = channel.add(script, pages(RegistryScope::LoadFilesAndModules, PAGES_AHEAD))?;
        Ok(Self { scope, data, applications, load_files, card })
    }

    /// Takes the answers; asks for further pages where the registry is longer than what was sent
    /// ahead.
    pub async fn finish(
        self,
        card: &mut impl CardChannel,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<Observation, ProcedureError> {
        let data = channel.take(answers, &self.data)?;
        let [identity, resources] = &data[..] else {
            return Err(ProcedureError::Impossible("an observation was taken twice".to_owned()));
        };
        let identity_name = answers.name(&self.data, 0);
        let resources_name = answers.name(&self.data, 1);
        let card_answer = match &self.card {
            Some(ticket) => Some((channel.take_one(answers, ticket)?, answers.name(ticket, 0))),
            None => None,
        };
        let applications_name = answers.name(&self.applications, 0);
        let mut applications = Listing::new(channel.take(answers, &self.applications)?);
        let load_files_name = answers.name(&self.load_files, 0);
        let mut load_files = Listing::new(channel.take(answers, &self.load_files)?);
        applications.complete(card, channel, RegistryScope::Applications).await?;
        load_files.complete(card, channel, RegistryScope::LoadFilesAndModules).await?;

        let trust = trust(channel);
        let (se_id, keys) = match self.scope {
            ObservationScope::Card => (read(identity, identity_name, trust, parse_se_id)?, None),
            ObservationScope::Domain => {
                (None, read(identity, identity_name, trust, KeyInformation::parse_template)?)
            }
        };
        Ok(Observation {
            domain: channel.domain(),
            se_id,
            keys,
            card_life_cycle: match card_answer {
                Some((answer, name)) => {
                    Some(Observed { value: parse_card_state(&answer.data, name)?, trust })
                }
                None => None,
            },
            resources: read(resources, resources_name, trust, ExtendedResources::parse)?,
            applications: applications.entries(
                RegistryScope::Applications,
                trust,
                applications_name,
                |entry| match entry {
                    RegistryEntry::Application(entry) => Some(entry),
                    RegistryEntry::LoadFile(_) => None,
                },
            )?,
            load_files: load_files.entries(
                RegistryScope::LoadFilesAndModules,
                trust,
                load_files_name,
                |entry| match entry {
                    RegistryEntry::LoadFile(entry) => Some(entry),
                    RegistryEntry::Application(_) => None,
                },
            )?,
        })
    }
}

/// Observes in one exchange, together with what `script` holds already (EXTERNAL AUTHENTICATE).
pub async fn observe(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    scope: ObservationScope,
    mut script: Script,
) -> Result<Observation, ProcedureError> {
    let observing = Observing::add(channel, scope, &mut script)?;
    let mut answers = script.run(card).await?;
    observing.finish(card, channel, &mut answers).await
}

/// Whose word the answers of this channel are.
pub(crate) fn trust(channel: &SecureChannel) -> Trust {
    if channel.level().has_r_mac() { Trust::Proven } else { Trust::Hint }
}

fn status_command(scope: RegistryScope) -> GetStatus {
    let tag_list = match scope {
        RegistryScope::Applications | RegistryScope::IssuerSecurityDomain => APPLICATION_TAGS.to_vec(),
        RegistryScope::LoadFiles | RegistryScope::LoadFilesAndModules => LOAD_FILE_TAGS.to_vec(),
    };
    GetStatus { tag_list, ..GetStatus::all(scope) }
}

// 6A88 of the first page: no entries. What a card answers to "next" behind its last entry differs.
fn pages(scope: RegistryScope, count: usize) -> Vec<Command> {
    let first = status_command(scope);
    let next = Command::new("GET STATUS [next]", first.next().to_apdu()).or(&[
        StatusWord::MORE_DATA_AVAILABLE,
        StatusWord::REFERENCED_DATA_NOT_FOUND,
        StatusWord::CONDITIONS_NOT_SATISFIED,
        StatusWord::INCORRECT_P1_P2,
    ]);
    let first = Command::new("GET STATUS", first.to_apdu())
        .or(&[StatusWord::MORE_DATA_AVAILABLE, StatusWord::REFERENCED_DATA_NOT_FOUND]);
    std::iter::once(first).chain(std::iter::repeat_n(next, count - 1)).collect()
}

/// The pages of one listing, as far as they are there.
struct Listing {
    data: Vec<u8>,
    end: ListingEnd,
}

enum ListingEnd {
    /// Nothing was answered yet.
    NotBegun,
    /// 6310: more entries.
    More,
    /// 9000: the card said that this was all.
    Card,
    /// 6A88 to the first page: no entries, which carries no MAC.
    NothingFound,
    /// The card promised more and then refused to give it.
    BrokenOff,
}

impl Listing {
    fn new(answers: Vec<ResponseApdu>) -> Self {
        let mut listing = Self { data: Vec::new(), end: ListingEnd::NotBegun };
        answers.into_iter().for_each(|answer| listing.append(answer));
        listing
    }

    fn append(&mut self, answer: ResponseApdu) {
        self.end = match (&self.end, answer.status) {
            (ListingEnd::NotBegun | ListingEnd::More, StatusWord::MORE_DATA_AVAILABLE) => ListingEnd::More,
            (ListingEnd::NotBegun | ListingEnd::More, StatusWord::SUCCESS) => ListingEnd::Card,
            (ListingEnd::NotBegun, _) => ListingEnd::NothingFound,
            (ListingEnd::More, _) => ListingEnd::BrokenOff,
            (ListingEnd::Card | ListingEnd::NothingFound | ListingEnd::BrokenOff, _) => return,
        };
        self.data.extend(answer.data);
    }

    /// Reads the listing again with more pages ahead, until it is whole: a card forgets where a listing
    /// stood as soon as another one begins.
    async fn complete(
        &mut self,
        card: &mut impl CardChannel,
        channel: &mut SecureChannel,
        scope: RegistryScope,
    ) -> Result<(), ProcedureError> {
        let mut count = PAGES_AHEAD;
        while matches!(self.end, ListingEnd::NotBegun | ListingEnd::More) && count < MAX_PAGES {
            count = (count * 4).min(MAX_PAGES);
            let mut script = Script::new();
            let ticket = channel.add(&mut script, pages(scope, count))?;
            let mut answers = script.run(card).await?;
            *self = Self::new(channel.take(&mut answers, &ticket)?);
        }
        match self.end {
            ListingEnd::Card | ListingEnd::NothingFound => Ok(()),
            ListingEnd::NotBegun | ListingEnd::More | ListingEnd::BrokenOff => {
                Err(ProcedureError::Channel("the listing of the registry breaks off".to_owned()))
            }
        }
    }

    fn entries<T>(
        self,
        scope: RegistryScope,
        trust: Trust,
        command: CommandName,
        kind: impl Fn(RegistryEntry) -> Option<T>,
    ) -> Result<Observed<Vec<T>>, ProcedureError> {
        let entries = RegistryEntry::parse_all(scope, &self.data)
            .map_err(|error| SecureChannel::unreadable(command, error))?;
        let trust = match self.end {
            ListingEnd::Card => trust,
            ListingEnd::NotBegun | ListingEnd::More | ListingEnd::NothingFound | ListingEnd::BrokenOff => {
                Trust::Hint
            }
        };
        Ok(Observed { value: entries.into_iter().filter_map(kind).collect(), trust })
    }
}

/// What an optional GET DATA answered, if the card has the object.
pub(crate) fn read<T, E: ToString>(
    answer: &ResponseApdu,
    command: CommandName,
    trust: Trust,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Observed<T>>, ProcedureError> {
    if !answer.status.is_success() {
        return Ok(None);
    }
    let value = parse(&answer.data).map_err(|error| SecureChannel::unreadable(command, error.to_string()))?;
    Ok(Some(Observed { value, trust }))
}

// Cards answer 0044 with the object or with its value alone; the value is the SE-ID, or holds it as
// object 92 next to an ICCID (91).
fn parse_se_id(data: &[u8]) -> Result<SeId, String> {
    let value = match tlv::parse_all(data).as_deref() {
        Ok([object]) if object.tag.0 == 0x44 => object.value,
        _ => data,
    };
    SeId::new(tlv::find_one(value, 0x92).unwrap_or(value)).map_err(|error| error.to_string())
}

fn parse_card_state(data: &[u8], command: CommandName) -> Result<CardLifeCycle, ProcedureError> {
    let entries = RegistryEntry::parse_all(RegistryScope::IssuerSecurityDomain, data)
        .map_err(|error| SecureChannel::unreadable(command, error))?;
    match entries[..] {
        [ref entry] => match entry.life_cycle() {
            LifeCycle::Card(state) => Ok(state),
            LifeCycle::LoadFile(_) | LifeCycle::Application(_) | LifeCycle::SecurityDomain(_) => Err(
                SecureChannel::unreadable(command, CommandError::Value { field: "card life cycle state" }),
            ),
        },
        _ => Err(SecureChannel::unreadable(command, "the card has exactly one issuer security domain")),
    }
}
