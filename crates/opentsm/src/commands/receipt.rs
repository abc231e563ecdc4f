//! `opentsm receipt`: receipts that riders keep, checked without asking anybody.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Deserialize;
use tsm_api::HexBytes;
use tsm_api::receipt::{Receipt, ReceiptKind, SignedReceipt};
use tsm_api::signature::MessageVerifier;
use tsm_services::explain::{Language, moment, yuan};

use super::explain::Lang;
use crate::phone::Servers;

/// Options of `opentsm receipt`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Debug, Subcommand)]
enum Operation {
    /// Checks the signature of each receipt in a file: what `opentsm wallet receipts --json` printed.
    Verify(VerifyOptions),
}

#[derive(Debug, Args)]
struct VerifyOptions {
    /// One receipt, a list of them, or the whole reply of `opentsm wallet receipts --json`.
    file: PathBuf,

    /// The clearing centre's published key in hexadecimal.
    #[arg(long, value_name = "HEX", required_unless_present = "city")]
    key: Option<String>,

    /// The folder of a city, whose servers.json has the key; the city need not run.
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    city: Option<PathBuf>,

    /// The language.
    #[arg(long, alias = "language", value_enum, default_value_t = Lang::En)]
    lang: Lang,
}

/// The forms in which receipts are kept.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    One(SignedReceipt),
    Several(Vec<SignedReceipt>),
    Reply { detail: Detail },
    Page { receipts: Vec<SignedReceipt> },
}

#[derive(Deserialize)]
struct Detail {
    receipts: Vec<SignedReceipt>,
}

/// Checks the receipts; fails when one is not the centre's.
pub fn run(options: &Options) -> Result<(), String> {
    let Operation::Verify(options) = &options.operation;
    let centre = key(options)?;
    let text =
        std::fs::read(&options.file).map_err(|error| format!("{}: {error}", options.file.display()))?;
    let kept: Kept =
        serde_json::from_slice(&text).map_err(|_| format!("{} holds no receipts", options.file.display()))?;
    let receipts = match kept {
        Kept::One(receipt) => vec![receipt],
        Kept::Several(receipts) | Kept::Page { receipts } => receipts,
        Kept::Reply { detail } => detail.receipts,
    };
    let mut wrong = 0;
    for (number, signed) in (1..).zip(&receipts) {
        match signed.verify(&centre) {
            Ok(receipt) => say!("genuine  {}", line(receipt, options.lang.into())),
            Err(error) => {
                wrong += 1;
                say!("WRONG    receipt {number}: {error}");
            }
        }
    }
    if wrong > 0 {
        return Err(format!("{wrong} of {} receipts are not the centre's", receipts.len()));
    }
    Ok(())
}

fn key(options: &VerifyOptions) -> Result<MessageVerifier, String> {
    let point = match (&options.key, &options.city) {
        (Some(key), _) => hex::decode(key).map_err(|_| "the key is not hexadecimal".to_owned())?,
        (None, Some(city)) => published(city)?.as_bytes().to_vec(),
        (None, None) => return Err("--key or --city tells the clearing centre's key".to_owned()),
    };
    MessageVerifier::from_point(&point).map_err(|error| error.to_string())
}

fn published(city: &Path) -> Result<HexBytes, String> {
    let file = city.join("servers.json");
    let text = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let servers: Servers =
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    servers.receipt_key.ok_or_else(|| format!("{} does not tell the clearing centre's key", file.display()))
}

/// A receipt in one line.
pub fn line(receipt: &Receipt, language: Language) -> String {
    let what = match receipt.kind {
        ReceiptKind::Opened => language.choose("opened", "开卡"),
        ReceiptKind::ToppedUp => language.choose("topped up", "充值"),
        ReceiptKind::Spent => language.choose("spent", "消费"),
        ReceiptKind::Returned => language.choose("returned", "退卡"),
        ReceiptKind::MigratedOut => language.choose("left its phone", "迁出"),
        ReceiptKind::MigratedIn => language.choose("came to this phone", "迁入"),
        ReceiptKind::TopUpCancelled => language.choose("top-up cancelled", "充值取消"),
        ReceiptKind::Refunded => language.choose("paid back", "退款"),
    };
    let (at, amount) = (moment(receipt.at), yuan(receipt.amount_fen));
    let left = receipt.balance_fen.map(|fen| {
        let left = yuan(fen);
        language.choose(format!(", card holds {left}"), format!("，余额 {left}"))
    });
    let (left, entry) = (left.unwrap_or_default(), receipt.entry);
    let place = language.choose(format!("entry {entry}"), format!("第 {entry} 条"));
    format!("{at}  {what}  {amount}{left}  ({}, {place})", receipt.card)
}
