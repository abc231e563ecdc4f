//! `opentsm books --replay`: whether the journal tells the same as the books.
//!
//! A running centre is asked over its interface; the store of a stopped one is opened here, as the centre
//! itself would open it.

use serde_json::json;
use tokio::runtime::Runtime;
use tsm_api::clearing::evidence::{ComparisonPage, SealPage, SealRecord, SealsQuery};
use tsm_api::signature::MessageVerifier;
use tsm_domain::money::journal::Seal;
use tsm_services::explain::yuan;
use tsm_storage::clearing::replay;

use crate::city::centre::Centre;
use crate::city::plan::CityPlan;
use crate::city::stores;
use crate::city::{CityError, in_step};

/// What was found.
struct Told {
    compared: ComparisonPage,
    seals: u64,
    unsealed: Option<String>,
}

/// Compares and tells; fails when anything does not fit.
pub(super) fn run(runtime: &Runtime, plan: &CityPlan, as_json: bool) -> Result<(), String> {
    let running = runtime.block_on(async { Centre::of(plan)?.receipt_key().await });
    let told = match running {
        Ok(_) => runtime.block_on(of_running(plan)),
        Err(_) => runtime.block_on(of_stopped(plan)),
    };
    let Told { compared, seals, unsealed } = told.map_err(|error| error.to_string())?;
    if as_json {
        say!("{}", json!({ "compared": compared, "seals": seals, "seal_fault": unsealed }));
    } else {
        let ComparisonPage { chains, entries, transfers, transactions, .. } = compared;
        say!(
            "{entries} entries in {chains} journals, played again: {transfers} transfers and {transactions} card \
             transactions, {} paid in",
            yuan(u64::try_from(compared.paid_in_fen).unwrap_or_default())
        );
        say!("{seals} seals, each signed by the centre and following the one before it");
        for finding in &compared.findings {
            say!("! {finding}");
        }
        if let Some(fault) = &unsealed {
            say!("! {fault}");
        }
    }
    match (compared.findings.len(), unsealed) {
        (0, None) => Ok(()),
        (0, Some(fault)) => Err(fault),
        (findings, _) => Err(format!("the journal and the books differ in {findings} places")),
    }
}

async fn of_running(plan: &CityPlan) -> Result<Told, CityError> {
    let centre = Centre::of(plan)?;
    let compared = centre.compare().await?;
    let step = "reading the seals";
    let mut last: Option<Seal> = None;
    let mut unsealed = None;
    loop {
        let after = last.as_ref().map_or(0, |last| last.number);
        let page = centre.link().seals(&SealsQuery { after }).await.map_err(in_step(step))?;
        if page.seals.is_empty() {
            return Ok(Told { compared, seals: after, unsealed });
        }
        let verifier = verifier(plan, &page).map_err(in_step(step))?;
        for record in &page.seals {
            let seal = seal_of(record);
            let follows = seal.previous == last.as_ref().map_or(Seal::START, Seal::hash);
            let signed = verifier.verify(&seal.signed_bytes(), record.signature.as_bytes()).is_ok();
            if unsealed.is_none() && (!follows || !signed) {
                unsealed = Some(format!("seal {} does not follow, or is not the centre's", record.number));
            }
            last = Some(seal);
        }
    }
}

/// The published key counts; a centre that was never asked to publish one is taken at its word.
fn verifier(plan: &CityPlan, page: &SealPage) -> Result<MessageVerifier, tsm_api::signature::SignatureError> {
    MessageVerifier::from_point(plan.receipt_key.as_ref().unwrap_or(&page.key).as_bytes())
}

fn seal_of(record: &SealRecord) -> Seal {
    let digest = |bytes: &tsm_api::HexBytes| {
        tsm_domain::bytes::Sha256Digest(bytes.as_bytes().try_into().unwrap_or_default())
    };
    Seal {
        number: record.number,
        at: record.at,
        previous: digest(&record.previous),
        root: digest(&record.root),
        heads: record.heads,
    }
}

async fn of_stopped(plan: &CityPlan) -> Result<Told, CityError> {
    let step = "opening the centre's store";
    let store = stores::clearing(plan).await.map_err(in_step(step))?;
    let found =
        replay::compare_all(&*store).await.map_err(in_step("comparing the journal with the books"))?;
    let totals = store.totals().await.map_err(in_step("summing the books"))?;
    let mut findings: Vec<String> = found.findings.iter().map(ToString::to_string).collect();
    if findings.is_empty() && totals != found.totals {
        findings.push("the totals of the books are not those of the journal".to_owned());
    }
    let key = plan.receipt_key.as_ref().and_then(|key| MessageVerifier::from_point(key.as_bytes()).ok());
    let signed = |seal: &tsm_domain::money::journal::SignedSeal| {
        let signature = hex::decode(&seal.signature).unwrap_or_default();
        key.as_ref().is_none_or(|key| key.verify(&seal.seal.signed_bytes(), &signature).is_ok())
    };
    let seals = replay::check_seals(&*store, signed).await.map_err(in_step("following the seals"))?;
    let (seals, unsealed) = match seals {
        Ok(seals) => (seals, None),
        Err(broken) => (0, Some(broken.to_string())),
    };
    Ok(Told {
        compared: ComparisonPage {
            chains: found.chains,
            entries: found.entries,
            transfers: found.transfers,
            transactions: found.transactions,
            paid_in_fen: i64::try_from(found.totals.paid_in + found.totals.cash_in).unwrap_or(i64::MAX),
            findings,
            next: None,
        },
        seals,
        unsealed,
    })
}
