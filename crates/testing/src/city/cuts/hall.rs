//! The issuer's hall: a person who allows a lost card to be unlocked, and a reader on which the rider's phone lies.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use tsm_api::HexBytes;
use tsm_api::client::{ClientError, SpTsmDesk};
use tsm_api::conversation::{ConversationReply, OutcomeResult, TurnRequest};
use tsm_api::ids::RequestId;
use tsm_api::sp_tsm::desk::{CardMatter, HallSession, HallWork};
use tsm_domain::environment::{Clock, Entropy};
use tsm_domain::money::reconciliation::Clerk;
use tsm_domain::{OperatorId, SessionId};
use tsm_se::Interface;
use tsm_storage::clerks::{ClerkAccount, ClerkRole, Clerks as _};
use tsm_storage::se_tsm::PasswordState;
use tsm_storage::shared::{Session, SessionHolder, Sessions as _};
use tsm_wallet::SeOperation;

use super::stage::{Broke, Stage};
use crate::city::executor::MachineClock;
use crate::city::phone::Handset;
use crate::city::random::Stream;

/// The person in the hall.
const PERSON: &str = "hall";
/// The streams of the hall's entropy.
const STREAM: u64 = 460;
/// How often the rider's card is served again in one contact, at most: a report that was held back on its way may
/// come in between.
const VISITS: usize = 3;

fn failed(error: &ClientError) -> Broke {
    Broke::Other(format!("in the hall: {error}"))
}

impl Stage {
    /// Somebody works in the hall, and is logged in.
    pub(super) async fn staff_hall(&mut self) -> Result<(), Broke> {
        let desk = self.world.servers.organisations.issuer_desk.number.clone();
        let store = &self.world.servers.stores.sp_tsm;
        let institution = desk.parse().expect("an institution's number");
        let clerk = Clerk { institution, person: PERSON.parse().expect("a short word is a name") };
        let account = ClerkAccount {
            clerk,
            roles: BTreeSet::from([ClerkRole::Hall]),
            password_hash: "no password fits this".into(),
            password_state: PasswordState::Own,
            failures: 0,
            closed_until: None,
            proposed: None,
        };
        let holder: OperatorId = format!("{desk}/{PERSON}").parse().expect("a name");
        let now = self.world.executor.now();
        let session = Session {
            id: SessionId::generate(&Stream::new(STREAM, STREAM)),
            holder: SessionHolder::Operator(holder),
            created_at: now,
            expires_at: now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now),
        };
        let stored = |error: tsm_storage::StorageError| Broke::Other(error.to_string());
        store.put_clerk(None, account).await.map_err(stored)?;
        store.put_session(session.clone()).await.map_err(stored)?;
        let clock: Arc<dyn Clock> = Arc::new(MachineClock::new(self.world.executor.clone()));
        let entropy: Arc<dyn Entropy> = Arc::new(Stream::new(STREAM, STREAM + 1));
        let client = self.world.servers.desk_at_issuer(clock, entropy);
        self.hall = Some(client.with_bearer(session.id.to_string()));
        Ok(())
    }

    fn hall(&self) -> Result<SpTsmDesk, Broke> {
        let hall = self.hall.clone().ok_or_else(|| Broke::Other("nobody works in the hall".into()))?;
        Ok(SpTsmDesk::new(hall))
    }

    fn matter(&self, person: usize) -> Result<CardMatter, Broke> {
        let reading = self.world.truth.reading(self.people[person].element);
        let serial = reading.ok_or_else(|| Broke::Other("there is no card".into()))?.serial;
        let reason = "the rider is here".to_owned();
        Ok(CardMatter { request: RequestId(self.world.uuid()), card: HexBytes(serial.to_vec()), reason })
    }

    /// The hall allows the card to be unlocked, which finds it.
    pub(super) async fn allow_unlock(&mut self, person: usize) -> Result<(), Broke> {
        let matter = self.matter(person)?;
        self.hall()?.allow_unlock(&matter).await.map(drop).map_err(|error| failed(&error))
    }

    /// The phone lies on the hall's reader, and the hall does this with its card.
    pub(super) async fn visit_hall(&mut self, person: usize, work: HallWork) -> Result<(), Broke> {
        let desk = self.hall()?;
        let matter = self.matter(person)?;
        let mut reply =
            desk.hall_session(&HallSession { matter, work }).await.map_err(|error| failed(&error))?;
        let card = self.people[person].phone.card.clone();
        let mut element = SeOperation::new(Handset::contactless(&self.world.executor, &card));
        let ended = loop {
            let (conversation, request) = match reply {
                ConversationReply::Outcome { outcome, .. } => break Ok(outcome),
                ConversationReply::Steps { conversation, turn, steps, .. } => {
                    let answers = element.carry(&steps).await;
                    let (responses, fault) = (answers.responses, answers.fault);
                    (conversation, TurnRequest { turn, responses, fault, ticket: None })
                }
                ConversationReply::Queued { conversation, turn, .. } => {
                    (conversation, TurnRequest { turn, ..TurnRequest::default() })
                }
                ConversationReply::Restart { .. } | ConversationReply::Handover { .. } => {
                    break Err(Broke::Other("the issuer has forgotten the visit".into()));
                }
            };
            reply = match desk.turn(conversation, &request).await {
                Ok(reply) => reply,
                Err(error) => break Err(failed(&error)),
            };
        };
        // The phone leaves the reader.
        card.reset(Interface::Contactless);
        match ended? {
            outcome if outcome.result == OutcomeResult::Done => Ok(()),
            outcome => {
                Err(Broke::Other(format!("the visit ended as {:?}: {:?}", outcome.result, outcome.problem)))
            }
        }
    }

    /// The rider comes to the hall again, for as long as the card is not what it should be.
    pub(super) async fn come_again_to_hall(&mut self, person: usize, work: HallWork) -> Result<(), Broke> {
        let mut last = Ok(());
        for _ in 0..VISITS {
            if !self.is_in_use(person) {
                break;
            }
            last = self.visit_hall(person, work).await;
        }
        if self.is_in_use(person) { last } else { Ok(()) }
    }

    /// Unlocks a card that a hall has to allow, with the phone.
    pub(super) async fn unlock_with_hall(&mut self, person: usize) -> Result<(), Broke> {
        let mut last = Ok(());
        for _ in 0..VISITS {
            if let Err(broke) = self.allow_unlock(person).await {
                // It is neither locked nor lost any more.
                self.told(person, &broke.to_string());
            }
            if !self.is_blocked(person) {
                return Ok(());
            }
            last = self.unlock(person).await;
        }
        last
    }

    /// Whether the issuer says that the phone has a card that can be used, or be unlocked.
    fn is_in_use(&self, person: usize) -> bool {
        use tsm_domain::card::CardState;
        use tsm_storage::SpTsmStore as _;
        let Ok(se) = tsm_domain::SeId::new(&self.people[person].element.id()) else { return false };
        let cards =
            crate::city::checks::now(self.world.servers.stores.sp_tsm.cards_on(se)).unwrap_or_default();
        cards
            .iter()
            .any(|card| matches!(card.state, CardState::Active | CardState::Locked | CardState::Closing))
    }
}
