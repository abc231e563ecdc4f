//! The sentences about cards at the centre in both languages.

use tsm_api::clearing::AccountState;
use tsm_api::clearing::closing::{ClosingPurpose, ClosingStage};
use tsm_api::clearing::collection::{QuarantineEntry, RowVerdict};
use tsm_api::clearing::kept::{KeptCard, KeptClosing};
use tsm_api::clearing::lists::{ProposalRecord, WireListKind};
use tsm_api::clearing::watch::CardGap;
use tsm_services::explain::moment;

use crate::commands::wallet::Spoken;
use crate::report::yuan;

impl Spoken {
    /// A page of a list, and how to go on.
    pub fn page<T>(
        self,
        items: &[T],
        line: impl Fn(Self, &T) -> String,
        none: (&str, &str),
        next: Option<String>,
    ) -> String {
        let lines = self.lines(items, line, none);
        match next {
            None => lines,
            Some(next) => {
                let more = self.choose("there are more: --after", "还有更多：--after");
                format!("{lines}\n{more} {next}")
            }
        }
    }

    /// A card that somebody has to look at.
    pub fn kept_card(self, one: &KeptCard) -> String {
        let kept = yuan(i64::try_from(one.kept_fen).unwrap_or(i64::MAX));
        let (card, state) = (&one.masked, self.account_state(one.state));
        let mut lines = vec![self.choose(
            format!("{card}: {state}; {kept} kept or owed"),
            format!("卡 {card}：{state}；寄存或待退 {kept}"),
        )];
        if let Some(reason) = &one.frozen {
            lines.push(self.choose(format!("  frozen: {reason}"), format!("  已冻结：{reason}")));
        }
        if let Some(listed) = &one.listed {
            let kind = self.list_kind(listed.kind);
            lines.push(self.choose(format!("  on the {kind}"), format!("  列入{kind}")));
        }
        lines.extend(one.closings.iter().map(|closing| self.closing(closing)));
        lines.join("\n")
    }

    fn closing(self, one: &KeptClosing) -> String {
        let purpose = match one.purpose {
            ClosingPurpose::Return => self.choose("return", "退卡"),
            ClosingPurpose::Migration => self.choose("migration", "迁移"),
        };
        let stage = match one.stage {
            ClosingStage::Begun => self.choose("not proven yet", "尚未证实"),
            ClosingStage::Undone => self.choose("undone", "已撤销"),
            ClosingStage::Parked => self.choose("parked", "已寄存"),
            ClosingStage::Claimed => self.choose("claimed by a phone", "已被手机领取"),
            ClosingStage::Arrived => self.choose("arrived", "已迁入"),
            ClosingStage::RefundOrdered => self.choose("to be refunded", "待退款"),
            ClosingStage::Refunded => self.choose("refunded", "已退款"),
        };
        let (at, refunded) = (moment(one.begun_at), yuan(i64::from(one.refunded_fen)));
        let proven = one.balance_fen.map_or_else(String::new, |fen| {
            let balance = yuan(i64::from(fen));
            self.choose(
                format!(", {balance} proven, {refunded} paid out"),
                format!("，已证实 {balance}，已退 {refunded}"),
            )
        });
        self.choose(
            format!("  {purpose} of {at}: {stage}{proven}"),
            format!("  {at} {purpose}：{stage}{proven}"),
        )
    }

    fn account_state(self, state: AccountState) -> &'static str {
        let (english, chinese) = match state {
            AccountState::Opening => ("being opened", "开通中"),
            AccountState::Live => ("in use", "使用中"),
            AccountState::Closing => ("being closed", "退卡或迁出中"),
            AccountState::Parked => ("parked", "已寄存"),
            AccountState::RefundPayable => ("a refund is owed", "待退款"),
            AccountState::Refunded => ("refunded", "已退款"),
        };
        self.choose(english, chinese)
    }

    fn list_kind(self, kind: WireListKind) -> &'static str {
        match kind {
            WireListKind::Black => self.choose("black list", "黑名单"),
            WireListKind::Grey => self.choose("grey list", "灰名单"),
        }
    }

    /// Missing transactions of a card.
    pub fn card_gap(self, one: &CardGap) -> String {
        let CardGap { masked, from, to, since, .. } = one;
        let since = moment(*since);
        self.choose(
            format!("{masked}: {from} to {to} are missing since {since}"),
            format!("卡 {masked}：自 {since} 起缺少第 {from} 至 {to} 笔"),
        )
    }

    /// A row that was kept aside.
    pub fn quarantined(self, one: &QuarantineEntry) -> String {
        let (english, chinese) = match one.reason {
            RowVerdict::Recorded | RowVerdict::LockRecorded => ("recorded", "已记录"),
            RowVerdict::Duplicate => ("recorded before", "重复上报"),
            RowVerdict::TacWrong => ("its TAC is wrong", "TAC 错误"),
            RowVerdict::UnknownCard => ("no account has the card", "卡号没有对应账户"),
            RowVerdict::UnknownTerminal => ("the terminal is not the reporter's", "终端未登记"),
            RowVerdict::Contradicts => ("it contradicts another transaction", "与另一笔交易矛盾"),
            RowVerdict::NotYet => ("it waits for a credit", "等待圈存上报"),
            RowVerdict::Unproven => ("it has no TAC", "没有 TAC"),
            RowVerdict::Malformed => ("it cannot be read", "无法解析"),
        };
        let (since, id) = (moment(one.since), &one.id);
        let terminal = one.terminal.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        // A row that cannot be read is found by its place.
        let (place, place_zh) = match (&one.file, one.line, &one.field) {
            (Some(file), Some(line), Some(field)) => (
                format!(", file {file}, line {line}: {field}"),
                format!("，文件 {file} 第 {line} 行：{field}"),
            ),
            _ => Default::default(),
        };
        self.choose(
            format!("{since} terminal {terminal}: {english}{place} ({id})"),
            format!("{since} 终端 {terminal}：{chinese}{place_zh}（{id}）"),
        )
    }

    /// A proposed change of the list.
    pub fn listing(self, one: &ProposalRecord) -> String {
        let (id, why, by) = (one.proposal.proposal, &one.proposal.why, &one.proposed_by);
        let what = match one.proposal.listed {
            Some(kind) => {
                let kind = self.list_kind(kind);
                self.choose(format!("put it on the {kind}"), format!("列入{kind}"))
            }
            None => self.choose("take it off the list".to_owned(), "移出名单".to_owned()),
        };
        let decision = one.decided.as_ref().map(|decided| decided.decision);
        let state = self.decision(decision, one.decided_by.as_deref(), ("approved by", "已批准"));
        self.choose(
            format!("{id}: {by} proposes to {what} ({why}); {state}"),
            format!("{id}：{by} 提议{what}（{why}）；{state}"),
        )
    }
}
