//! The sentences of the centre's people in both languages.

use tsm_api::clearing::fares::FareRecord;
use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement::{
    ActionKind, DayRecord, DifferenceRecord, OperatorPayout, SettlementRecord,
};
use tsm_services::explain::moment;

use crate::commands::wallet::Spoken;
use crate::report::yuan;

impl Spoken {
    /// A difference.
    pub fn difference(self, one: &DifferenceRecord) -> String {
        let DifferenceRecord { difference, day, text, .. } = one;
        let state = match one.state.as_str() {
            "waiting" => self.choose("waits for the next days", "等待后续对账"),
            "open" => self.choose("open", "待处理"),
            "proposed" => self.choose("proposed", "待审批"),
            "resolved" => self.choose("resolved", "已处理"),
            "explained" => self.choose("explained", "已解释"),
            other => other,
        };
        let mut lines = vec![self.choose(
            format!("{difference} of {day}, {state}: {} {text}", one.cause_en),
            format!("{difference}，{day}，{state}：{}{text}", one.cause_zh),
        )];
        if let (Some(by), Some(action)) = (&one.proposed_by, one.action) {
            let (note, action, person) =
                (one.note.as_deref().unwrap_or_default(), self.action(action), &by.person);
            lines.push(self.choose(
                format!("  {person} proposes to {action}: {note}"),
                format!("  {person} 提议{action}：{note}"),
            ));
        }
        if let Some(by) = &one.approved_by {
            let person = &by.person;
            lines.push(self.choose(format!("  {person} approved it"), format!("  {person} 已批准")));
        }
        lines.join("\n")
    }

    fn action(self, action: ActionKind) -> &'static str {
        let (english, chinese) = match action {
            ActionKind::Book => ("book it", "入账"),
            ActionKind::Refund => ("owe it to the rider", "退还乘客"),
            ActionKind::WriteOff => ("write it off", "核销"),
            ActionKind::Ignore => ("do nothing", "不作处理"),
            ActionKind::FreezeCard => ("freeze the card", "冻结卡片"),
            ActionKind::ReleaseCard => ("release the card", "解冻卡片"),
            ActionKind::GoOnWithout => ("go on without the statement", "不待对账单继续对账"),
        };
        self.choose(english, chinese)
    }

    /// What another person decided; what an approval did is said in the words of the matter.
    pub(super) fn decision(
        self,
        decision: Option<Decision>,
        by: Option<&str>,
        (approved_by, approved): (&str, &str),
    ) -> String {
        match (decision, by) {
            (Some(Decision::Approve), Some(by)) => {
                self.choose(format!("{approved_by} {by}"), format!("{by} {approved}"))
            }
            (Some(Decision::Refuse), Some(by)) => {
                self.choose(format!("refused by {by}"), format!("{by} 已驳回"))
            }
            (Some(_), None) | (None, _) => {
                self.choose("another person decides".to_owned(), "须另一人审批".to_owned())
            }
        }
    }

    /// A payout to an operator.
    pub fn operator_payout(self, one: &OperatorPayout) -> String {
        let OperatorPayout { day, operator, note, proposed_by: by, .. } = one;
        let amount = yuan(i64::try_from(one.amount_fen).unwrap_or(i64::MAX));
        let approved = ("approved and booked by", "已批准并入账");
        let what = self.decision(one.decision, one.decided_by.as_deref(), approved);
        self.choose(
            format!("{operator} for {day}: {amount}, proposed by {by} ({note}); {what}"),
            format!("{day} 付 {operator}：{amount}，{by} 提议（{note}）；{what}"),
        )
    }

    /// A closed day.
    pub fn day(self, one: &DayRecord) -> String {
        let (day, lines) = (&one.day, one.statement_lines);
        let (english, chinese) = match (one.settled_at, one.reconciled_at, one.statements_missing) {
            (None, ..) => ("closed, not settled yet".to_owned(), "已关闭，尚未清算".to_owned()),
            (Some(_), None, _) => ("settled, not reconciled yet".to_owned(), "已清算，尚未对账".to_owned()),
            (Some(_), Some(_), 0) => (
                format!("settled and reconciled with {lines} lines of the payment statement"),
                format!("已清算并对账，支付对账单 {lines} 行"),
            ),
            (Some(_), Some(_), missing) => (
                format!("settled and reconciled; {missing} payment statements never came"),
                format!("已清算并对账；{missing} 份支付对账单未到"),
            ),
        };
        let line = self.choose(format!("{day}: {english}"), format!("{day}：{chinese}"));
        match (one.rides_judged, one.rides_not_judged) {
            (0, 0) => line,
            (judged, not) => self.choose(
                format!("{line}; {judged} fares worked out once more, {not} not judged"),
                format!("{line}；复核车费 {judged} 笔，未判定 {not} 笔"),
            ),
        }
    }

    /// What an operator gets for a day.
    pub fn settlement(self, one: &SettlementRecord) -> String {
        let money = |fen: u64| yuan(i64::try_from(fen).unwrap_or(i64::MAX));
        let SettlementRecord { issuer, operator, number, .. } = one;
        let (gross, net) = (money(one.gross_fen), money(one.net_fen));
        let paid =
            if one.paid { self.choose("paid", "已付") } else { self.choose("not paid yet", "未付") };
        self.choose(
            format!("{operator} from {issuer}: {number} purchases, {gross}; {net} after fees, {paid}"),
            format!("{operator}（发卡方 {issuer}）：{number} 笔，{gross}；扣费后 {net}，{paid}"),
        )
    }

    /// A version of the fare table.
    pub fn fares(self, one: &FareRecord) -> String {
        let (version, by) = (one.version, &one.proposed_by);
        let from = moment(one.valid_from);
        let until = one
            .valid_until
            .map(moment)
            .map_or_else(String::new, |until| self.choose(format!(" until {until}"), format!(" 至 {until}")));
        let published = ("published by", "已发布");
        let what = self.decision(one.decision, one.decided_by.as_deref(), published);
        self.choose(
            format!("version {version} from {from}{until}: proposed by {by}, {what}"),
            format!("第 {version} 版票价表，自 {from}{until}：{by} 提议，{what}"),
        )
    }
}
