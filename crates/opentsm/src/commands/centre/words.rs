//! The sentences of the centre's people in both languages.

use tsm_api::clearing::fares::FareRecord;
use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement::{ActionKind, DifferenceRecord};
use tsm_services::explain::moment;

use crate::commands::wallet::Spoken;

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
        };
        self.choose(english, chinese)
    }

    /// A version of the fare table.
    pub fn fares(self, one: &FareRecord) -> String {
        let (version, by) = (one.version, &one.proposed_by);
        let from = moment(one.valid_from);
        let until = one
            .valid_until
            .map(moment)
            .map_or_else(String::new, |until| self.choose(format!(" until {until}"), format!(" 至 {until}")));
        let what = match (one.decision, &one.decided_by) {
            (Some(Decision::Approve), Some(by)) => {
                self.choose(format!("published by {by}"), format!("{by} 已发布"))
            }
            (Some(Decision::Refuse), Some(by)) => {
                self.choose(format!("refused by {by}"), format!("{by} 已驳回"))
            }
            _ => self.choose("another person decides".to_owned(), "须另一人审批".to_owned()),
        };
        self.choose(
            format!("version {version} from {from}{until}: proposed by {by}, {what}"),
            format!("第 {version} 版票价表，自 {from}{until}：{by} 提议，{what}"),
        )
    }
}
