//! Opening a card, or downloading any application (W-6.4.3, B-7.2, B-8.4, B-8.5.2).

use tsm_api::HexBytes;
use tsm_api::conversation::{OutcomeDetail, Party};
use tsm_api::ids::OrderId;
use tsm_api::problem::ProblemCode;
use tsm_api::se_tsm::wallet::{CatalogueEntry, Operation, START, StartRequest};

use super::{Cancellation, ONLY_THIS_WALLET, Wallet, WalletError};
use crate::applications;
use crate::interaction::Interaction;
use crate::network::{Host, NetworkError};
use crate::se_operation::SecureElementAccess;
use crate::storage::{InterruptedWork, WalletStorage, WorkKind};

/// How often a conversation that the server lost is begun again.
const RESTARTS: u32 = 3;

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Opens what a catalogue entry offers: the domain, the download, the installation and the
    /// personalisation, whichever the card still lacks.
    ///
    /// An opening that broke off goes on from what the card holds: call this again.
    pub async fn open_card(
        &mut self,
        entry: &CatalogueEntry,
        shown: &mut dyn Interaction,
    ) -> Result<(), WalletError> {
        self.require_full_rights()?;
        let ticket = entry.ticket.clone().ok_or_else(|| WalletError::NotOffered(entry.aid.clone()))?;
        self.begin_work(WorkKind::Open, &entry.aid, None).await?;
        match self.se_tsm_operation(Operation::Download, &entry.aid, &ticket, shown).await? {
            OutcomeDetail::Installed { aid, .. } => {
                applications::add(&mut self.record, &aid, &entry.name, "")
            }
            _ => return Err(WalletError::UnexpectedOutcome),
        }
        self.end_work().await
    }

    /// Holds one operation at the SE-TSM to its end, beginning again when the server lost it.
    pub(super) async fn se_tsm_operation(
        &mut self,
        operation: Operation,
        aid: &HexBytes,
        ticket: &str,
        shown: &mut dyn Interaction,
    ) -> Result<OutcomeDetail, WalletError> {
        let mut restarts = 0;
        loop {
            let mut request = StartRequest::on(operation, aid.clone(), ticket.to_owned(), self.request_id());
            request.options.if_busy = ONLY_THIS_WALLET;
            let bearer = self.bearer()?;
            let reply = self.network.call(Host::SeTsm, &START, &[], Some(bearer), &request).await?;
            match self.converse(Party::SeTsm, reply, shown).await {
                Err(WalletError::Restarted(_)) if restarts < RESTARTS => restarts += 1,
                ended => return ended,
            }
        }
    }

    /// Remembers what is being done, so that the next start can offer to continue it (W-9.3.b).
    /// Gives an opening up. The platform looks what there is of it on the card, which is deleted, and the issuer
    /// gives up its order; a card that its issuer has in use already is not deleted.
    pub(super) async fn cancel_opening(
        &mut self,
        aid: &HexBytes,
        order: Option<OrderId>,
        shown: &mut dyn Interaction,
    ) -> Result<Cancellation, WalletError> {
        self.synchronise(shown).await?;
        match self.delete_if_offered(aid, shown).await {
            Err(WalletError::Refused(problem)) if problem.code == ProblemCode::ValueRemains => {
                self.end_work().await?;
                return Ok(Cancellation::WasDone);
            }
            deleted => deleted?,
        }
        let Some(order) = order else { return Ok(Cancellation::Cancelled) };
        match self.ask_to_cancel(order).await {
            Ok(()) => Ok(Cancellation::Cancelled),
            Err(NetworkError::Refused(problem)) if problem.code == ProblemCode::StateForbids => {
                Ok(Cancellation::WasDone)
            }
            Err(NetworkError::Refused(problem)) => Err(WalletError::Refused(problem)),
            Err(other) => Err(other.into()),
        }
    }

    /// What the platform has as in use is opened, whatever this phone saw of it.
    pub(super) fn forget_finished_opening(&mut self) {
        let installed = &self.record.installed;
        let is_done = self.record.interrupted.as_ref().is_some_and(|work| {
            work.kind == WorkKind::Open && installed.iter().any(|known| known.aid == work.aid)
        });
        if is_done {
            self.record.interrupted = None;
        }
    }

    pub(super) async fn begin_work(
        &mut self,
        kind: WorkKind,
        aid: &HexBytes,
        order: Option<String>,
    ) -> Result<(), WalletError> {
        self.record.interrupted = Some(InterruptedWork { kind, aid: aid.clone(), order });
        self.keep().await
    }

    /// The work has been seen to end.
    pub(super) async fn end_work(&mut self) -> Result<(), WalletError> {
        self.record.interrupted = None;
        self.keep().await
    }
}
