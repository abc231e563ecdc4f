//! What was kept aside and what is missing, for the institution that reported it.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::collection::{Gap, GapPage, GapSubject, PageQuery, QuarantineEntry, QuarantinePage};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::TerminalNumber;
use tsm_storage::clearing::collection::{AsidePlace, AsideRow, Counted};

use super::files::verdict_of_reason;
use super::{institution_id, problem};
use crate::clearing::Clearing;
use crate::clearing::access::Institution;
use crate::server::Call;

/// Entries of a page.
const PAGE: usize = 500;

/// The caller's rows that were kept aside.
pub(in crate::clearing) async fn quarantine(
    centre: Arc<Clearing>,
    call: Call<Institution, PageQuery>,
) -> Result<QuarantinePage, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let after = call.request.after.as_deref().map(place).transpose()?;
    let rows = centre.store.kept_aside(Some(&institution), after, PAGE).await.map_err(problem)?;
    let next = rows.last().filter(|_| rows.len() == PAGE).map(|row| {
        let place = row.place();
        format!("{}~{}", place.at, place.id)
    });
    Ok(QuarantinePage { entries: rows.iter().map(entry).collect(), next })
}

fn place(text: &str) -> Result<AsidePlace, Problem> {
    let wrong =
        || Problem::because(ProblemCode::ValueRefused, both("No page begins there.", "没有从此处开始的页。"));
    let (at, id) = text.split_once('~').ok_or_else(wrong)?;
    Ok(AsidePlace { at: at.parse().map_err(|_| wrong())?, id: id.parse().map_err(|_| wrong())? })
}

fn entry(row: &AsideRow) -> QuarantineEntry {
    let reported = &row.reported;
    QuarantineEntry {
        id: reported.id.to_string(),
        reason: verdict_of_reason(row.reason),
        terminal: reported.terminal.map(|terminal| HexBytes(terminal.to_bcd().to_vec())),
        file: reported.file.clone(),
        row: serde_json::from_str(&reported.text).ok(),
        line: reported.misread.as_ref().map(|misread| misread.line),
        field: reported.misread.as_ref().map(|misread| misread.field.clone()),
        since: reported.at,
    }
}

/// The missing numbers of the caller's terminals.
pub(in crate::clearing) async fn gaps(
    centre: Arc<Clearing>,
    call: Call<Institution, PageQuery>,
) -> Result<GapPage, Problem> {
    let institution = institution_id(&call.caller.0)?;
    let wrong =
        || Problem::because(ProblemCode::ValueRefused, both("No page begins there.", "没有从此处开始的页。"));
    let after = call.request.after.as_deref().map(str::parse::<TerminalNumber>).transpose();
    let after = after.map_err(|_| wrong())?;
    let mut page = GapPage { gaps: Vec::new(), next: None };
    let later = |number: &TerminalNumber| after.is_none_or(|after| *number > after);
    for terminal in centre.terminals.numbers_of(institution.as_str()).filter(later) {
        for counted in [Counted::Terminal(terminal), Counted::Batches(terminal)] {
            let numbering = centre.store.numbering(counted).await.map_err(problem)?;
            let number = HexBytes(terminal.to_bcd().to_vec());
            let subject = match counted {
                Counted::Batches(_) => GapSubject::Batches(number),
                Counted::Terminal(_) | Counted::Card(_) => GapSubject::Terminal(number),
            };
            page.gaps.extend(numbering.missing().iter().map(|gap| Gap {
                subject: subject.clone(),
                from: gap.from,
                to: gap.to,
                since: gap.since,
            }));
        }
        if page.gaps.len() >= PAGE {
            page.next = Some(terminal.to_string());
            break;
        }
    }
    Ok(page)
}
