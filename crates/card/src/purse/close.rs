//! Closing a purse: block it, then read everything that it holds, so that what was read can no longer
//! change (B-7.5.1.a, B-7.6.1.b).
//!
//! ```text
//! SELECT, GET CHALLENGE
//! APPLICATION BLOCK with the purse's own MAC, SELECT (6283), INITIALIZE UPDATE to the purse
//! EXTERNAL AUTHENTICATE, GET CHALLENGE, GET DATA D001, EF15, EF16, EF17, EF18, EF1E, EF1A,
//! GET DATA D001                                                                              all with R-MAC
//! ```
//!
//! The purse opens the channel with the services of its security domain. The answer to APPLICATION BLOCK and
//! the 6283 carry no MAC and are worth nothing; GET DATA D001 says under R-MAC whether the purse is blocked,
//! what it holds, and how many records there are, so that neither a block that never reached the card nor a
//! record that somebody left out is believed. The GET CHALLENGE before it voids any APPLICATION UNBLOCK that
//! the phone may have kept back from an earlier cancel: a purse has one challenge. A purse that is blocked already
//! is blocked again, which is no error: the procedure is its own repetition.
//!
//! Between two commands a rider may hold his phone to a terminal, whose purchase pushes a full log on by one. The
//! second GET DATA D001 tells: what stands in it otherwise than in the first was read at two moments.

use tsm_epurse::commands::{
    ApplicationBlock, BlockKind, GetChallenge, GetPurseStatus, PurseAvailability, PurseStatus, ReadBinary,
    ReadRecord,
};
use tsm_epurse::file::{
    HISTORY_RECORDS, HistoryRecord, Holder, LOG_RECORDS, LogRecord, Management, PublicInformation, RecordId,
    TRANSIT_RECORDS, TransitRecord,
};
use tsm_epurse::{CardImage, Challenge, LayoutError, Sfi};
use tsm_iso7816::{Aid, StatusWord};
use tsm_keys::{KeyHandle, KeyService, SessionRequest};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::{OpeningChannel, SecureChannel};
use crate::script::{Answers, Command, Script, Ticket};
use crate::step::ExpectedStatus;

/// What a purse that was to be closed proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurseClosing {
    /// It is blocked, and this is all that it holds.
    Blocked(Box<CardImage>),
    /// It is not blocked: the block never reached it. Its status is its own word all the same.
    Open(PurseStatus),
}

/// Blocks and reads a purse. `block` is the card's application-block key; `session` is with the purse's
/// security domain, under a level with R-MAC.
pub async fn block_and_read(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    block: &KeyHandle,
    session: &SessionRequest,
    purse: Aid,
) -> Result<PurseClosing, ProcedureError> {
    if !session.level.has_r_mac() {
        return Err(ProcedureError::Impossible("a purse is read to the end under R-MAC only".to_owned()));
    }
    let challenge = draw_challenge(card, purse).await?;
    let command = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
    let command = keys.secure_messaging(block, challenge, &command)?;
    let mut script = Script::new();
    let blocked = script.transmit(Command::new("APPLICATION BLOCK", command));
    let opening = PurseChannel::add(keys, session, purse, &mut script)?;
    let mut answers = script.run(card).await?;
    answers.take_one(&blocked)?;
    let mut script = Script::new();
    let mut channel = opening.authenticate(&mut answers, &mut script)?;
    let reading = Reading::add(&mut channel, &mut script)?;
    let mut answers = script.run(card).await?;
    reading.take(&mut channel, &mut answers)
}

/// Reads everything of a purse whose session has no R-MAC. Nothing of it is proven: it is worth what the reader
/// is worth that carries it, and a hall reads so at its own counter.
pub async fn read_unproven(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    purse: Aid,
) -> Result<Box<CardImage>, ProcedureError> {
    read_proven(card, keys, session, purse).await.map(|(_, image)| image)
}

/// Reads a purse without changing it: the same proof, and the same image when it is blocked already.
pub async fn read_proven(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    purse: Aid,
) -> Result<(PurseStatus, Box<CardImage>), ProcedureError> {
    let mut script = Script::new();
    let opening = PurseChannel::add(keys, session, purse, &mut script)?;
    let mut answers = script.run(card).await?;
    let mut script = Script::new();
    let mut channel = opening.authenticate(&mut answers, &mut script)?;
    let reading = Reading::add(&mut channel, &mut script)?;
    let mut answers = script.run(card).await?;
    reading.everything(&mut channel, &mut answers)
}

pub(super) async fn draw_challenge(
    card: &mut impl CardChannel,
    purse: Aid,
) -> Result<Challenge, ProcedureError> {
    let mut script = Script::new();
    let select = script.select(purse, readable());
    let challenge = script.transmit(Command::new("GET CHALLENGE", GetChallenge::Four.to_apdu()));
    let mut answers = script.run(card).await?;
    answers.take(&select)?;
    let name = answers.name(&challenge, 0);
    let random = answers.take_one(&challenge)?.data;
    let random: [u8; 4] =
        random.try_into().map_err(|_| SecureChannel::unreadable(name, "a challenge has four bytes"))?;
    Ok(Challenge::new(random))
}

/// 6283 is a blocked purse, which reads all the same.
fn readable() -> ExpectedStatus {
    ExpectedStatus::success_or(&[StatusWord::SELECTED_FILE_INVALIDATED])
}

/// A channel with the purse itself, whose SELECT and INITIALIZE UPDATE are in a script.
pub(super) struct PurseChannel {
    pending: Box<dyn tsm_keys::PendingSession>,
    purse: Aid,
    select: Ticket,
    initialize_update: Ticket,
}

impl PurseChannel {
    pub(super) fn add(
        keys: &dyn KeyService,
        session: &SessionRequest,
        purse: Aid,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let pending = keys.begin_session(SessionRequest { application: purse, ..session.clone() })?;
        let select = script.select(purse, readable());
        let command = Command::new("INITIALIZE UPDATE", pending.initialize_update());
        let initialize_update = script.transmit(command);
        Ok(Self { pending, purse, select, initialize_update })
    }

    pub(super) fn authenticate(
        self,
        answers: &mut Answers,
        script: &mut Script,
    ) -> Result<SecureChannel, ProcedureError> {
        answers.take(&self.select)?;
        let answer = answers.take_one(&self.initialize_update)?;
        OpeningChannel::handed_over(self.pending, self.purse, &answer, script)
    }
}

/// The reading's commands, in a script.
struct Reading {
    challenge: Ticket,
    status: Ticket,
    files: Ticket,
    log: Ticket,
    history: Ticket,
    transit: Ticket,
    status_after: Ticket,
}

impl Reading {
    fn add(channel: &mut SecureChannel, script: &mut Script) -> Result<Self, ProcedureError> {
        let challenge = vec![Command::new("GET CHALLENGE", GetChallenge::Eight.to_apdu())];
        let status = || Command::new("GET DATA D001", GetPurseStatus.to_apdu());
        // Whoever kept a command from the card is found out by what is missing, not by the refusal that follows.
        let after = status().or(&[StatusWord::SECURITY_STATUS_NOT_SATISFIED]);
        let files = [
            (Sfi::PUBLIC_INFORMATION, PublicInformation::LENGTH),
            (Sfi::HOLDER, Holder::LENGTH),
            (Sfi::MANAGEMENT, Management::LENGTH),
        ];
        let files = files.map(|(sfi, length)| {
            let read = ReadBinary { sfi, offset: 0, length: Some(length as u8) };
            Command::new("READ BINARY", read.to_apdu())
        });
        Ok(Self {
            challenge: channel.add(script, challenge)?,
            status: channel.add(script, vec![status()])?,
            files: channel.add(script, files.to_vec())?,
            log: channel.add(script, records(Sfi::TRANSACTION_LOG, LOG_RECORDS))?,
            history: channel.add(script, records(Sfi::TRANSIT_HISTORY, HISTORY_RECORDS))?,
            transit: channel.add(script, records(Sfi::TRANSIT_RECORDS, TRANSIT_RECORDS))?,
            status_after: channel.add(script, vec![after])?,
        })
    }

    fn take(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<PurseClosing, ProcedureError> {
        let (status, image) = self.everything(channel, answers)?;
        Ok(match status.availability {
            PurseAvailability::Blocked => PurseClosing::Blocked(image),
            PurseAvailability::Open => PurseClosing::Open(status),
        })
    }

    fn everything(
        self,
        channel: &mut SecureChannel,
        answers: &mut Answers,
    ) -> Result<(PurseStatus, Box<CardImage>), ProcedureError> {
        channel.take_one(answers, &self.challenge)?;
        let status = take_status(channel, answers, &self.status)?;
        let name = answers.name(&self.files, 0);
        let unreadable = |error: LayoutError| SecureChannel::unreadable(name, error);
        let files = channel.take(answers, &self.files)?;
        let [public, holder, management] = &files[..] else {
            return Err(SecureChannel::unreadable(name, "three files were asked for"));
        };
        let log = take_records(channel, answers, &self.log, status.log, LogRecord::decode)?;
        let history = take_records(channel, answers, &self.history, status.history, HistoryRecord::decode)?;
        let transit = take_transit_records(channel, answers, &self.transit, &status)?;
        if take_status(channel, answers, &self.status_after)? != status {
            return Err(ProcedureError::UsedMeanwhile);
        }
        let image = CardImage::new(
            PublicInformation::decode(&public.data).map_err(unreadable)?,
            Holder::decode(&holder.data).map_err(unreadable)?,
            Management::decode(&management.data).map_err(unreadable)?,
            status.start,
            log,
            history,
            transit,
        );
        Ok((status, Box::new(image)))
    }
}

/// What GET DATA D001 said.
pub(super) fn take_status(
    channel: &mut SecureChannel,
    answers: &mut Answers,
    ticket: &Ticket,
) -> Result<PurseStatus, ProcedureError> {
    let name = answers.name(ticket, 0);
    let status = channel.take_one(answers, ticket)?;
    PurseStatus::decode(&status.data).map_err(|error| SecureChannel::unreadable(name, error))
}

// A card answers 6A83 past its last record, without a MAC: how many there are is told by D001.
fn records(sfi: Sfi, count: usize) -> Vec<Command> {
    let numbers = 1..=u8::try_from(count).unwrap_or(u8::MAX);
    let read = |number| {
        Command::new("READ RECORD", ReadRecord::number(sfi, number).to_apdu())
            .or(&[StatusWord::RECORD_NOT_FOUND])
    };
    numbers.map(read).collect()
}

/// The records of a cyclic file; there are as many as the purse proved. More under the card's MAC were written since.
fn take_records<T>(
    channel: &mut SecureChannel,
    answers: &mut Answers,
    ticket: &Ticket,
    count: u8,
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
) -> Result<Vec<T>, ProcedureError> {
    let name = answers.name(ticket, 0);
    let taken = channel.take(answers, ticket)?;
    let found = taken.iter().take_while(|response| response.status.is_success()).count();
    if found > usize::from(count) {
        return Err(ProcedureError::UsedMeanwhile);
    }
    if found < usize::from(count) {
        let reason = format!("{found} records came and the purse has {count}");
        return Err(SecureChannel::unreadable(name, reason));
    }
    let records = taken.iter().take(found).map(|response| decode(&response.data));
    records.collect::<Result<_, _>>().map_err(|error| SecureChannel::unreadable(name, error))
}

/// The records of EF1A, all of them; those that hold something are those that the purse named.
fn take_transit_records(
    channel: &mut SecureChannel,
    answers: &mut Answers,
    ticket: &Ticket,
    status: &PurseStatus,
) -> Result<Vec<TransitRecord>, ProcedureError> {
    let name = answers.name(ticket, 0);
    let mut written = Vec::new();
    for (response, number) in channel.take(answers, ticket)?.iter().zip(1..) {
        let Some(id) = RecordId::new(number) else { break };
        if !status.has_transit_record(id) {
            continue;
        }
        let record = TransitRecord::decode(&response.data);
        let record = record.map_err(|error| SecureChannel::unreadable(name, error))?;
        if record.head().id != id {
            return Err(SecureChannel::unreadable(name, "it is another record"));
        }
        written.push(record);
    }
    Ok(written)
}
