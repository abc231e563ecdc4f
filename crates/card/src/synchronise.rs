//! Synchronisation: everything an SE tells about itself, for the platform's inventory (P-5.8.4.5).

use tsm_globalplatform::commands::GetData;
use tsm_globalplatform::cplc::Cplc;
use tsm_globalplatform::recognition::CardRecognitionData;
use tsm_iso7816::StatusWord;
use tsm_keys::{KeyService, SessionRequest};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::observe::{Observation, ObservationScope, Observed, Observing, read, trust};
use crate::open_channel::open_channel;
use crate::registration::TokenForm;
use crate::script::{Command, Script};
use crate::write_registration::{ReadingRegistration, StoredRegistration};

/// What an SE tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardInventory {
    /// Identity, free space and registry.
    pub observation: Observation,
    /// MSISDN, TOKEN and IMSI digest.
    pub registration: StoredRegistration,
    /// Production data (9F7F): chip, batch, dates.
    pub production: Option<Observed<Cplc>>,
    /// What the card supports (0066).
    pub recognition: Option<Observed<CardRecognitionData>>,
}

/// Reads an SE's inventory in two exchanges, in a session with the issuer security domain.
pub async fn synchronise(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    form: TokenForm,
) -> Result<CardInventory, ProcedureError> {
    let mut script = Script::new();
    let mut channel = open_channel(card, keys, session, &mut script).await?;
    let objects = [GetData::CPLC, GetData::CARD_RECOGNITION_DATA]
        .map(|object| Command::new("GET DATA", object.to_apdu()).or(&[StatusWord::REFERENCED_DATA_NOT_FOUND]))
        .to_vec();
    let objects = channel.add(&mut script, objects)?;
    let registration = ReadingRegistration::add(&mut channel, form, &mut script)?;
    let observing = Observing::add(&mut channel, ObservationScope::Card, &mut script)?;
    let mut answers = script.run(card).await?;
    let names = [answers.name(&objects, 0), answers.name(&objects, 1)];
    let responses = channel.take(&mut answers, &objects)?;
    let [production, recognition] = &responses[..] else {
        return Err(ProcedureError::Impossible("an inventory was taken twice".to_owned()));
    };
    let trust = trust(&channel);
    Ok(CardInventory {
        production: read(production, names[0], trust, Cplc::parse)?,
        recognition: read(recognition, names[1], trust, CardRecognitionData::parse)?,
        registration: registration.take(&mut channel, &mut answers)?,
        observation: observing.finish(card, &mut channel, &mut answers).await?,
    })
}
