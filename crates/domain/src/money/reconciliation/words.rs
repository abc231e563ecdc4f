//! The causes of differences, in words.

use serde::{Deserialize, Serialize};

macro_rules! causes {
    ($($variant:ident, $name:literal, $en:literal, $zh:literal, $does:literal, $does_zh:literal;)*) => {
        /// Why something does not meet, as far as one can tell: a proposal for the person who looks at it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Cause {
            $(#[doc = $en] $variant,)*
        }

        impl Cause {
            /// All causes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as stores and the wire write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The sentence in English.
            pub const fn en(self) -> &'static str {
                match self { $(Self::$variant => $en,)* }
            }

            /// The sentence in Chinese.
            pub const fn zh(self) -> &'static str {
                match self { $(Self::$variant => $zh,)* }
            }

            /// What is proposed, in English.
            pub const fn proposal_en(self) -> &'static str {
                match self { $(Self::$variant => $does,)* }
            }

            /// What is proposed, in Chinese.
            pub const fn proposal_zh(self) -> &'static str {
                match self { $(Self::$variant => $does_zh,)* }
            }
        }
    };
}

causes! {
    PaidUnknownToUs, "paid_unknown_to_us", "The statement has a payment that the books do not have.", "对账单中有一笔账上没有的支付。", "Find its card; book the payment, or give it back.", "查明卡号后入账或退款。";
    NotInStatement, "not_in_statement", "The books have a payment that is not in the statement.", "账上有一笔对账单中没有的支付。", "Wait for the next statement; then write the payment off.", "等待下一份对账单；仍无记录则核销。";
    StatementMissing, "statement_missing", "The books have a payment of a day whose payment statement never came.", "账上有一笔支付，其当日对账单始终未到。", "Ask the payment platform for this payment; dismiss the difference when it confirms it, write the payment off when it does not.", "向支付平台查询该笔支付：确认则销号，否认则核销。";
    StatementOverdue, "statement_overdue", "The payment statement of a day has not come; that day and those after it are not reconciled.", "某日支付对账单逾期未到，该日及以后各日均无法对账。", "Ask the payment platform for it; when it cannot give it, two people let the day go on without it.", "向支付平台催取；确实无法取得时，由两人决定该日不待对账单继续对账。";
    CreditWithoutPayment, "credit_without_payment", "A card was credited on the issuer's word; no payment report and no statement confirms the payment.", "仅凭发卡方报告入卡，支付通知和对账单均未证实该笔支付。", "Wait for report or statement; then write the payment off and freeze the card.", "等待支付通知或对账单；仍无记录则核销并冻结卡片。";
    AmountDiffers, "amount_differs", "Statement and books have different amounts for one payment.", "同一笔支付在对账单与账上的金额不同。", "Book or write off the difference.", "将差额入账或核销。";
    PaidTwice, "paid_twice", "The statement has more than one payment for an order.", "对账单中同一订单有多笔支付。", "Give the surplus back.", "退还多付的款项。";
    RefundMissing, "refund_missing", "The books have a refund that is not in the statement.", "账上有一笔对账单中没有的退款。", "Wait for the next statement; then book it as owed again.", "等待下一份对账单；仍无记录则恢复为应退款。";
    RefundExtra, "refund_extra", "The statement has a refund that the books do not have.", "对账单中有一笔账上没有的退款。", "Book it against what is owed, or write it off.", "冲减应退款，或核销。";
    RefundAmountDiffers, "refund_amount_differs", "Statement and books have different amounts for one refund.", "同一笔退款在对账单与账上的金额不同。", "Book or write off the difference.", "将差额入账或核销。";
    InFlightTooLong, "in_flight_too_long", "A payment has been neither credited nor cancelled for too long.", "一笔支付长时间既未入卡也未撤销。", "Ask the card: no lapse of time proves anything.", "须由卡片证实结果：时间流逝不能证明任何事。";
    TransactionWithoutEntry, "transaction_without_entry", "A card's transaction is not in the ledger.", "卡片交易未记入总账。", "Book it, if its proof holds.", "核实证明后入账。";
    EntryWithoutTransaction, "entry_without_transaction", "The ledger has an entry without its card transaction.", "总账有一笔没有对应卡片交易的记录。", "Freeze the card and find the missing record.", "冻结卡片并查找缺失的交易记录。";
    TransactionAmountDiffers, "transaction_amount_differs", "Card transaction and ledger have different amounts.", "卡片交易与总账金额不同。", "Freeze the card and examine both records.", "冻结卡片并核查两边记录。";
    Quarantined, "quarantined", "A reported transaction could not be proven and is kept aside.", "上报的交易无法验证，已隔离。", "Ask the terminal's operator for the original record.", "请终端运营方提供原始记录。";
    WrongTac, "wrong_tac", "A reported purchase carries a wrong TAC; it is kept aside and moved no money.", "上报消费的 TAC 错误，已隔离，未动账。", "The card is asked for its proof at its next contact; when it has none any more, book the purchase or dismiss it.", "卡片下次联系时将读取其交易证明；如已无证明，则由两人决定入账或不予入账。";
    UnknownTerminal, "unknown_terminal", "A transaction came from a terminal that is not the reporter's; it is kept aside.", "交易来自未登记于上报方的终端，已隔离。", "Ask the operator whose terminal it is; enter it, or refuse the row.", "向运营方查明终端归属，登记终端或拒收该笔。";
    UnknownCard, "unknown_card", "A transaction names a card that no account has.", "交易卡号没有对应账户。", "Wait for the card's opening to be reported; then refuse the row.", "等待开卡上报；仍无则拒收该笔。";
    AwaitsCredit, "awaits_credit", "A purchase is for more than the books show on the card.", "消费金额超过账上卡余额。", "Wait for the report of the card's credit; then freeze the card.", "等待圈存上报；仍无则冻结卡片。";
    ParkingAwaitsCredit, "parking_awaits_credit", "A parked card holds more than the books show; a load that its counter names was not reported.", "寄存卡片的余额高于账上余额，其计数所示的一笔圈存尚未上报。", "Wait for the report of the load; then freeze the card.", "等待圈存上报；仍无则冻结卡片。";
    Unproven, "unproven", "A reported purchase carries no TAC.", "上报消费没有 TAC。", "The card is asked for its proof at its next contact; ask the terminal's operator for the TAC, too. When there is none any more, book the purchase or dismiss it.", "卡片下次联系时将读取其交易证明；并请终端运营方补报带 TAC 的记录。如已无证明，则由两人决定入账或不予入账。";
    Malformed, "malformed", "A reported row cannot be read.", "上报记录无法解析。", "Ask the operator to send it again.", "请运营方重新上报。";
    BatchRefused, "batch_refused", "A terminal's batch or file was refused as a whole: it was cut or altered on its way, is no file of records, or the terminal did not sign it.", "终端批次或文件被整体拒收：传输中被截断或篡改、不是有效的记录文件，或无终端有效签名。", "Ask the operator for what the terminal itself sent, and who altered this.", "请运营方提供终端原始批次，并查明篡改来源。";
    FileUnfinished, "file_unfinished", "A file was announced and did not come whole; nothing of it was taken.", "文件已申报但未传完，其中记录均未采用。", "Ask the operator to finish the file, or to bring it again under its name.", "请运营方续传完毕，或以同一文件名重新上传。";
    SuspiciousCard, "suspicious_card", "A card's counters or balance do not follow from its transactions: it was copied, put back to an earlier state, or forged.", "卡片计数或余额与其交易不符：可能被复制、回退或伪造。", "Keep the card frozen and ask its rider to show it.", "保持冻结，请持卡人出示卡片核查。";
    CounterGap, "counter_gap", "Transactions are missing between two that were reported.", "已上报交易之间缺少交易。", "Ask the terminals' operators for what is missing. What a card that is closed for good spent can be written off.", "请终端运营方补报缺失的交易。已永久关闭的卡片，其未上报的消费可予核销。";
    CardCopied, "card_copied", "Two different transactions claim one place in a card's count, or one came after the card was blocked: the card was restored from a copy.", "两笔不同交易占用同一卡片计数，或交易发生于卡片锁定之后：卡片可能由副本恢复。", "Freeze the card.", "冻结卡片。";
    ParkedInconsistent, "parked_inconsistent", "A card's state and the money parked for it do not fit each other.", "卡片状态与其寄存金额不符。", "Freeze the card and examine its journal.", "冻结卡片并核查其日志。";
    BooksBroken, "books_broken", "The balances of a card do not follow from its transfers.", "卡片余额与其分录不符。", "Keep the card frozen and examine the store.", "保持冻结并检查存储。";
    FareDearer, "fare_dearer", "A terminal charged more for a ride than the fare table in force says.", "终端收取的车费高于现行票价表。", "Ask the operator which table the terminal used and what the rider gets back from it; the books keep what the card proved.", "请运营方查明终端所用票价表并向乘客退还差额；账目以卡片证实的金额为准。";
    FareCheaper, "fare_cheaper", "A terminal charged less for a ride than the fare table in force says.", "终端收取的车费低于现行票价表。", "Ask the operator which table the terminal used; the books keep what the card proved.", "请运营方查明终端所用票价表；账目以卡片证实的金额为准。";
    TerminalWithoutOperator, "terminal_without_operator", "A purchase was made at a terminal that belongs to no operator; it is not settled.", "消费终端不属于任何运营方，未予清算。", "Enter the terminal's operator.", "登记终端运营方。";
    LedgerImbalance, "ledger_imbalance", "The books of all cards together do not balance.", "总账不平。", "Stop settlements and examine the store.", "停止清算并检查存储。";
    NotificationRefused, "notification_refused", "A payment notification was not taken: forged, signed at another time, sent before, or meant for another merchant. It changed nothing.", "支付通知未被采信：系伪造、超时、重放或发给其他商户，未产生任何影响。", "Find out who sent it; nothing has to be booked.", "查明发送方，无需记账。";
    PaymentContradicts, "payment_contradicts", "What was said of a payment contradicts the order that it names, or the payment is another order's. It changed nothing.", "所报支付与其订单矛盾，或该支付属于另一订单，未产生任何影响。", "Ask the payment platform about the order and the payment; correct what the statement shows.", "向支付平台核对该订单与支付，并按对账单更正。";
    RefundRefused, "refund_refused", "The payment platform refuses to give a payment back.", "支付平台拒绝退回一笔支付。", "Ask the payment platform about the payment; pay what is owed to the rider another way.", "向支付平台核对该笔支付，应退款项另行支付给持卡人。";
    ClaimedTwice, "claimed_twice", "A second phone asked for a parked card that another phone had claimed; it was refused, and nothing was sent to it.", "寄存卡片已被一部手机认领，另一部手机又来认领；后者被拒，未向其发送任何数据。", "Nothing has to be booked. When the first phone's claim does not come to its end, ask the rider which of the two is his.", "无需记账。若先前的认领迟迟未了结，请向持卡人核实哪部手机属于本人。";
    ProofMissing, "proof_missing", "A phone said that a card had carried out a command, and the card's proof was missing or wrong; nothing was believed.", "手机声称卡片已执行指令，但卡片证明缺失或不符；未予采信。", "Nothing has to be booked: the card itself says at its next contact what it did. When it happens again, examine the phone.", "无需记账：卡片下次联系时自会证实结果。若反复出现，请核查该手机。";
    CancelInDoubt, "cancel_in_doubt", "An order was asked back while only the card knew whether it had taken its money in; nothing was given back.", "在只有卡片知道是否已入账时，订单被要求撤销；未退款。", "Wait for the card's next contact, which tells; a purchase from that money waits for it, too.", "等待卡片下次联系证实结果；用该笔款项的消费亦随之待定。";
    CreditAfterCancel, "credit_after_cancel", "A card that had proved that it took in nothing shows a credit after its order was cancelled and given back.", "卡片曾证实未入账，订单已撤销退款，之后卡片却显示已入账。", "Keep the card frozen and ask its rider to show it; the books have given the money back once.", "保持冻结，请持卡人出示卡片核查；账上该笔款项已退还一次。";
    TapDuringReturn, "tap_during_return", "A card paid at a terminal while its return or migration was under way; the purchase is booked, and what is owed to the rider is less by it.", "卡片在退卡或迁出过程中于终端消费；该笔消费已入账，应退余额相应减少。", "Nothing has to be done; it is over when the card's parking accounts for it.", "无需处理；卡片寄存入账后自行了结。";
    OtherSuspicion, "other_suspicion", "A report contradicts the records.", "上报内容与记录矛盾。", "Examine the card's journal.", "核查卡片日志。";
}

impl Cause {
    /// Whether the centre's tables of what was kept aside and what is missing stand behind it.
    pub const fn has_evidence(self) -> bool {
        matches!(
            self,
            Self::WrongTac
                | Self::UnknownTerminal
                | Self::UnknownCard
                | Self::AwaitsCredit
                | Self::ParkingAwaitsCredit
                | Self::Unproven
                | Self::Malformed
                | Self::CounterGap
                | Self::CardCopied
        )
    }

    /// Whether it comes to its end without anybody, when the books or the card's closing say so.
    pub const fn ends_by_itself(self) -> bool {
        matches!(self, Self::ClaimedTwice | Self::CancelInDoubt | Self::TapDuringReturn)
    }

    /// The kind of the incident of a parking that waits for a load's report.
    pub const PARKING_WAITS: &'static str = "parking-awaits-credit";

    /// The kind of the incident of a file some of whose rows cannot be read.
    pub const UNREADABLE_ROWS: &'static str = "unreadable-rows";

    /// The cause that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|cause| cause.name() == name)
    }

    /// The cause that an incident of this kind stands for; none for kinds that reconciliation finds itself.
    pub fn of_incident(kind: &str) -> Option<Self> {
        Some(match kind {
            "wrong-tac" => Self::WrongTac,
            "unknown-terminal" => Self::UnknownTerminal,
            "quarantined" => Self::Quarantined,
            "batch-refused" | "file-refused" => Self::BatchRefused,
            Self::UNREADABLE_ROWS => Self::Malformed,
            "file-unfinished" => Self::FileUnfinished,
            "statement-overdue" => Self::StatementOverdue,
            "suspicious-card" => Self::SuspiciousCard,
            "counter-gap" | "gap" => Self::CounterGap,
            "contradicting-purchase" | "contradicting-credit" | "repeated-tac" | "purchase-after-block" => {
                Self::CardCopied
            }
            Self::PARKING_WAITS => Self::ParkingAwaitsCredit,
            "payment-forged"
            | "payment-stale"
            | "payment-replayed"
            | "payment-misdirected"
            | "payment-unreadable" => Self::NotificationRefused,
            "payment-refund-refused" => Self::RefundRefused,
            kind if kind.starts_with("payment-") => Self::PaymentContradicts,
            "parked-inconsistent" => Self::ParkedInconsistent,
            "books-broken" => Self::BooksBroken,
            "ledger-imbalance" => Self::LedgerImbalance,
            _ => Self::OtherSuspicion,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads the view is told what to do with the card, and not only that something is wrong.
    #[test]
    fn what_only_a_copy_can_do_is_called_a_copy() {
        for kind in ["contradicting-purchase", "contradicting-credit", "repeated-tac", "purchase-after-block"]
        {
            assert_eq!(Cause::of_incident(kind), Some(Cause::CardCopied), "{kind}");
        }
    }
}
