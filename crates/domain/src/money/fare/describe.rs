//! The steps of a fare in words, for riders and for those who answer them.

use super::{Fare, FareReason};

impl FareReason {
    /// In English.
    pub fn english(&self) -> String {
        match self {
            Self::Flat => "one price for every ride".into(),
            Self::Distance { metres } => format!("by distance, {metres} m"),
            Self::Zones { from, to } => format!("from zone {} to zone {}", from.0, to.0),
            Self::EntryUnknown => "the highest fare, because the card shows no entry".into(),
            Self::NoStations => "the highest fare, because no stations are known".into(),
            Self::Overlong { minutes } => format!("the stay of {minutes} minutes is too long"),
            Self::Pass { kind } => format!("covered by the pass (card kind {kind:02X})"),
            Self::Concession { kind, percent } => {
                format!("concession for card kind {kind:02X}: {} per cent to pay", percent.get())
            }
            Self::Transfer { minutes, .. } => format!("transfer within {minutes} minutes"),
            Self::Month { spent, percent } => {
                format!("{spent} yuan were spent this month: {} per cent to pay", percent.get())
            }
            Self::DayCap { cap } => format!("no more than {cap} yuan in a day"),
        }
    }

    /// In Chinese.
    pub fn chinese(&self) -> String {
        match self {
            Self::Flat => "单一票价".into(),
            Self::Distance { metres } => format!("按里程计价，{metres} 米"),
            Self::Zones { from, to } => format!("从 {} 区到 {} 区", from.0, to.0),
            Self::EntryUnknown => "卡上无进站记录，按最高票价".into(),
            Self::NoStations => "无站点信息，按最高票价".into(),
            Self::Overlong { minutes } => format!("停留 {minutes} 分钟，超时"),
            Self::Pass { kind } => format!("票卡类型 {kind:02X} 的月票或季票覆盖"),
            Self::Concession { kind, percent } => {
                format!("票卡类型 {kind:02X} 优惠，付 {}%", percent.get())
            }
            Self::Transfer { minutes, .. } => format!("{minutes} 分钟内换乘优惠"),
            Self::Month { spent, percent } => format!("本月已消费 {spent} 元，付 {}%", percent.get()),
            Self::DayCap { cap } => format!("每日最高 {cap} 元"),
        }
    }
}

impl Fare {
    /// All steps in English.
    pub fn english(&self) -> String {
        self.joined(FareReason::english, "; ")
    }

    /// All steps in Chinese.
    pub fn chinese(&self) -> String {
        self.joined(FareReason::chinese, "；")
    }

    fn joined(&self, words: fn(&FareReason) -> String, between: &str) -> String {
        let steps = self.why.iter().map(|step| format!("{} ({})", words(&step.reason), step.amount));
        steps.collect::<Vec<_>>().join(between)
    }
}
