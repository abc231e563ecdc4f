//! Typed clients of every role: a sentence for each endpoint.

use crate::clearing::{closing, collection, evidence, fares, lists};
use crate::client::{Client, ClientError};
use crate::conversation::{ConversationReply, StartOptions, TurnRequest};
use crate::endpoint::Nothing;
use crate::ids::{
    ApplicationId, ConversationId, DomainId, OperationId, OrderId, PaymentId, ProviderId, TaskId,
};
use crate::se_tsm::{migrations, operator, peer as se_peer, provider, wallet as se_wallet};
use crate::sp_tsm::{
    desk, evidence as sp_evidence, migration, peer as sp_peer, terminal, wallet as sp_wallet,
};
use crate::{HexBytes, clearing, payment};

macro_rules! role_client {
    ($(#[$doc:meta])* $client:ident { $($(#[$call_doc:meta])* $name:ident($($parameter:ident: $kind:ty),*; $($request:ty)?) -> $reply:ty = $endpoint:path;)* }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $client {
            /// The client that carries the calls.
            pub client: Client,
        }

        impl $client {
            /// Calls through this client.
            pub const fn new(client: Client) -> Self {
                Self { client }
            }

            $(role_client!(@call $(#[$call_doc])* $name, [$($parameter: $kind),*], [$($request)?], $reply, $endpoint);)*
        }
    };
    (@call $(#[$doc:meta])* $name:ident, [$($parameter:ident: $kind:ty),*], [$request:ty], $reply:ty, $endpoint:path) => {
        $(#[$doc])*
        pub async fn $name(&self, $($parameter: $kind,)* request: &$request) -> Result<$reply, ClientError> {
            self.client.call(&$endpoint, &[$(&$parameter.to_string()),*], request).await
        }
    };
    (@call $(#[$doc:meta])* $name:ident, [$($parameter:ident: $kind:ty),*], [], $reply:ty, $endpoint:path) => {
        $(#[$doc])*
        pub async fn $name(&self, $($parameter: $kind),*) -> Result<$reply, ClientError> {
            self.client.call(&$endpoint, &[$(&$parameter.to_string()),*], &Nothing {}).await
        }
    };
}

role_client! {
    /// The wallet's calls to the SE-TSM.
    SeTsmWallet {
        /// Reads the utilisation protocol.
        agreement(;) -> se_wallet::Agreement = se_wallet::AGREEMENT;
        /// Starts a registration.
        register(; se_wallet::RegistrationRequest) -> ConversationReply = se_wallet::REGISTER;
        /// Logs in.
        login(; se_wallet::LoginRequest) -> se_wallet::LoginReply = se_wallet::LOGIN;
        /// Logs out.
        logout(;) -> Nothing = se_wallet::LOGOUT;
        /// Reads a page of the catalogue.
        applications(; se_wallet::CatalogueQuery) -> se_wallet::CataloguePage = se_wallet::APPLICATIONS;
        /// Reads one application.
        application(aid: &HexBytes;) -> se_wallet::ApplicationDetails = se_wallet::APPLICATION;
        /// Reads the four lists.
        lists(;) -> se_wallet::OperationLists = se_wallet::LISTS;
        /// Reads the record of the secure element.
        element(;) -> se_wallet::ElementSummary = se_wallet::ELEMENT;
        /// Starts an operation.
        start(; se_wallet::StartRequest) -> ConversationReply = se_wallet::START;
        /// Answers a turn.
        turn(conversation: ConversationId; TurnRequest) -> ConversationReply = se_wallet::TURN;
        /// Cancels a conversation.
        cancel(conversation: ConversationId;) -> Nothing = se_wallet::CANCEL;
        /// Reads running and waiting operations.
        tasks(;) -> se_wallet::TaskList = se_wallet::TASKS;
        /// Orders a migration between own phones.
        order_migration(; migrations::OwnMigration) -> migrations::OrderedMigration = migrations::ORDER_OWN_MIGRATION;
        /// Reads the ordered migrations of this phone.
        migrations(;) -> migrations::OrderedMigrations = migrations::OWN_MIGRATIONS;
        /// Withdraws an ordered migration.
        withdraw_migration(migration: OperationId;) -> migrations::OrderedMigration = migrations::WITHDRAW_OWN_MIGRATION;
    }
}

role_client! {
    /// The calls of the operator's staff and of providers to the SE-TSM.
    SeTsmStaff {
        /// Logs staff in.
        login(; operator::StaffLogin) -> operator::StaffSession = operator::LOGIN;
        /// Changes one's own password.
        password(; operator::PasswordChange) -> Nothing = operator::PASSWORD;
        /// Adds staff.
        add_staff(; operator::NewStaff) -> operator::StaffRecord = operator::ADD_STAFF;
        /// Enters a batch.
        add_batch(; operator::NewBatch) -> operator::BatchRecord = operator::ADD_BATCH;
        /// Reads the batches.
        batches(;) -> operator::BatchList = operator::BATCHES;
        /// Registers a provider.
        add_provider(; operator::NewProvider) -> operator::ProviderRecord = operator::ADD_PROVIDER;
        /// Reads the providers.
        providers(; operator::ProviderQuery) -> operator::ProviderList = operator::PROVIDERS;
        /// Approves or refuses a provider.
        audit_provider(provider: &ProviderId; operator::Decision) -> operator::ProviderApproval = operator::AUDIT_PROVIDER;
        /// Changes the blacklist.
        blacklist(provider: &ProviderId; operator::BlacklistEntry) -> operator::ProviderRecord = operator::BLACKLIST;
        /// Defines a security domain.
        add_domain(; operator::NewDomain) -> operator::DomainRecord = operator::ADD_DOMAIN;
        /// Reads the domains.
        domains(;) -> operator::DomainList = operator::DOMAINS;
        /// Audits a domain.
        audit_domain(domain: &DomainId; operator::Decision) -> operator::DomainRecord = operator::AUDIT_DOMAIN;
        /// Changes a domain.
        change_domain(domain: &DomainId; operator::DomainChange) -> operator::DomainRecord = operator::CHANGE_DOMAIN;
        /// Removes a domain definition.
        remove_domain(domain: &DomainId;) -> Nothing = operator::REMOVE_DOMAIN;
        /// Reads the application records.
        applications(;) -> operator::ApplicationList = operator::APPLICATIONS;
        /// Audits an application.
        audit_application(application: ApplicationId; operator::Decision) -> operator::ApplicationRecord = operator::AUDIT_APPLICATION;
        /// Assigns AIDs.
        assign_aids(application: ApplicationId;) -> operator::ApplicationRecord = operator::ASSIGN_AIDS;
        /// Defines an application.
        define(application: ApplicationId; operator::ApplicationDefinition) -> operator::ApplicationRecord = operator::DEFINE;
        /// Records a test.
        test(application: ApplicationId; operator::TestResult) -> operator::ApplicationRecord = operator::TEST_APPLICATION;
        /// Confirms a test.
        confirm_test(application: ApplicationId; operator::Decision) -> operator::ApplicationRecord = operator::CONFIRM_TEST;
        /// Publishes.
        publish(application: ApplicationId; operator::Publication) -> operator::ApplicationRecord = operator::PUBLISH;
        /// Suspends or resumes.
        suspend(application: ApplicationId; operator::Suspension) -> operator::ApplicationRecord = operator::SUSPEND;
        /// Archives.
        archive(application: ApplicationId;) -> operator::ApplicationRecord = operator::ARCHIVE;
        /// Reads a secure element.
        element(se_id: &HexBytes;) -> operator::ElementRecord = operator::ELEMENT;
        /// Reads its tasks.
        element_tasks(se_id: &HexBytes;) -> se_wallet::TaskList = operator::ELEMENT_TASKS;
        /// Changes the loss list.
        report_loss(se_id: &HexBytes; operator::LossReport) -> operator::ElementRecord = operator::REPORT_LOSS;
        /// Records what became of the bound number.
        number_state(se_id: &HexBytes; operator::NumberState) -> operator::ElementRecord = operator::NUMBER_STATE;
        /// Changes the bound number.
        change_number(se_id: &HexBytes; operator::NumberChange) -> operator::ElementRecord = operator::CHANGE_NUMBER;
        /// Writes the new number into the card.
        write_number(se_id: &HexBytes; StartOptions) -> ConversationReply = operator::WRITE_NUMBER;
        /// Orders a migration.
        order_migration(se_id: &HexBytes; migrations::NewMigration) -> migrations::OrderedMigration = migrations::ORDER_MIGRATION;
        /// Reads the ordered migrations of a secure element.
        migrations(se_id: &HexBytes;) -> migrations::OrderedMigrations = migrations::MIGRATIONS;
        /// Withdraws an ordered migration.
        withdraw_migration(migration: OperationId; migrations::Withdrawal) -> migrations::OrderedMigration = migrations::WITHDRAW_MIGRATION;
        /// Terminates a task.
        terminate(task: TaskId;) -> Nothing = operator::TERMINATE;
        /// Reads the audit trail.
        audit_trail(; operator::AuditQuery) -> operator::AuditPage = operator::AUDIT_TRAIL;
        /// Logs a provider in.
        provider_login(; operator::StaffLogin) -> operator::StaffSession = provider::LOGIN;
        /// Changes a provider's password.
        provider_password(; operator::PasswordChange) -> Nothing = provider::PASSWORD;
        /// Reads the provider's own record.
        provider_self(;) -> operator::ProviderRecord = provider::SELF;
        /// Uploads an application.
        upload(; provider::Upload) -> operator::ApplicationRecord = provider::UPLOAD;
        /// Reads the provider's own applications.
        own_applications(;) -> operator::ApplicationList = provider::APPLICATIONS;
        /// Reads one of the provider's own applications.
        own_application(application: ApplicationId;) -> operator::ApplicationRecord = provider::APPLICATION;
        /// Reads the provider's own domains.
        own_domains(;) -> operator::DomainList = provider::DOMAINS;
    }
}

role_client! {
    /// An SP-TSM's calls to the SE-TSM.
    SeTsmPeer {
        /// Reports a result.
        result(; se_peer::OperationResult) -> se_peer::StateReply = se_peer::RESULT;
        /// Opens an application for use.
        open_notice(; se_peer::Notice) -> se_peer::StateReply = se_peer::OPEN_NOTICE;
        /// Ends a subscription.
        unsubscribe_notice(; se_peer::Notice) -> se_peer::StateReply = se_peer::UNSUBSCRIBE_NOTICE;
        /// Asks for a state.
        state(; se_peer::StateQuery) -> se_peer::StateReply = se_peer::STATE;
        /// Asks who one is.
        whoami(;) -> se_peer::PeerGreeting = se_peer::PING;
    }
}

role_client! {
    /// The wallet's calls to an SP-TSM.
    SpTsmWallet {
        /// Orders a card.
        order_card(; sp_wallet::OpenCardOrder) -> sp_wallet::OrderRecord = sp_wallet::ORDER_CARD;
        /// Orders a top-up.
        order_top_up(; sp_wallet::TopUpOrder) -> sp_wallet::OrderRecord = sp_wallet::ORDER_TOP_UP;
        /// Reads an order.
        order(order: OrderId;) -> sp_wallet::OrderRecord = sp_wallet::ORDER;
        /// Cancels an order.
        cancel_order(order: OrderId;) -> sp_wallet::OrderRecord = sp_wallet::CANCEL_ORDER;
        /// Starts an operation.
        start(; sp_wallet::StartRequest) -> ConversationReply = sp_wallet::START;
        /// Answers a turn.
        turn(conversation: ConversationId; TurnRequest) -> ConversationReply = sp_wallet::TURN;
        /// Cancels a conversation.
        cancel(conversation: ConversationId;) -> Nothing = sp_wallet::CANCEL;
        /// Reads the card's record.
        card(aid: &HexBytes;) -> sp_wallet::CardRecord = sp_wallet::CARD;
        /// Reads what was interrupted.
        interrupted(;) -> sp_wallet::InterruptedWorks = sp_wallet::INTERRUPTED;
        /// Lists the parked cards of the own number.
        parked_cards(;) -> migration::ParkedCards = migration::PARKED_CARDS;
        /// Orders a parked card to this phone.
        order_migration(; migration::MigrationOrder) -> migration::MigrationRecord = migration::ORDER_MIGRATION;
        /// Gives a migration up.
        cancel_migration(migration: OperationId;) -> migration::MigrationRecord = migration::CANCEL_MIGRATION;
        /// Returns a parked card.
        return_parked(; migration::ParkedReturn) -> migration::ReturnedCard = migration::RETURN_PARKED;
        /// Reports an own card as lost.
        report_lost(; desk::LostCard) -> desk::DeskRecord = desk::REPORT_OWN_LOST;
    }
}

role_client! {
    /// The issuer's own halls and customer service.
    SpTsmDesk {
        /// Proposes a payout.
        propose_payout(; desk::CardMatter) -> desk::PayoutRecord = desk::PROPOSE_PAYOUT;
        /// Approves a payout.
        approve_payout(payout: OperationId;) -> desk::PayoutRecord = desk::APPROVE_PAYOUT;
        /// Rejects a payout.
        reject_payout(payout: OperationId;) -> desk::PayoutRecord = desk::REJECT_PAYOUT;
        /// Reads a payout.
        payout(payout: OperationId;) -> desk::PayoutRecord = desk::PAYOUT;
        /// Records a lost card.
        report_lost(; desk::CardMatter) -> desk::DeskRecord = desk::REPORT_LOST;
        /// Allows a card to be unlocked.
        allow_unlock(; desk::CardMatter) -> desk::DeskRecord = desk::ALLOW_UNLOCK;
        /// Releases a dead claim.
        release_claim(; desk::CardMatter) -> migration::MigrationRecord = desk::RELEASE_CLAIM;
        /// Proposes to return a card whose claim may be live.
        propose_claim_return(; desk::CardMatter) -> desk::DeskRecord = desk::PROPOSE_CLAIM_RETURN;
        /// Approves that.
        approve_claim_return(case: OperationId;) -> desk::DeskRecord = desk::APPROVE_CLAIM_RETURN;
        /// Rejects that.
        reject_claim_return(case: OperationId;) -> desk::DeskRecord = desk::REJECT_CLAIM_RETURN;
        /// Begins a conversation with a card on the hall's reader.
        hall_session(; desk::HallSession) -> ConversationReply = desk::HALL_SESSION;
        /// Answers a turn of it.
        turn(conversation: ConversationId; TurnRequest) -> ConversationReply = sp_wallet::TURN;
        /// Reads what was decided about a card.
        cases(; desk::CasesQuery) -> desk::DeskRecords = desk::CASES;
    }
}

role_client! {
    /// The SE-TSM's calls to an SP-TSM.
    SpTsmPeer {
        /// Asks for consent.
        pre_operation(; sp_peer::PreOperationRequest) -> sp_peer::PreOperationReply = sp_peer::PRE_OPERATION;
        /// Hands a conversation over.
        handover(; sp_peer::HandoverRequest) -> sp_peer::HandoverReply = sp_peer::HANDOVER;
        /// Reports a result.
        result(; se_peer::OperationResult) -> Nothing = sp_peer::RESULT;
        /// Tells that a rider has another number.
        number_changed(; sp_peer::NumberChanged) -> Nothing = sp_peer::NUMBER_CHANGED;
        /// Tells that a secure element is lost, or found.
        loss(; sp_peer::SeLoss) -> Nothing = sp_peer::LOSS;
        /// Asks where a card and its money are.
        explanation(; evidence::CardQuery) -> evidence::CardFacts = sp_evidence::EXPLANATION;
        /// Asks what is being done.
        flows(;) -> sp_evidence::Flows = sp_evidence::FLOWS;
    }
}

role_client! {
    /// A top-up terminal's calls to an SP-TSM.
    SpTsmTerminal {
        /// Begins a top-up with cash, or goes on with it.
        begin(; terminal::CashTopUpRequest) -> terminal::CashTopUpReply = terminal::BEGIN;
        /// Answers a turn.
        turn(conversation: ConversationId; TurnRequest) -> ConversationReply = terminal::TURN;
        /// Asks how an operation stands.
        status(operation: OperationId;) -> terminal::CashTopUpRecord = terminal::STATUS;
        /// Cancels an operation, so that the cash may go back.
        cancel(; terminal::CashTopUpRequest) -> terminal::CashTopUpRecord = terminal::CANCEL;
    }
}

role_client! {
    /// A merchant's calls to the payment platform.
    PaymentPeer {
        /// Opens a payment.
        create(; payment::NewPayment) -> payment::PaymentRecord = payment::CREATE;
        /// Reads a payment.
        query(payment: PaymentId;) -> payment::PaymentRecord = payment::QUERY;
        /// Closes a payment.
        close(payment: PaymentId;) -> payment::PaymentRecord = payment::CLOSE;
        /// Gives money back.
        refund(payment: PaymentId; payment::Refund) -> payment::RefundRecord = payment::REFUND;
        /// Downloads a day's statement.
        statement(; payment::StatementQuery) -> payment::StatementFile = payment::STATEMENT;
        /// Downloads a piece of a day's statement.
        statement_piece(; payment::StatementPieceQuery) -> payment::StatementPiece = payment::STATEMENT_PIECE;
        /// Reads the platform's keys.
        platform_keys(;) -> payment::PlatformKeys = payment::PLATFORM_KEYS;
    }
}

role_client! {
    /// The payer's calls to the payment platform.
    PaymentUser {
        /// Pays or declines.
        pay(payment: PaymentId; payment::Pay) -> payment::PaymentRecord = payment::PAY;
        /// Reads what is to be paid.
        show(payment: PaymentId;) -> payment::PaymentRecord = payment::SHOW;
        /// Pays from a transit card, or gives that up.
        pay_from_card(payment: PaymentId; payment::purse::CardPayment) -> ConversationReply = payment::purse::PAY_FROM_CARD;
        /// Answers a turn.
        turn(conversation: ConversationId; TurnRequest) -> ConversationReply = payment::purse::TURN;
        /// Reads what is addressed to a payer.
        addressed(payer: &HexBytes;) -> payment::purse::AddressedPayments = payment::purse::ADDRESSED;
    }
}

role_client! {
    /// An institution's calls to the clearing centre.
    ClearingPeer {
        /// Opens an account.
        open_account(; clearing::NewAccount) -> clearing::AccountRecord = clearing::OPEN_ACCOUNT;
        /// Reports a payment.
        payment(; clearing::OrderReport) -> Nothing = clearing::PAYMENT;
        /// Reports a cancellation.
        cancellation(; clearing::OrderReport) -> Nothing = clearing::CANCELLATION;
        /// Reports a refund.
        refund(; clearing::OrderReport) -> Nothing = clearing::REFUND;
        /// Reports a credit.
        credit(; clearing::CreditReport) -> clearing::CreditReceipt = clearing::CREDIT;
        /// Reports consumption.
        consumption(; clearing::ConsumptionReport) -> clearing::ConsumptionReceipt = clearing::CONSUMPTION;
        /// Reads an account.
        account(card: &HexBytes;) -> clearing::AccountRecord = clearing::ACCOUNT;
        /// Reads a card's receipts.
        receipts(; evidence::ReceiptQuery) -> evidence::ReceiptPage = evidence::RECEIPTS;
        /// Asks where a card and its money are.
        explanation(; evidence::CardQuery) -> evidence::CardFacts = evidence::EXPLANATION;
        /// Lists cards.
        cards(; evidence::CardsQuery) -> evidence::CardPage = evidence::CARDS;
        /// Reads the last transactions.
        activity(;) -> evidence::Activity = evidence::ACTIVITY;
        /// Compares some of the journal with the books.
        comparison(; evidence::ComparisonQuery) -> evidence::ComparisonPage = evidence::COMPARISON;
        /// Seals the journal.
        seal(;) -> evidence::SealPage = evidence::SEAL;
        /// Reads the seals.
        seals(; evidence::SealsQuery) -> evidence::SealPage = evidence::SEALS;
        /// Reads the money equation.
        books(;) -> clearing::Books = clearing::BOOKS;
        /// Begins a closing.
        begin_closing(; closing::BeginClosing) -> closing::ClosingRecord = closing::BEGIN_CLOSING;
        /// Undoes a closing.
        undo_closing(; closing::UndoClosing) -> closing::ClosingRecord = closing::UNDO_CLOSING;
        /// Parks a card.
        park(; closing::ParkedCard) -> closing::ClosingRecord = closing::PARK;
        /// Orders a refund.
        order_refund(; closing::RefundRequest) -> closing::ClosingRecord = closing::ORDER_REFUND;
        /// Reports a payment of a refund.
        refund_paid(; closing::RefundPayment) -> closing::ClosingRecord = closing::REFUND_PAID;
        /// Claims a parked card.
        claim_parked(; closing::ClaimParked) -> closing::ClaimedCard = closing::CLAIM_PARKED;
        /// Releases a claim.
        release_claim(; closing::ReleaseClaim) -> closing::ClosingRecord = closing::RELEASE_CLAIM;
        /// Reads what the centre knows about a claim that may be live.
        claim_evidence(; closing::ClaimQuery) -> closing::ClaimEvidence = closing::CLAIM_EVIDENCE;
        /// Reads a closing.
        closing(; closing::ClosingQuery) -> closing::ClosingRecord = closing::CLOSING;
        /// Tells of a frozen card, and asks whether it was released.
        issuer_freeze(; clearing::freezes::IssuerFreeze) -> clearing::freezes::FreezeStanding = clearing::freezes::ISSUER_FREEZE;
        /// Reports what a phone tried with a card.
        card_incident(; clearing::card_incidents::CardIncident) -> Nothing = clearing::card_incidents::CARD_INCIDENT;
        /// Reports what contradicts a payment.
        payment_incident(; clearing::payments::PaymentIncident) -> Nothing = clearing::payments::PAYMENT_INCIDENT;
        /// Reports a payment that nobody could use and that went back.
        stray_payment(; clearing::payments::StrayPayment) -> Nothing = clearing::payments::STRAY_PAYMENT;
        /// Asks who has reported a purchase.
        purchase(; clearing::purchases::PurchaseQuery) -> clearing::purchases::PurchaseAnswer = clearing::purchases::PURCHASE;
        /// Asks which proofs a card is to be asked for.
        wanted_proofs(; clearing::purchases::CardQuery) -> clearing::purchases::WantedProofs = clearing::purchases::WANTED_PROOFS;
        /// Brings the proof that a card gave.
        card_proof(; clearing::purchases::CardProof) -> clearing::purchases::CardProofReply = clearing::purchases::CARD_PROOF;
        /// Delivers a terminal's batch.
        batch(; collection::TerminalBatch) -> collection::BatchReceipt = collection::BATCH;
        /// Asks what became of a batch, named terminal, hyphen, sequence.
        batch_state(batch: &str;) -> collection::BatchReceipt = collection::BATCH_STATE;
        /// Uploads a piece of a file.
        file_piece(; collection::FilePiece) -> collection::FileRecord = collection::FILE_PIECE;
        /// Asks what became of a file.
        file(name: &str;) -> collection::FileRecord = collection::FILE;
        /// Reads a piece of a file that the centre made.
        file_content(name: &str; collection::FileContentQuery) -> collection::FileContent = collection::FILE_CONTENT;
        /// Reads which files the centre made.
        results(;) -> collection::ResultList = collection::RESULTS;
        /// Reads what was kept aside.
        quarantine(; collection::PageQuery) -> collection::QuarantinePage = collection::QUARANTINE;
        /// Reads what is missing.
        gaps(; collection::PageQuery) -> collection::GapPage = collection::GAPS;
        /// Reads what changed on the list.
        list_changes(; lists::ChangesQuery) -> lists::ListUpdate = lists::LIST_CHANGES;
        /// Reads the whole list.
        whole_list(;) -> lists::ListUpdate = lists::WHOLE_LIST;
        /// Reads the key of the list's signature.
        list_key(;) -> lists::ListKey = lists::LIST_KEY;
        /// Tells what a terminal has.
        terminal_status(; lists::TerminalStatus) -> lists::TerminalParameters = lists::TERMINAL_STATUS;
        /// Reads the caller's terminals.
        terminals(;) -> lists::TerminalList = lists::TERMINALS;
        /// Reads a published version of the fare table.
        fares(version: u32;) -> fares::PublishedFares = fares::PUBLISHED;
        /// Reports a lost card.
        report_lost(; lists::LostCard) -> lists::ListStanding = lists::REPORT_LOST;
        /// Reports a lost card found.
        report_found(; lists::LostCard) -> lists::ListStanding = lists::REPORT_FOUND;
        /// Reports a card locked by a terminal.
        report_locked(; lists::LockedCard) -> lists::ListStanding = lists::REPORT_LOCKED;
        /// Reads how a card is listed.
        standing(card: &HexBytes;) -> lists::ListStanding = lists::STANDING;
        /// Proposes a change of the list.
        propose(; lists::ListProposal) -> lists::ProposalRecord = lists::PROPOSE;
        /// Decides on a proposal.
        decide(proposal: uuid::Uuid; lists::ProposalDecision) -> lists::ProposalRecord = lists::DECIDE;
        /// Reads what waits for a decision.
        proposals(;) -> lists::ProposalList = lists::PROPOSALS;
    }
}
