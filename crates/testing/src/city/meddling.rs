//! Somebody at an operator who alters what its terminals deliver, on the way to the centre. He speaks with the
//! operator's own certificate and keys, so that only the terminal's signature tells. The centre takes nothing of
//! it, and lists what it refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tsm_api::HexBytes;
use tsm_api::clearing::collection::{BatchRow, TerminalBatch};
use tsm_api::clearing_transport::Outcome;
use tsm_api::client::files::NamedFile;
use tsm_api::client::{ClearingPeer, ClientError};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::MessageSigner as _;
use tsm_domain::money::reconciliation::{Cause, Difference};
use tsm_terminal::upload;

use super::counts::Kind;
use super::keys;
use super::lock;
use super::random::Random;
use super::terminals::Terminals;
use super::violation::Violation;
use super::world::World;

/// What was altered, by the beginning of the line that lists it, each with whether the centre said that it had
/// refused it.
#[derive(Default)]
pub(super) struct Meddled {
    all: Mutex<BTreeMap<String, Known>>,
    /// The endings under which the terminals' own files have set out, signatures first.
    own: Mutex<BTreeSet<String>>,
}

/// What is known of the centre's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    /// Nothing; it may have refused it.
    Nothing,
    /// It has refused it.
    Refused,
}

/// How something is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alteration {
    /// It comes without the terminal's signature.
    Unsigned,
    /// A bit of the signature is another.
    Bit,
    /// Another terminal has signed it.
    OtherTerminal,
    /// A row is not in it any more.
    FewerRows,
    /// A row says something else.
    OtherRow,
}

impl Alteration {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Unsigned, Self::Bit, Self::OtherTerminal, Self::FewerRows, Self::OtherRow];
}

impl Meddled {
    fn hear(&self, what: String, known: Known) {
        let mut all = lock(&self.all);
        let heard = all.entry(what).or_insert(known);
        *heard = (*heard).max(known);
    }

    /// A terminal's own files set out.
    pub(super) fn set_out(&self, ending: &str) {
        lock(&self.own).insert(ending.to_owned());
    }
}

/// The ending of the names of a batch's files, whoever brings them.
pub(super) fn ending_of(batch: &TerminalBatch) -> String {
    let (number, sequence) = key_of(batch);
    format!("{}{sequence:08}", hex::encode(number))
}

fn key_of(batch: &TerminalBatch) -> ([u8; 6], u64) {
    (batch.header.terminal.as_bytes().try_into().unwrap_or_default(), batch.header.sequence)
}

/// A batch that says something else than the terminal signed; none where it would not.
fn altered(batch: &TerminalBatch, how: Alteration, random: &mut Random) -> Option<TerminalBatch> {
    let (number, sequence) = key_of(batch);
    let mut altered = batch.clone();
    let signature = altered.header.signature.clone()?;
    match how {
        Alteration::Unsigned => altered.header.signature = None,
        Alteration::Bit => {
            let mut bytes = signature.0;
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << random.below(8);
            altered.header.signature = Some(HexBytes(bytes));
        }
        Alteration::OtherTerminal => {
            let others = keys::terminal_keys();
            let other = &others[random.below(others.len() as u64) as usize];
            let forged = HexBytes(other.signer.sign(&altered.header.signed_bytes()).to_vec());
            // The terminal itself may have been drawn.
            if forged == signature {
                return None;
            }
            altered.header.signature = Some(forged);
        }
        Alteration::FewerRows | Alteration::OtherRow => {
            let place = random.below(altered.rows.len() as u64) as usize;
            if how == Alteration::FewerRows {
                altered.rows.remove(place);
            } else {
                let row = &mut altered.rows[place];
                *row = BatchRow { amount_fen: row.amount_fen + 1, ..row.clone() };
            }
            altered.header = upload::header_of(number, sequence, &altered.rows).ok()?;
            altered.header.signature = Some(signature);
        }
    }
    Some(altered)
}

impl Terminals {
    /// Brings a batch that is not as its terminal signed it.
    pub(super) async fn bring_altered_batch(&self, batch: &TerminalBatch, peer: &ClearingPeer) {
        let drawn = self.random.draw(|random| {
            let how = *random.pick(&Alteration::ALL);
            (how, altered(batch, how, random))
        });
        let (how, Some(altered)) = drawn else { return };
        self.tally.fault(Kind::Altered(how));
        let (number, sequence) = key_of(batch);
        let of = format!("batch-refused: batch {sequence} of terminal {} of", hex::encode(number));
        match peer.batch(&altered).await {
            Ok(_) => self.took(how, &of),
            Err(error) if is_about_terminal(&error) => self.meddled.hear(of, Known::Refused),
            Err(_) => self.meddled.hear(of, Known::Nothing),
        }
    }

    /// A batch's files as somebody alters them; none where they would be the same. Brought whole, they are not
    /// taken.
    pub(super) fn altered_files(&self, batch: &TerminalBatch) -> Option<AlteredFiles> {
        let ending = ending_of(batch);
        let (how, altered) = self.random.draw(|random| {
            let how = *random.pick(&Alteration::ALL);
            (how, altered(batch, how, random))
        });
        let altered = altered?;
        let files = upload::files_of(&altered, &ending, DATE, RECEIVER).ok()?;
        let what = format!("file-refused: file UP{ending} of");
        self.tally.fault(Kind::Altered(how));
        let signed_before = how == Alteration::Unsigned && lock(&self.meddled.own).contains(&ending);
        Some(AlteredFiles { files, how, what, signed_before })
    }

    /// What the centre said of altered files; nothing when the line broke.
    pub(super) fn heard_of_altered(&self, altered: AlteredFiles, refused: Option<&[(usize, Outcome)]>) {
        let is_judged = |outcome: &Outcome| matches!(outcome, Outcome::FileRefused | Outcome::DigestWrong);
        match refused {
            // The terminal's own signatures are there from before, so that nothing is altered.
            Some([]) if altered.signed_before => {}
            Some([]) => self.took(altered.how, &altered.what),
            Some(refused) if refused.iter().any(|(_, outcome)| is_judged(outcome)) => {
                self.meddled.hear(altered.what, Known::Refused);
            }
            // Another file has the name, or nobody knows.
            Some(_) | None => self.meddled.hear(altered.what, Known::Nothing),
        }
    }

    fn took(&self, how: Alteration, of: &str) {
        let what = format!("{how:?}, taken all the same: {of}");
        self.truth.find(None, Violation::Altered { what });
    }
}

/// Files that are not as their terminal signed them.
pub(super) struct AlteredFiles {
    pub(super) files: Vec<NamedFile>,
    how: Alteration,
    what: String,
    signed_before: bool,
}

/// The date in the files' headers, which nobody reads.
pub(super) const DATE: u32 = 20_261_121;
/// Who receives the files.
pub(super) const RECEIVER: &str = "CENTRE";

/// Whether the centre misses the terminal's own signature, rather than the operator's.
fn is_about_terminal(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(problem) => {
            problem.code == ProblemCode::SignatureWrong && problem.message_en.contains("terminal")
        }
        _ => false,
    }
}

impl World {
    /// Whether somebody has altered what this difference says was refused.
    pub(super) fn was_altered(&self, difference: &Difference) -> bool {
        let all = lock(&self.terminals.meddled.all);
        difference.cause == Cause::BatchRefused && all.keys().any(|of| difference.text.starts_with(of))
    }

    /// What the centre refused because its terminal had not signed it so, stands in its view.
    pub(super) fn check_altered(&self, listed: &[Difference]) {
        for (of, known) in lock(&self.terminals.meddled.all).iter() {
            let is_listed = listed.iter().any(|difference| difference.text.starts_with(of));
            if *known == Known::Refused && !is_listed {
                let what = format!("refused, and not listed: {of}");
                return self.truth.find(None, Violation::Altered { what });
            }
        }
    }
}
