//! The desk's sentences in both languages.

use tsm_api::conversation::{Outcome, OutcomeDetail, OutcomeResult, RefundStanding};
use tsm_api::se_tsm::migrations::{MigrationStage, OrderedMigration};
use tsm_api::sp_tsm::desk::{DeskMatterKind, DeskRecord, DeskState, PayoutRecord, PayoutState};
use tsm_api::sp_tsm::migration::MigrationRecord;
use tsm_services::explain::moment;

use crate::commands::wallet::Spoken;
use crate::report::yuan;

impl Spoken {
    /// A payout in cash.
    pub fn payout(self, payout: &PayoutRecord) -> String {
        let amount = yuan(i64::from(payout.amount_fen));
        let (number, card, by) = (payout.payout, &payout.card_number, &payout.proposed_by);
        let (english, chinese) = match payout.state {
            PayoutState::Proposed => (
                format!("{amount} for {card}, proposed by {by}; another person approves"),
                format!("卡 {card} 退现 {amount}，由 {by} 提议，须另一人审批"),
            ),
            PayoutState::Approved => (
                format!("pay out {amount} for {card}; the centre will book it"),
                format!("请为卡 {card} 付出 {amount}，清算中心稍后入账"),
            ),
            PayoutState::Booked => (
                format!("pay out {amount} for {card}; the centre has booked it"),
                format!("请为卡 {card} 付出 {amount}，清算中心已入账"),
            ),
            PayoutState::Rejected => ("rejected, nothing is paid".to_owned(), "已驳回，不付款".to_owned()),
        };
        self.choose(format!("payout {number}: {english}"), format!("退现 {number}：{chinese}"))
    }

    /// A case.
    pub fn case(self, case: &DeskRecord) -> String {
        let what = match case.matter {
            DeskMatterKind::Payout => self.choose("payout in cash", "退现"),
            DeskMatterKind::Lost => self.choose("lost", "挂失"),
            DeskMatterKind::Unlock => self.choose("may be unlocked", "准予解锁"),
            DeskMatterKind::ClaimReturned => self.choose(
                "returned, though a phone that is gone may hold a copy",
                "已失联手机上可能留有副本的卡退回余额",
            ),
        };
        let state = match (case.matter, case.state) {
            (DeskMatterKind::Payout | DeskMatterKind::ClaimReturned, DeskState::Open) => {
                self.choose("waits for another person", "待另一人审批")
            }
            (DeskMatterKind::Payout | DeskMatterKind::ClaimReturned, DeskState::Done) => {
                self.choose("approved", "已批准")
            }
            (DeskMatterKind::Lost, DeskState::Open) => self.choose("not found yet", "尚未找到"),
            (DeskMatterKind::Lost, DeskState::Done) => self.choose("found", "已找到"),
            (DeskMatterKind::Unlock, DeskState::Open) => self.choose("not used yet", "尚未使用"),
            (DeskMatterKind::Unlock, DeskState::Done) => self.choose("used", "已使用"),
            (_, DeskState::Refused) => self.choose("rejected", "已驳回"),
        };
        let (at, card) = (moment(case.at), &case.card_number);
        let (english, chinese) = match case.until.map(moment) {
            None => (String::new(), String::new()),
            Some(until) => (format!(" until {until}"), format!("（至 {until}）")),
        };
        let (reason, by, number) = (&case.reason, &case.by, case.case);
        self.choose(
            format!("{at} {card}: {what}{english}, {state}; {reason}, says {by} (case {number})"),
            format!("{at} 卡 {card}：{what}{chinese}，{state}；{by}：{reason}（编号 {number}）"),
        )
    }

    /// A claim that was released.
    pub fn released(self, released: &MigrationRecord) -> String {
        let card = &released.card_number;
        self.choose(
            format!("the claim of {card} is released; another phone can take it in"),
            format!("卡 {card} 的迁入已取消，可由另一部手机迁入"),
        )
    }

    /// What came of a visit in the hall.
    pub fn visit(self, outcome: &Outcome) -> String {
        let (english, chinese) = match (&outcome.result, &outcome.detail) {
            (OutcomeResult::Done, OutcomeDetail::LockChanged { .. }) => {
                ("the card is unlocked".to_owned(), "卡片已解锁".to_owned())
            }
            (OutcomeResult::Done, OutcomeDetail::Returned { balance_fen, standing, .. }) => {
                let balance = yuan(i64::from(*balance_fen));
                match standing {
                    RefundStanding::OnItsWay => (
                        format!("the card is closed; {balance} go back"),
                        format!("卡片已退，{balance} 将退回"),
                    ),
                    RefundStanding::Held => (
                        format!("the card is closed; {balance} are held until two people have looked at it"),
                        format!("卡片已退，{balance} 暂缓退款，待两人核实后退回"),
                    ),
                }
            }
            (OutcomeResult::Done, OutcomeDetail::MigratedOut { balance_fen }) => {
                let balance = yuan(i64::from(*balance_fen));
                (
                    format!("the card is parked with {balance}, for the rider's other phone"),
                    format!("卡片已寄存，余额 {balance}，等待另一部手机迁入"),
                )
            }
            (result, _) => {
                let why = outcome.problem.as_ref();
                let words = why.map_or_else(String::new, |problem| problem.message_en.clone());
                let chinese = why.map_or_else(String::new, |problem| problem.message_zh.clone());
                (format!("{result:?}: {words}"), format!("未完成：{chinese}"))
            }
        };
        self.choose(english, chinese)
    }

    /// A migration that was ordered at a desk.
    pub fn migration(self, order: &OrderedMigration) -> String {
        let (english, chinese) = match order.stage {
            MigrationStage::Ordered => {
                ("ordered: the first phone parks it at its next login", "已订购：原手机下次登录时迁出")
            }
            MigrationStage::Left => {
                ("parked: the second phone takes it in at its next login", "已寄存：新手机下次登录时迁入")
            }
            MigrationStage::Arrived => ("done: it is on the second phone", "已完成：已迁入新手机"),
            MigrationStage::Withdrawn => ("ended: nobody is to do anything any more", "已终止：无需任何操作"),
        };
        let number = order.migration;
        self.choose(format!("migration {number}: {english}"), format!("迁移 {number}：{chinese}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_a_payout_has_a_sentence_in_both_languages() {
        for state in
            [PayoutState::Proposed, PayoutState::Approved, PayoutState::Booked, PayoutState::Rejected]
        {
            let payout = PayoutRecord {
                payout: tsm_api::ids::OperationId(uuid::Uuid::nil()),
                card_number: "3104****0017".into(),
                amount_fen: 4_000,
                state,
                proposed_by: "hall-1".into(),
                decided_by: None,
                decided_at: None,
            };
            assert!(Spoken::En.payout(&payout).starts_with("payout 00000000"));
            assert!(Spoken::Zh.payout(&payout).starts_with("退现 00000000"));
        }
    }
}
