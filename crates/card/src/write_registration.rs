//! Writing MSISDN, TOKEN and IMSI digest into an SE (P-5.5.2.p).

use tsm_domain::Msisdn;
use tsm_globalplatform::commands::store_data::{DataEncryption, DataGroup, DataStructure};
use tsm_globalplatform::commands::{GetData, StoreData};
use tsm_iso7816::StatusWord;

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::observe::{Observed, read, trust};
use crate::open_channel::SecureChannel;
use crate::registration::{BindingData, TokenForm, msisdn_value, parse_msisdn};
use crate::script::{Answers, Command, Script, Ticket};

/// A registration whose commands are in a script.
#[derive(Debug)]
pub struct WritingRegistration(Ticket);

impl WritingRegistration {
    /// Adds STORE DATA for 2F14 and 1047 to `script`. The channel encrypts commands: the TOKEN is a
    /// secret.
    pub fn add(
        channel: &mut SecureChannel,
        msisdn: &Msisdn,
        binding: &BindingData,
        form: TokenForm,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        if !channel.level().has_c_decryption() {
            let reason = "a TOKEN is written at a security level with encryption only";
            return Err(ProcedureError::Impossible(reason.to_owned()));
        }
        let token = binding.to_object(form).map_err(|error| ProcedureError::Impossible(error.to_string()))?;
        let number = DataGroup { identifier: 0x2F14, value: msisdn_value(msisdn) }.to_bytes();
        let commands =
            StoreData::sequence([number, token], DataEncryption::NoInformation, DataStructure::Dgi)
                .unwrap_or_default()
                .iter()
                .map(|command| Command::new("STORE DATA of the registration", command.to_apdu()))
                .collect();
        Ok(Self(channel.add(script, commands)?))
    }

    /// Adds STORE DATA for 2F14 alone to `script`: the number changes, and the TOKEN counts as before
    /// (P-5.5.5).
    pub fn add_number(
        channel: &mut SecureChannel,
        msisdn: &Msisdn,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let number = DataGroup { identifier: 0x2F14, value: msisdn_value(msisdn) }.to_bytes();
        let commands = StoreData::sequence([number], DataEncryption::NoInformation, DataStructure::Dgi)
            .unwrap_or_default()
            .iter()
            .map(|command| Command::new("STORE DATA of the number", command.to_apdu()))
            .collect();
        Ok(Self(channel.add(script, commands)?))
    }

    /// Checks that the card stored it.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        channel.take(answers, &self.0).map(drop)
    }
}

/// Writes in one exchange.
pub async fn write_registration(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    msisdn: &Msisdn,
    binding: &BindingData,
    form: TokenForm,
    mut script: Script,
) -> Result<(), ProcedureError> {
    let writing = WritingRegistration::add(channel, msisdn, binding, form, &mut script)?;
    let mut answers = script.run(card).await?;
    writing.take(channel, &mut answers)
}

/// What an SE holds about its binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRegistration {
    /// The MSISDN, if one is stored.
    pub msisdn: Option<Observed<Msisdn>>,
    /// TOKEN and IMSI digest, if stored.
    pub binding: Option<Observed<BindingData>>,
}

/// A reading whose commands are in a script.
#[derive(Debug)]
pub struct ReadingRegistration {
    ticket: Ticket,
    form: TokenForm,
}

impl ReadingRegistration {
    /// Adds GET DATA 2F14 and 1047 to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        form: TokenForm,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let commands = [GetData::MSISDN, GetData::TOKEN]
            .map(|object| {
                Command::new("GET DATA", object.to_apdu()).or(&[StatusWord::REFERENCED_DATA_NOT_FOUND])
            })
            .to_vec();
        Ok(Self { ticket: channel.add(script, commands)?, form })
    }

    /// Takes what the card holds.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<StoredRegistration, ProcedureError> {
        let names = [answers.name(&self.ticket, 0), answers.name(&self.ticket, 1)];
        let trust = trust(channel);
        let responses = channel.take(answers, &self.ticket)?;
        let [number, token] = &responses[..] else {
            return Err(ProcedureError::Impossible("a registration was taken twice".to_owned()));
        };
        Ok(StoredRegistration {
            msisdn: read(number, names[0], trust, parse_msisdn)?,
            binding: read(token, names[1], trust, |data| BindingData::parse_answer(data, self.form))?,
        })
    }
}

/// A reading of the number alone.
#[derive(Debug)]
pub struct ReadingNumber(Ticket);

impl ReadingNumber {
    /// Adds GET DATA 2F14 to `script`.
    pub fn add(channel: &mut SecureChannel, script: &mut Script) -> Result<Self, ProcedureError> {
        let command = Command::new("GET DATA", GetData::MSISDN.to_apdu());
        let command = command.or(&[StatusWord::REFERENCED_DATA_NOT_FOUND]);
        Ok(Self(channel.add(script, vec![command])?))
    }

    /// Takes the number that the card holds, if it holds one.
    pub fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<Option<Observed<Msisdn>>, ProcedureError> {
        let name = answers.name(&self.0, 0);
        let trust = trust(channel);
        let responses = channel.take(answers, &self.0)?;
        let [number] = &responses[..] else {
            return Err(ProcedureError::Impossible("a number was taken twice".to_owned()));
        };
        read(number, name, trust, parse_msisdn)
    }
}
